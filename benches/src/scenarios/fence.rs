//! Reads with a lease of 0, each resting on a fence, against `SELECT 1` and against asking Postgres for the row itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use neverstale_testkit::{Database, Link, Sidecar, SidecarOptions};
use tokio_postgres::NoTls;

use super::must_come_from;
use crate::{
    connection::{Connection, request},
    house::{House, process},
    load::{Load, one_by_one},
    report::{Limit, Section, Table},
    scenarios::tiers::PLAIN_SELECT,
    series::{Series, Unit},
};

const PATH: &str = "/v1/users/u7";
const NETWORK_DELAY: Duration = Duration::from_millis(1);
const READERS: [u32; 3] = [1, 16, 64];

pub(super) async fn measure(house: &House) -> Result<Section> {
    let database = house.database(1_000, 0).await?;
    let mut apart = house.apart().await?;
    let sidecar = house.sidecar(&House::alone(&database)).await?;
    apart.begin(&[process(&sidecar)]);
    must_come_from(&sidecar, PATH, "detail=l1").await?;
    let mut section = Section::new("Reads that take a fence");
    latency(house, &database, &sidecar, &mut section).await?;
    throughput(house, &database, &sidecar, &mut section).await?;
    drop(apart);
    over_a_network(house, &database, &mut section).await?;
    Ok(section)
}

async fn latency(house: &House, database: &Database, sidecar: &Sidecar, section: &mut Section) -> Result<()> {
    let client = database.connect().await?;
    let select_one = client.prepare("SELECT 1").await?;
    let mut connection = Connection::open(sidecar.api_port()).await?;
    let fenced_request = request(PATH, "");
    let unfenced_request = request(PATH, "Neverstale-Consistency: minimize-latency\r\n");

    let count = house.pick(4_000, 1_000);
    let mut round_trip = Series::default();
    let mut tails = [Series::default(), Series::default(), Series::default()];
    let (mut fenced, mut unfenced, mut asked) = (Series::default(), Series::default(), Series::default());
    for _ in 0..house.pick(9, 3) {
        let seen = one_by_one(count, async |_| {
            Ok(client.query_one(&select_one, &[]).await.map(drop)?)
        })
        .await?;
        round_trip.push(seen.p50);
        tails[0].push(seen.p99);
        let before = fence_sums(sidecar).await?;
        let seen = one_by_one(count, async |_| connection.ask(&fenced_request).await.map(drop)).await?;
        fenced.push(seen.p50);
        asked.push(fence_mean_since(sidecar, before).await?);
        tails[1].push(seen.p99);
        let seen = one_by_one(count, async |_| connection.ask(&unfenced_request).await.map(drop)).await?;
        unfenced.push(seen.p50);
        tails[2].push(seen.p99);
    }
    let head = {
        connection.ask(&fenced_request).await?;
        connection.head().to_ascii_lowercase()
    };
    anyhow::ensure!(head.contains("detail=l1"), "the fenced reads were not hits:\n{head}");

    section.note(format!(
        "`GET {PATH}` with a lease of 0: every read waits for a fence that was sent after it arrived, then hits L1. `SELECT 1` is \
         prepared, on a\nconnection to the same server. One reader, {count} reads a round, {} rounds. The fence's share is the read \
         less the same hit without\na fence (`minimize-latency`), which is what HTTP costs.",
        fenced.rounds(),
    ));
    let share = fenced.with(&unfenced, |fenced, unfenced| fenced - unfenced);
    let table = Table::new("p50", Unit::Seconds, "`SELECT 1`", &round_trip)
        .line("fenced read through HTTP", &fenced)
        .line("the same hit without a fence", &unfenced)
        .line("the fence's share", &share)
        .line("of which the question itself, as the sidecar times it (mean)", &asked);
    section.table(table);
    let [one, with, without] = tails;
    let table = Table::new("p99", Unit::Seconds, "`SELECT 1`", &one)
        .line("fenced read through HTTP", &with)
        .line("the same hit without a fence", &without);
    section.table(table);
    let round_trips = fenced.over(&round_trip);
    section.goal(
        "fenced read on loopback, in round trips of `SELECT 1`",
        Unit::Times,
        &round_trips,
        Limit::AtMost(2.0),
    );
    Ok(())
}

