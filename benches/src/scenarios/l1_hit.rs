//! A hit in L1 through HTTP against raw hyper that answers the same head and body: throughput and latency, one thread each.

use std::process::Command;

use anyhow::Result;

use super::must_come_from;
use crate::{
    house::{House, process},
    load::Load,
    pinning::LOAD_CORE,
    raw_hyper::RawHyper,
    report::{Limit, Section, Table},
    series::{Rounds, Series, Unit},
};

const PATH: &str = "/v1/users/u7";
const CONNECTIONS: u32 = 16;
const LEASE_MS: u32 = 50;
/// L1 is looked up among so many users too, so that more than one entry is warm.
const USERS: u32 = 1_000;

/// A server under full load uses this share of its core, or the machine is busy with something else.
const BUSY_AT_LEAST: f64 = 0.75;

pub(super) async fn measure(house: &House) -> Result<Section> {
    let database = house.database(USERS, LEASE_MS).await?;
    let sidecar = house.pinned_sidecar(&House::alone(&database)).await?;
    let answer = must_come_from(&sidecar, PATH, "detail=l1").await?;
    let raw = RawHyper::start(house, &answer)?;

    let load = |port, process, keys, connections| Load {
        port,
        process,
        path: if keys == 1 {
            PATH.to_owned()
        } else {
            "/v1/users/u{n}".to_owned()
        },
        headers: String::new(),
        keys,
        connections,
        milliseconds: house.pick(1_500, 700),
    };
    let ours = |keys, connections| load(sidecar.api_port(), process(&sidecar), keys, connections);
    let theirs = |connections| load(raw.port(), raw.process(), 1, connections);

    let (mut hit, mut hits, mut bare) = (Rounds::default(), Rounds::default(), Rounds::default());
    let (mut lone_hit, mut lone_bare) = (Rounds::default(), Rounds::default());
    for _ in 0..house.pick(9, 3) {
        bare.push(house.load(&theirs(CONNECTIONS)).await?);
        hit.push(house.load(&ours(1, CONNECTIONS)).await?);
        hits.push(house.load(&ours(USERS, CONNECTIONS)).await?);
        lone_bare.push(house.load(&theirs(1)).await?);
        lone_hit.push(house.load(&ours(1, 1)).await?);
    }
    must_come_from(&sidecar, PATH, "detail=l1").await?;

    let mut section = Section::new("A hit in L1 through HTTP");
    section.note(format!(
        "`GET {PATH}`, fully consistent under a lease of {LEASE_MS} ms, {CONNECTIONS} kept connections without pipelining, one thread \
         each for server and load.\nRaw hyper answers the same head and {} bytes of body from finished parts. {} rounds. Meanwhile \
         raw hyper used {} of a core,\nthe sidecar {}.",
        answer.body.len(),
        hit.rate.rounds(),
        bare.busy.show(Unit::Percent),
        hit.busy.show(Unit::Percent),
    ));
    let table = Table::new("answers", Unit::PerSecond, "raw hyper", &bare.rate)
        .line("L1 hit, one user", &hit.rate)
        .line(&format!("L1 hit, {USERS} users in turn"), &hits.rate);
    section.table(table);
    section.table(
        Table::new("p99 at that rate", Unit::Seconds, "raw hyper", &bare.p99).line("L1 hit, one user", &hit.p99),
    );
    section.table(
        Table::new("p50 at that rate", Unit::Seconds, "raw hyper", &bare.p50).line("L1 hit, one user", &hit.p50),
    );
    let table =
        Table::new("p50 of one connection", Unit::Seconds, "raw hyper", &lone_bare.p50).line("L1 hit", &lone_hit.p50);
    section.table(table);
    let table =
        Table::new("p99 of one connection", Unit::Seconds, "raw hyper", &lone_bare.p99).line("L1 hit", &lone_hit.p99);
    section.table(table);
    if let Some((ours, theirs)) = by_wrk(house, sidecar.api_port(), raw.port()).await? {
        section.note("The same asked by `wrk`, as a second opinion on the load generator:");
        section
            .table(Table::new("answers to wrk", Unit::PerSecond, "raw hyper", &theirs).line("L1 hit, one user", &ours));
    }
    // A server that did not have its core was not what limited the rate.
    let least_busy = hit.busy.median().min(bare.busy.median());
    let is_starved = least_busy < BUSY_AT_LEAST;
    let starved = || {
        format!(
            "undecided: something else had the cores, the servers {}",
            Unit::Percent.show(least_busy)
        )
    };
    let (rate, p99) = (hit.rate.over(&bare.rate), hit.p99.over(&bare.p99));
    section.goal(
        "L1 hit: throughput against raw hyper",
        Unit::Times,
        &rate,
        Limit::AtLeast(0.9),
    );
    if is_starved {
        section.undecided(starved());
    }
    section.goal("L1 hit: p99 against raw hyper", Unit::Times, &p99, Limit::AtMost(1.5));
    if is_starved {
        section.undecided(starved());
    }
    Ok(section)
}

/// The rates that `wrk` sees, ours and raw hyper's; none where it is not installed.
async fn by_wrk(house: &House, ours: u16, theirs: u16) -> Result<Option<(Series, Series)>> {
    // Without arguments it prints its usage and fails, but it runs.
    if Command::new("wrk").output().is_err() {
        return Ok(None);
    }
    let (mut our_rate, mut their_rate) = (Series::default(), Series::default());
    for _ in 0..house.pick(5, 2) {
        for (port, rate) in [(theirs, &mut their_rate), (ours, &mut our_rate)] {
            let mut wrk = house.pinning.command(LOAD_CORE, "wrk");
            wrk.args([
                "-t1",
                &format!("-c{CONNECTIONS}"),
                "-d1s",
                &format!("http://127.0.0.1:{port}{PATH}"),
            ]);
            let output = tokio::task::spawn_blocking(move || wrk.output()).await??;
            let text = String::from_utf8_lossy(&output.stdout);
            let line = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
            let Some(seen) = line.and_then(|number| number.trim().parse().ok()) else {
                return Ok(None);
            };
            rate.push(seen);
        }
    }
    Ok(Some((our_rate, their_rate)))
}
