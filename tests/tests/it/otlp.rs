//! Traces and metrics to a collector: a small one of the test's own, which reads what the real binary sends.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{Application, Client};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use serde_json::Value as Json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use crate::house::{House, Plan, until};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const PATIENCE: Duration = Duration::from_secs(20);

/// What a collector was told.
#[derive(Default)]
struct Told {
    spans: Vec<Span>,
    metrics: Vec<String>,
    service: Option<String>,
}

/// A collector that takes everything.
struct Collector {
    port: u16,
    told: Arc<Mutex<Told>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = Arc::<Mutex<Told>>::default();
        let sink = Arc::clone(&told);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                take(stream, &sink).await.unwrap();
            }
        });
        Self { port, told }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits for a span and gives it.
    async fn span(&self, wanted: impl Fn(&Span) -> bool) -> Span {
        let looked = async || Ok(self.told.lock().await.spans.iter().any(&wanted));
        until("the collector has the span", PATIENCE, looked).await.unwrap();
        let told = self.told.lock().await;
        told.spans.iter().find(|span| wanted(span)).unwrap().clone()
    }
}

async fn take(stream: TcpStream, told: &Mutex<Told>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut path, mut length, mut line) = (String::new(), 0, String::new());
    while stream.read_line(&mut line).await? > 2 {
        if let Some(rest) = line.strip_prefix("POST ") {
            path = rest.split(' ').next().unwrap_or_default().to_owned();
        } else if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let mut told = told.lock().await;
    match path.as_str() {
        "/v1/traces" => {
            for resource in ExportTraceServiceRequest::decode(body.as_slice())?.resource_spans {
                told.service = resource.resource.and_then(|one| text(&one.attributes, "service.name"));
                told.spans
                    .extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        "/v1/metrics" => {
            for resource in ExportMetricsServiceRequest::decode(body.as_slice())?.resource_metrics {
                let metrics = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
                told.metrics.extend(metrics.map(|metric| metric.name));
            }
        }
        other => anyhow::bail!("nobody sends to {other}"),
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await?;
    Ok(())
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

async fn house(endpoint: &str) -> House {
    Plan::of(Application::OpenWebUi012)
        .sidecars(1)
        .with("NEVERSTALE_TELEMETRY__OTLP__ENDPOINT", endpoint)
        .with("NEVERSTALE_TELEMETRY__OTLP__METRICS_INTERVAL_SECONDS", 1)
        .open()
        .await
        .unwrap()
}

/// Reads as an application that traces does.
async fn traced(client: &mut Client, path: &str, flags: &str) -> Result<u16> {
    let parent = format!("00-{TRACE_ID}-{CALLER}-{flags}");
    Ok(client.send("GET", path, &[("traceparent", &parent)], &[]).await?.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_trace_goes_through_the_sidecar_to_the_servers_process() {
    let collector = Collector::start().await;
    let house = house(&collector.url()).await;
    let mut client = house.sidecars[0].api();
    assert_eq!(traced(&mut client, "/v1/users/u1/role", "01").await.unwrap(), 200);
    let request = collector.span(|span| span.name == "proxy.request").await;
    assert_eq!(
        (hex(&request.trace_id), hex(&request.parent_span_id)),
        (TRACE_ID.into(), CALLER.into())
    );
    assert_eq!(text(&request.attributes, "cache.outcome").as_deref(), Some("fill"));
    assert_eq!(
        text(&request.attributes, "http.response.status_code").as_deref(),
        Some("200")
    );
    let fill = collector.span(|span| span.name == "postgres.fill").await;
    assert_eq!(
        (&fill.trace_id, &fill.parent_span_id),
        (&request.trace_id, &request.span_id)
    );
    assert_eq!(
        text(&fill.attributes, "db.operation.name").as_deref(),
        Some("user-role")
    );
    assert!(fill.start_time_unix_nano >= request.start_time_unix_nano);
    assert!(fill.end_time_unix_nano <= request.end_time_unix_nano);
    // The process is one that the server knows: its log and pg_stat_activity join the trace.
    let pid: i32 = text(&fill.attributes, "db.postgresql.backend_pid")
        .unwrap()
        .parse()
        .unwrap();
    let known = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND datname = current_database()";
    assert_eq!(
        house.writer.query_one(known, &[&pid]).await.unwrap().get::<_, i64>(0),
        1
    );
    assert_eq!(collector.told.lock().await.service.as_deref(), Some("neverstale"));
    // A hit is a span of its own, below the same caller.
    until("a hit", PATIENCE, async || {
        ensure!(traced(&mut client, "/v1/users/u1/role", "01").await? == 200, "refused");
        Ok(house.sidecars[0].metric("neverstale_http_requests_total").await? > 0.0
            && collector
                .told
                .lock()
                .await
                .spans
                .iter()
                .any(|span| span.name == "proxy.hit"))
    })
    .await
    .unwrap();
    let hit = collector.span(|span| span.name == "proxy.hit").await;
    assert_eq!(
        (hex(&hit.trace_id), hex(&hit.parent_span_id)),
        (TRACE_ID.into(), CALLER.into())
    );
    assert!(hit.end_time_unix_nano >= hit.start_time_unix_nano && hit.start_time_unix_nano > 0);
    // No attribute has a key, a path or a user.
    for span in &collector.told.lock().await.spans {
        let told = format!("{span:?}");
        assert!(!told.contains("u1") && !told.contains("/v1/"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_caller_does_not_trace_is_not_told() {
    let collector = Collector::start().await;
    let house = house(&collector.url()).await;
    let mut client = house.sidecars[0].api();
    for path in ["/v1/users/u2/role", "/v1/users/u2/role"] {
        assert_eq!(traced(&mut client, path, "00").await.unwrap(), 200);
        assert_eq!(client.get(path).await.unwrap().status, 200);
    }
    assert_eq!(
        client
            .send("GET", "/v1/users/u2", &[("traceparent", "nonsense")], &[])
            .await
            .unwrap()
            .status,
        200
    );
    // Whatever came before this one would have been sent before it.
    assert_eq!(traced(&mut client, "/v1/users/u3/groups", "01").await.unwrap(), 200);
    collector.span(|span| span.name == "proxy.request").await;
    let told = collector.told.lock().await;
    assert_eq!(
        told.spans.iter().filter(|span| span.name.starts_with("proxy.")).count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_come_in_their_interval() {
    let collector = Collector::start().await;
    let house = house(&collector.url()).await;
    let mut told: Vec<String> = Vec::new();
    until("all metrics have come", PATIENCE, async || {
        told.clone_from(&collector.told.lock().await.metrics);
        Ok(told.iter().any(|name| name == "neverstale_reads"))
    })
    .await
    .unwrap();
    let scraped = house.sidecars[0].metrics().await.unwrap();
    for line in scraped.lines() {
        let Some(name) = line.strip_prefix("# HELP ").and_then(|rest| rest.split(' ').next()) else {
            continue;
        };
        assert!(told.iter().any(|one| one == name.trim_end_matches("_total")), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_up_nobody() {
    // A port where nobody listens.
    let house = house("http://127.0.0.1:9").await;
    let mut client = house.sidecars[0].api();
    for user in 0..50 {
        assert_eq!(
            traced(&mut client, &format!("/v1/users/u{user}/role"), "01")
                .await
                .unwrap()
                / 100
                % 2,
            0
        );
    }
    let sidecar = &house.sidecars[0];
    let lost = async || {
        let text = sidecar.metrics().await?;
        let line = text
            .lines()
            .find(|line| line.starts_with("neverstale_otlp_spans_total{outcome=\"failed\"}"));
        Ok(!line.context("the metric")?.ends_with(" 0"))
    };
    until("the spans are given up", PATIENCE, lost).await.unwrap();
    assert_eq!(sidecar.admin().get("/readyz").await.unwrap().status, 200);
    assert_eq!(sidecar.terminate().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_within_a_traced_request_carry_its_trace() {
    // No collector is needed for that.
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await.unwrap();
    let mut client = house.sidecars[0].api();
    house.write("ALTER TABLE \"group\" RENAME TO away").await.unwrap();
    until("a fill fails", PATIENCE, async || {
        Ok(traced(&mut client, "/v1/users/u2/groups", "00").await? != 200)
    })
    .await
    .unwrap();
    until("it is told", PATIENCE, async || {
        let log = house.sidecars[0].log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
        Ok(lines
            .into_iter()
            .any(|line| line["message"] == "a fill failed" && line["span"]["trace_id"] == TRACE_ID))
    })
    .await
    .unwrap();
}
