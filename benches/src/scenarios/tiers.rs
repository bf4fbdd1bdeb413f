//! Where an answer comes from when L1 has none: L2 or a fill, against Postgres and Redis asked directly; and fills a second.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use neverstale_testkit::{Database, Sidecar};

use super::must_come_from;
use crate::{
    connection::{Connection, request},
    house::{House, process},
    load::{Load, one_by_one},
    report::{Limit, Section, Table},
    series::{Series, Unit},
};

/// What an application would ask for the same columns.
pub(super) const PLAIN_SELECT: &str = r#"SELECT id, email, name, role, username, created_at FROM "user" WHERE id = $1"#;
const USERS: u32 = 2_000;
const LEASE_MS: u32 = 50;
const CONNECTIONS: u32 = 16;
/// As many as a sidecar has for fills (`database.fill_connections`).
const POOL: u32 = 4;

pub(super) async fn measure(house: &House) -> Result<Section> {
    let database = house.database(USERS, LEASE_MS).await?;
    house.redis.flush().await?;
    let mut apart = house.apart().await?;
    let filler = house.sidecar(&house.with_redis(&database)).await?;
    let no_l1 = "NEVERSTALE_CACHE__L1__BYTES_MAX";
    let from_l2 = house.sidecar(&house.with_redis(&database).with(no_l1, 0)).await?;
    let from_postgres = house.sidecar(&House::alone(&database).with(no_l1, 0)).await?;
    apart.begin(&[&filler, &from_l2, &from_postgres].map(process));
    let body = fill_l2(house, &filler).await?;
    must_come_from(&from_l2, "/v1/users/u7", "detail=l2").await?;
    must_come_from(&from_postgres, "/v1/users/u7", "fwd=miss").await?;

    let mut section = Section::new("Hits in L2, fills, and the stores asked directly");
    latency(house, &database, &from_l2, &from_postgres, &body, &mut section).await?;
    throughput(house, &database, &from_l2, &from_postgres, &body, &mut section).await?;
    Ok(section)
}

