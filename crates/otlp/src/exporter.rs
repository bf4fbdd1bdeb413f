//! The one task that sends: spans in batches as they come, metrics in their interval.
//!
//! A message that was not taken is sent a few times more if that may help, and is then given up and counted. Until the end of the process,
//! which sends what is left, once.

use std::{sync::Arc, time::Duration};

use neverstale_lifecycle::{Backoff, CancellationToken, Clock};
use neverstale_telemetry::{Metrics, SpanLayer, SpanOutcome};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    metrics::v1::{ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{Collector, CollectorError, OtlpSettings, layer::layer, series};

/// Spans of one message.
const BATCH_MAX: usize = 512;
/// After the first span of a batch, others are waited for so long.
const LINGER: Duration = Duration::from_millis(500);
/// All tries of one message.
const ATTEMPTS: u32 = 4;
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
/// At the end of the process.
const LAST_WORD: Duration = Duration::from_millis(400);

/// Sends until the process ends.
pub struct Exporter {
    collector: Collector,
    spans: mpsc::Receiver<Span>,
    resource: Resource,
    scope: InstrumentationScope,
    metrics: Arc<Metrics>,
    metrics_every: Option<Duration>,
    clock: Clock,
    began_ns: u64,
}

/// Makes the layer that collects spans and the exporter that sends them; none when no endpoint is set.
///
/// # Errors
///
/// An endpoint or a file that is of no use.
pub fn start(
    settings: &OtlpSettings,
    version: &str,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<Option<(SpanLayer, Exporter)>, CollectorError> {
    let Some(collector) = Collector::of(settings)? else {
        return Ok(None);
    };
    let (sender, spans) = mpsc::channel(settings.spans_waiting_max as usize);
    let exporter = Exporter {
        collector,
        spans,
        resource: Resource {
            attributes: vec![
                text("service.name", &settings.service_name),
                text("service.version", version),
                text("service.instance.id", &instance()),
            ],
            ..Resource::default()
        },
        scope: InstrumentationScope {
            name: "neverstale".to_owned(),
            version: version.to_owned(),
            ..InstrumentationScope::default()
        },
        metrics: Arc::clone(metrics),
        metrics_every: Some(Duration::from_secs(settings.metrics_interval_seconds)).filter(|every| !every.is_zero()),
        clock: clock.clone(),
        began_ns: clock.wall_ns(),
    };
    Ok(Some((layer(sender, clock.clone(), Arc::clone(metrics)), exporter)))
}

impl Exporter {
    /// Sends what comes, and at the end what is left.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut next_metrics = self.metrics_every.map(|every| Instant::now() + every);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased; // The end comes first.
                () = shutdown.cancelled() => break,
                () = until(next_metrics) => {
                    shutdown.run_until_cancelled(self.send_metrics()).await;
                    // Counted from the end, so that spans have their turn however long a collector takes.
                    next_metrics = self.metrics_every.map(|every| Instant::now() + every);
                }
                received = self.spans.recv_many(&mut batch, BATCH_MAX) => {
                    if received == 0 {
                        break;
                    }
                    if batch.len() < BATCH_MAX {
                        shutdown.run_until_cancelled(sleep(LINGER)).await;
                        while batch.len() < BATCH_MAX && let Ok(span) = self.spans.try_recv() {
                            batch.push(span);
                        }
                    }
                    if shutdown.run_until_cancelled(self.send_spans(&batch)).await.is_some() {
                        batch.clear();
                    }
                }
            }
        }
        while let Ok(span) = self.spans.try_recv() {
            batch.push(span);
        }
        if !batch.is_empty() && timeout(LAST_WORD, self.send_spans(&batch)).await.is_err() {
            self.count(SpanOutcome::Failed, batch.len());
        }
        if self.metrics_every.is_some() {
            let _ = timeout(LAST_WORD, self.send_metrics()).await;
        }
    }

    async fn send_spans(&self, batch: &[Span]) {
        let spans = ScopeSpans {
            scope: Some(self.scope.clone()),
            spans: batch.to_vec(),
            ..ScopeSpans::default()
        };
        let message = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![spans],
                ..ResourceSpans::default()
            }],
        };
        let outcome = match self.deliver("/v1/traces", &message).await {
            Ok(()) => SpanOutcome::Exported,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    spans = batch.len(),
                    "spans are lost"
                );
                SpanOutcome::Failed
            }
        };
        self.count(outcome, batch.len());
    }

    async fn send_metrics(&self) {
        let metrics = ScopeMetrics {
            scope: Some(self.scope.clone()),
            metrics: series::of(&self.metrics.gather(), self.began_ns, self.clock.wall_ns()),
            ..ScopeMetrics::default()
        };
        let message = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![metrics],
                ..ResourceMetrics::default()
            }],
        };
        // Tried once: the next ones say all that these did.
        if let Err(error) = self.collector.take("/v1/metrics", message.encode_to_vec()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the collector did not take the metrics"
            );
        }
    }

    async fn deliver(&self, path: &str, message: &impl Message) -> Result<(), CollectorError> {
        let message = message.encode_to_vec();
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let mut attempt = 1;
        loop {
            match self.collector.take(path, message.clone()).await {
                Err(error) if error.may_pass() && attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
            sleep(backoff.next_delay()).await;
        }
    }

    fn count(&self, outcome: SpanOutcome, spans: usize) {
        self.metrics.otlp_spans_total[outcome].inc_by(spans as u64);
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// A name for this run of this process: two never share one.
fn instance() -> String {
    let mut bytes = [0; 16];
    // Without chance all instances are one, which is worse to read and nothing more.
    let _ = SystemRandom::new().fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}
