//! The door against no door, and beside nginx: the same route of the same upstream, each for one thread.
//!
//! Through the door every request is one that needs a decision: its session is judged, by the cache. nginx decides nothing. The
//! upstream is raw hyper on the core of loads, so that the core of servers is the proxy's alone.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use jsonwebtoken::{EncodingKey, Header};
use neverstale_testkit::{Answer, Client, Nginx, free_port};
use serde_json::json;

use crate::{
    house::{House, process},
    load::Load,
    pinning::{LOAD_CORE, SERVER_CORE},
    raw_hyper::RawHyper,
    report::{Limit, Section, Table},
    series::{Rounds, Series, Unit},
};

const PATH: &str = "/api/v1/chats/";
const CONNECTIONS: u32 = 16;
const LEASE_MS: u32 = 50;
const SECRET: &str = "the application's own secret";
const BODY_BYTES: usize = 1_024;

/// What a proxy came to.
#[derive(Default)]
struct Proxy {
    many: Rounds,
    one: Rounds,
    /// What one connection waits longer than without a proxy, in the same round.
    added: Series,
}

pub(super) async fn measure(house: &House) -> Result<Section> {
    let database = house.database(100, LEASE_MS).await?;
    let answer = Answer {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: vec![b'x'; BODY_BYTES],
    };
    let upstream = RawHyper::start_on(LOAD_CORE, house, &answer)?;
    let door_port = free_port()?;
    let options = House::alone(&database)
        .with("NEVERSTALE_INGRESS__LISTEN", format!("127.0.0.1:{door_port}"))
        .with(
            "NEVERSTALE_INGRESS__UPSTREAM",
            format!("http://127.0.0.1:{}", upstream.port()),
        )
        .with("NEVERSTALE_API__SESSION_SECRET", SECRET)
        .with("NEVERSTALE_API__SESSION_REVOCATION_CHECKED", false);
    let sidecar = house.pinned_sidecar(&options).await?;
    let nginx = Nginx::start(upstream.port()).await?;
    let nginx_process = nginx.pid().as_raw_nonzero().get().unsigned_abs();
    house.pinning.pin(nginx_process, SERVER_CORE);
    let token = token()?;
    let headers = format!("Authorization: Bearer {token}\r\nAccept: application/json\r\nUser-Agent: bench\r\n");
    must_be_known(&sidecar, door_port, &token).await?;

    let load = |port, process, connections| Load {
        port,
        process,
        path: PATH.to_owned(),
        headers: headers.clone(),
        keys: 1,
        connections,
        milliseconds: house.pick(1_500, 700),
    };
    let (mut door, mut beside, mut direct) = (Proxy::default(), Proxy::default(), Series::default());
    for _ in 0..house.pick(9, 3) {
        let none = house.load(&load(upstream.port(), upstream.process(), 1)).await?;
        direct.push(none.p50);
        for (proxy, port, process) in [
            (&mut beside, nginx.port(), nginx_process),
            (&mut door, door_port, process(&sidecar)),
        ] {
            let many = house.load(&load(port, process, CONNECTIONS)).await?;
            let one = house.load(&load(port, process, 1)).await?;
            proxy.added.push(one.p50 - none.p50);
            proxy.many.push(many);
            proxy.one.push(one);
        }
    }

    let mut section = Section::new("The door");
    section.note(format!(
        "`GET {PATH}` with a session, {BODY_BYTES} bytes of answer from raw hyper on the core of loads. The door verifies the session, \
         judges it\nby the cache under a lease of {LEASE_MS} ms, and passes on; nginx, one process with kept connections, passes on. \
         {} rounds; at {CONNECTIONS} connections\nthe door used {} of a core, nginx {}.",
        door.many.rate.rounds(),
        door.many.busy.show(Unit::Percent),
        beside.many.busy.show(Unit::Percent),
    ));
    let table = |what: &str, unit, of: fn(&Rounds) -> &Series| {
        Table::new(what, unit, "nginx", of(&beside.many)).line("the door", of(&door.many))
    };
    section.table(table("answers", Unit::PerSecond, |rounds| &rounds.rate));
    section.table(table("p50 at that rate", Unit::Seconds, |rounds| &rounds.p50));
    section.table(table("p99 at that rate", Unit::Seconds, |rounds| &rounds.p99));
    section.table(
        Table::new("p50 of one connection", Unit::Seconds, "no proxy", &direct)
            .line("nginx", &beside.one.p50)
            .line("the door", &door.one.p50),
    );
    let ratio = door.many.rate.over(&beside.many.rate);
    section.goal(
        "The door: throughput beside nginx",
        Unit::Times,
        &ratio,
        Limit::AtLeast(0.7),
    );
    section.goal(
        "The door: p50 that it adds",
        Unit::Seconds,
        &door.added,
        Limit::Below(0.000_3),
    );
    Ok(section)
}

/// The door knows who asks: otherwise a decision would be measured that is none.
async fn must_be_known(sidecar: &neverstale_testkit::Sidecar, port: u16, token: &str) -> Result<()> {
    let bearer = format!("Bearer {token}");
    let answer = Client::port(port).get_with(PATH, &[("Authorization", &bearer)]).await?;
    let metrics = sidecar.metrics().await?;
    let is_known = metrics.contains("neverstale_ingress_callers_total{caller=\"session\"} 1");
    ensure!(answer.status == 200 && is_known, "{} {}", answer.status, answer.text());
    Ok(())
}

fn token() -> Result<String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("read the clock")?
        .as_secs();
    let claims = json!({"id": "u7", "session_stamp": "stamp-7", "iat": now, "exp": now + 86_400});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).context("sign a token")
}