/// Lets one sidecar read every user, and waits until Redis has them; gives one body.
async fn fill_l2(house: &House, filler: &Sidecar) -> Result<Vec<u8>> {
    let mut connection = Connection::open(filler.api_port()).await?;
    let mut body = Vec::new();
    for number in 1..=USERS {
        body = connection
            .ask(&request(&format!("/v1/users/u{number}"), ""))
            .await?
            .to_vec();
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while house.redis.command(&["DBSIZE"]).await?.parse::<u32>()? < USERS {
        anyhow::ensure!(Instant::now() < deadline, "not every entry came to L2");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(body)
}

fn get_command(key: &str) -> Vec<u8> {
    format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()).into_bytes()
}

async fn latency(
    house: &House,
    database: &Database,
    from_l2: &Sidecar,
    from_postgres: &Sidecar,
    body: &[u8],
    section: &mut Section,
) -> Result<()> {
    let requests: Vec<_> = (1..=USERS)
        .map(|number| request(&format!("/v1/users/u{number}"), ""))
        .collect();
    let ids: Vec<String> = (1..=USERS).map(|number| format!("u{number}")).collect();
    let client = database.connect().await?;
    let statement = client.prepare(PLAIN_SELECT).await?;
    house
        .redis
        .command(&["SET", "bench", &String::from_utf8_lossy(body)])
        .await?;
    let get = get_command("bench");
    let mut redis = Connection::open(house.redis.port()).await?;
    let mut l2 = Connection::open(from_l2.api_port()).await?;
    let mut fill = Connection::open(from_postgres.api_port()).await?;

    let count = house.pick(3_000, 800);
    let mut medians: [Series; 4] = Default::default();
    let mut tails: [Series; 4] = Default::default();
    for _ in 0..house.pick(9, 3) {
        let seen = [
            one_by_one(count, async |n| fill.ask(&requests[n % requests.len()]).await.map(drop)).await?,
            one_by_one(count, async |n| l2.ask(&requests[n % requests.len()]).await.map(drop)).await?,
            one_by_one(count, async |n| {
                Ok(client.query_one(&statement, &[&ids[n % ids.len()]]).await.map(drop)?)
            })
            .await?,
            one_by_one(count, async |_| redis.command(&get).await).await?,
        ];
        for (number, seen) in seen.into_iter().enumerate() {
            medians[number].push(seen.p50);
            tails[number].push(seen.p99);
        }
    }
    section.note(format!(
        "`GET /v1/users/{{id}}` of {USERS} users in turn, fully consistent under a lease of {LEASE_MS} ms, one reader, {count} reads a \
         round, {} rounds. Neither sidecar\nkeeps an L1 here; L2 was filled by a third sidecar. Postgres is asked for the same columns, \
         prepared, on a kept connection; Redis\nfor the same body by `GET` on a kept connection. Those two have no HTTP in front, which \
         the sidecars do.",
        medians[0].rounds(),
    ));
    for (name, series) in [("p50", &medians), ("p99", &tails)] {
        let [fill, l2, postgres, redis] = series;
        let table = Table::new(name, Unit::Seconds, "fill", fill)
            .line("L2 hit", l2)
            .line("Postgres directly", postgres)
            .line("Redis directly", redis);
        section.table(table);
    }
    section.goal(
        "L2 hit against a fill, p50",
        Unit::Times,
        &medians[1].over(&medians[0]),
        Limit::Below(1.0),
    );
    Ok(())
}

async fn throughput(
    house: &House,
    database: &Database,
    from_l2: &Sidecar,
    from_postgres: &Sidecar,
    body: &[u8],
    section: &mut Section,
) -> Result<()> {
    let milliseconds = house.pick(1_500, 600);
    let load = |sidecar: &Sidecar| Load {
        port: sidecar.api_port(),
        process: process(sidecar),
        path: "/v1/users/u{n}".to_owned(),
        headers: String::new(),
        keys: USERS,
        connections: CONNECTIONS,
        milliseconds,
    };
    let mut rates: [Series; 4] = Default::default();
    for _ in 0..house.pick(5, 2) {
        rates[0].push(house.load(&load(from_postgres)).await?.rate);
        rates[1].push(house.load(&load(from_l2)).await?.rate);
        rates[2].push(postgres_rate(database, milliseconds).await?);
        rates[3].push(redis_rate(house, milliseconds).await?);
    }
    let [fills, l2, postgres, redis] = rates;
    section.note(format!(
        "The same by {CONNECTIONS} readers at once. A sidecar fills over {POOL} connections, so Postgres directly is asked over {POOL}; \
         Redis over {CONNECTIONS}. Everything\nshares the machine's cores with the stores, and a body has {} bytes.",
        body.len(),
    ));
    let table = Table::new("answers", Unit::PerSecond, "fills", &fills)
        .line("L2 hits", &l2)
        .line("Postgres directly", &postgres)
        .line("Redis directly", &redis);
    section.table(table);
    Ok(())
}

async fn postgres_rate(database: &Database, milliseconds: u64) -> Result<f64> {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let mut readers = Vec::new();
    for first in 0..POOL {
        let client = database.connect().await?;
        readers.push(tokio::spawn(async move {
            let statement = client.prepare(PLAIN_SELECT).await?;
            let mut count = 0_u32;
            while Instant::now() < end {
                let id = format!("u{}", (first * USERS / POOL + count) % USERS + 1);
                client.query_one(&statement, &[&id]).await?;
                count += 1;
            }
            anyhow::Ok(count)
        }));
    }
    sum(readers, milliseconds).await
}

async fn redis_rate(house: &House, milliseconds: u64) -> Result<f64> {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let mut readers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(house.redis.port()).await?;
        let get = get_command("bench");
        readers.push(tokio::spawn(async move {
            let mut count = 0_u32;
            while Instant::now() < end {
                connection.command(&get).await?;
                count += 1;
            }
            anyhow::Ok(count)
        }));
    }
    sum(readers, milliseconds).await
}

async fn sum(readers: Vec<tokio::task::JoinHandle<Result<u32>>>, milliseconds: u64) -> Result<f64> {
    let mut count = 0;
    for reader in readers {
        count += reader.await.context("wait for a reader")??;
    }
    Ok(f64::from(count) * 1e3 / milliseconds as f64)
}
