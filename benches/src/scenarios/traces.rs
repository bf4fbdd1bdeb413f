//! What traces cost a hit in L1: without a collector and with one, for callers who trace nothing, one request in a hundred, or all.
//!
//! The collector is a listener of this process that takes everything, on the core of loads; the core of servers is the sidecar's alone. A
//! hit without a trace, of a sidecar without a collector, is the yardstick.

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::must_come_from;
use crate::{
    house::{House, process},
    load::Load,
    report::{Limit, Section, Table},
    series::{Rounds, Series, Unit},
};

const PATH: &str = "/v1/users/u7";
const CONNECTIONS: u32 = 16;
const LEASE_MS: u32 = 50;
/// So many different requests there are, of which so many in a hundred are sampled.
const REQUESTS: u32 = 100;

/// One kind of caller, asking one of the two sidecars.
struct Case {
    name: &'static str,
    has_collector: bool,
    /// How many requests of a hundred belong to a sampled trace; none names no trace at all.
    sampled: Option<u32>,
    many: Rounds,
    one: Rounds,
    /// What the sidecar's processor does for a hit.
    cost: Series,
}

impl Case {
    fn new(name: &'static str, has_collector: bool, sampled: Option<u32>) -> Self {
        Self {
            name,
            has_collector,
            sampled,
            many: Rounds::default(),
            one: Rounds::default(),
            cost: Series::default(),
        }
    }

    fn headers(&self) -> String {
        let trace = |sampled| {
            format!("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{{sampled:{sampled}}}\r\n")
        };
        self.sampled.map(trace).unwrap_or_default()
    }
}

pub(super) async fn measure(house: &House) -> Result<Section> {
    let database = house.database(100, LEASE_MS).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let endpoint = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
    let collector = tokio::spawn(collect(listener));
    let without = house.pinned_sidecar(&House::alone(&database)).await?;
    let options = House::alone(&database).with("NEVERSTALE_TELEMETRY__OTLP__ENDPOINT", endpoint);
    let with = house.pinned_sidecar(&options).await?;

    let mut cases = [
        Case::new("no collector, no trace", false, None),
        Case::new("no collector, all sampled", false, Some(100)),
        Case::new("collector, no trace", true, None),
        Case::new("collector, none sampled", true, Some(0)),
        Case::new("collector, 1 % sampled", true, Some(1)),
        Case::new("collector, all sampled", true, Some(100)),
    ];
    for sidecar in [&without, &with] {
        must_come_from(sidecar, PATH, "detail=l1").await?;
    }
    for _ in 0..house.pick(9, 3) {
        for case in &mut cases {
            let sidecar = if case.has_collector { &with } else { &without };
            let load = |connections| Load {
                port: sidecar.api_port(),
                process: process(sidecar),
                path: PATH.to_owned(),
                headers: case.headers(),
                keys: REQUESTS,
                connections,
                milliseconds: house.pick(1_500, 700),
            };
            let (many, one) = (house.load(&load(CONNECTIONS)).await?, house.load(&load(1)).await?);
            case.cost.push(many.busy.unwrap_or(f64::NAN) / many.rate);
            case.many.push(many);
            case.one.push(one);
        }
    }
    ensure!(!collector.is_finished(), "the collector ended");
    collector.abort();
    let exported = with.metric("neverstale_otlp_spans_total").await?;
    ensure!(exported > 0.0, "no span was told, so nothing was measured");
    Ok(tell(&cases))
}

fn tell(cases: &[Case]) -> Section {
    let [yardstick, others @ ..] = cases else {
        unreachable!("there are six cases");
    };
    let mut section = Section::new("Traces");
    section.note(format!(
        "`GET {PATH}` from L1, fully consistent under a lease of {LEASE_MS} ms, {CONNECTIONS} kept connections, one thread each for server and load, \
         {} rounds.\nRequests name no trace, or one that is sampled in so many of a hundred (`traceparent`). The collector takes everything; at \
         these rates all\nsampled is more than the exporter sends, so most spans are dropped and counted. A hit's cost is the sidecar's \
         processor time over its answers.",
        yardstick.many.rate.rounds(),
    ));
    let table = |what: &str, unit, of: fn(&Case) -> &Series| {
        let table = Table::new(what, unit, yardstick.name, of(yardstick));
        others.iter().fold(table, |table, case| table.line(case.name, of(case)))
    };
    section.table(table("answers", Unit::PerSecond, |case| &case.many.rate));
    section.table(table("cost of a hit", Unit::Seconds, |case| &case.cost));
    section.table(table("p99 at that rate", Unit::Seconds, |case| &case.many.p99));
    section.table(table("p50 of one connection", Unit::Seconds, |case| &case.one.p50));
    section.table(table("p99 of one connection", Unit::Seconds, |case| &case.one.p99));
    for (case, limit) in others.iter().zip([1.1, 1.05, 1.1, 1.15]) {
        section.goal(
            &format!("Traces: cost of a hit, {}", case.name),
            Unit::Times,
            &case.cost.over(&yardstick.cost),
            Limit::AtMost(limit),
        );
    }
    section
}

/// Takes whatever it is told.
async fn collect(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // One that was broken off is told again, or given up by whoever tells.
        let _ = take(stream).await;
    }
}

async fn take(stream: TcpStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while stream.read_line(&mut line).await? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        line.clear();
    }
    stream.read_exact(&mut vec![0; length]).await?;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await?;
    Ok(())
}