/// The same where a round trip costs what it does between machines, so that round trips are what is counted.
async fn over_a_network(house: &House, database: &Database, section: &mut Section) -> Result<()> {
    let link = Link::to(house.postgres.port()).await?;
    link.delay(NETWORK_DELAY);
    let url = database.url_through(link.port());
    let sidecar = house
        .sidecar(&SidecarOptions {
            database_url: url.clone(),
            ..House::alone(database)
        })
        .await?;
    must_come_from(&sidecar, PATH, "detail=l1").await?;
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    let select_one = client.prepare("SELECT 1").await?;
    let mut connection = Connection::open(sidecar.api_port()).await?;
    let fenced_request = request(PATH, "");
    let (mut round_trip, mut fenced) = (Series::default(), Series::default());
    for _ in 0..house.pick(9, 3) {
        let seen = one_by_one(100, async |_| {
            client.query_one(&select_one, &[]).await?;
            Ok(())
        })
        .await?;
        round_trip.push(seen.p50);
        let seen = one_by_one(100, async |_| connection.ask(&fenced_request).await.map(drop)).await?;
        fenced.push(seen.p50);
    }
    section.note(format!(
        "On loopback a round trip costs less than what the fence's statement computes (the incarnation, with the epoch of all triggers). \
         The same with\n{} ms of delay each way between Postgres and those who ask it, 100 reads a round, {} rounds:",
        NETWORK_DELAY.as_millis(),
        fenced.rounds(),
    ));
    let table = Table::new("p50 over a network", Unit::Seconds, "`SELECT 1`", &round_trip)
        .line("fenced read through HTTP", &fenced);
    section.table(table);
    let round_trips = fenced.over(&round_trip);
    section.goal(
        "fenced read over a network, in round trips of `SELECT 1`",
        Unit::Times,
        &round_trips,
        Limit::AtMost(2.0),
    );
    Ok(())
}

/// The seconds that all fences have taken together, and how many they were.
async fn fence_sums(sidecar: &Sidecar) -> Result<(f64, f64)> {
    Ok((
        sidecar.metric("neverstale_fence_seconds_sum").await?,
        sidecar.metric("neverstale_fence_seconds_count").await?,
    ))
}

async fn fence_mean_since(sidecar: &Sidecar, before: (f64, f64)) -> Result<f64> {
    let after = fence_sums(sidecar).await?;
    Ok((after.0 - before.0) / (after.1 - before.1))
}

async fn throughput(house: &House, database: &Database, sidecar: &Sidecar, section: &mut Section) -> Result<()> {
    let rounds = house.pick(5, 2);
    let milliseconds = house.pick(1_000, 500);
    section.note(
        "Many readers share fences: one is in flight, and all who arrive meanwhile share the next. Against as many readers that ask \
         Postgres\nfor the row themselves, prepared, on a connection each.",
    );
    for readers in READERS {
        let load = Load {
            port: sidecar.api_port(),
            process: process(sidecar),
            path: PATH.to_owned(),
            headers: String::new(),
            keys: 1,
            connections: readers,
            milliseconds,
        };
        let (mut direct, mut fenced, mut shared) = (Series::default(), Series::default(), Series::default());
        for _ in 0..rounds {
            direct.push(direct_rate(database, readers, milliseconds).await?);
            let counts = async || {
                anyhow::Ok((
                    sidecar.metric("neverstale_fences_total").await?,
                    sidecar.metric("neverstale_reads_total").await?,
                ))
            };
            let before = counts().await?;
            fenced.push(house.load(&load).await?.rate);
            let after = counts().await?;
            shared.push((after.1 - before.1) / (after.0 - before.0));
        }
        let title = format!("{readers} readers");
        let table = Table::new(&title, Unit::PerSecond, "asking Postgres", &direct).line("fenced reads", &fenced);
        section.table(table);
        section.note(format!("Reads for each fence: {}.", shared.show(Unit::Count)));
    }
    Ok(())
}

/// The rate at which so many readers get the row from Postgres, prepared, on a connection each.
async fn direct_rate(database: &Database, readers: u32, milliseconds: u64) -> Result<f64> {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let mut reading = Vec::new();
    for _ in 0..readers {
        let client = database.connect().await?;
        reading.push(tokio::spawn(async move {
            let statement = client.prepare(PLAIN_SELECT).await?;
            let mut count = 0_u32;
            while Instant::now() < end {
                client.query_one(&statement, &[&"u7"]).await?;
                count += 1;
            }
            anyhow::Ok(count)
        }));
    }
    let mut count = 0;
    for reading in reading {
        count += reading.await.context("wait for a reader")??;
    }
    Ok(f64::from(count) * 1e3 / milliseconds as f64)
}
