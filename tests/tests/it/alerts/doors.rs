//! Two doors with a Redis behind them: the application of the first stops, the second is crowded, a stranger writes to their channel, and Redis dies.

use std::time::Duration;

use anyhow::{Result, ensure};
use neverstale_testkit::{Application, Client, Link, Redis, Sidecar, free_port};
use tokio::{task::JoinSet, time::sleep};

use super::{
    traffic::Traffic,
    watch::{Watch, of},
};
use crate::{
    door::application::Upstream,
    house::{Plan, until},
};

pub(super) const SHOWN: &[&str] = &[
    "NeverstaleBroadcastsForged",
    "NeverstaleDoorCrowded",
    "NeverstaleDoorUndecided",
    "NeverstaleDoorUpstream",
    "NeverstaleRedisLeftAlone",
];

const CONNECTIONS_MAX: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens one connection after the other, and keeps those that it gets.
async fn crowd(door: u16) {
    let mut kept = Vec::new();
    loop {
        let mut client = Client::port(door);
        if client
            .get("/static/app.js")
            .await
            .is_ok_and(|answer| answer.status == 200)
        {
            kept.push(client);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Says on the channel what is sealed with a key of somebody else's; all sidecars must hear it.
async fn forge(redis: &Redis, listeners: usize) -> Result<()> {
    let sealed = format!("NB\u{1}\u{1}{}", "of another installation ".repeat(4));
    let heard = redis.command(&["PUBLISH", "neverstale:broadcast", &sealed]).await?;
    ensure!(heard == listeners.to_string(), "{heard} of {listeners} heard it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_stops_a_crowd_a_stranger_on_the_channel_and_no_redis() {
    let application = Upstream::start().await.unwrap();
    let mut house = Plan::of(Application::OpenWebUi012)
        .sidecars(0)
        .with_redis()
        .with("NEVERSTALE_INGRESS__GUARD__MODE", "off")
        .with("NEVERSTALE_INGRESS__CONNECTIONS_PER_CLIENT_MAX", CONNECTIONS_MAX)
        .open()
        .await
        .unwrap();
    let stops = Link::to(application.port).await.unwrap();
    let (mut traffic, mut doors) = (Traffic::default(), Vec::new());
    for upstream in [stops.port(), application.port] {
        let door = free_port().unwrap();
        let options = house
            .options
            .clone()
            .with("NEVERSTALE_INGRESS__UPSTREAM", format!("http://127.0.0.1:{upstream}"))
            .with("NEVERSTALE_INGRESS__LISTEN", format!("127.0.0.1:{door}"));
        house.sidecars.push(Sidecar::start(&options).await.unwrap());
        traffic = traffic.through(door);
        doors.push(door);
    }
    until("one of them is the relay", PATIENCE, async || {
        let [one, other] = &house.sidecars[..] else {
            unreachable!("two")
        };
        Ok(one.metric("neverstale_relay").await? + other.metric("neverstale_relay").await? > 0.0)
    })
    .await
    .unwrap();
    let (_through_the_doors, _traffic) = (traffic, Traffic::of(&house));
    let redis = house.redis.as_ref().unwrap();
    let mut watch = Watch::over(&house.sidecars).await.unwrap();

    forge(redis, house.sidecars.len()).await.unwrap();
    let forged = [0, 1].map(|pod| of("NeverstaleBroadcastsForged", pod));
    watch.sees(&forged, &[]).await.unwrap();

    // Nobody listens there any more.
    drop(stops);
    let mut crowds = JoinSet::new();
    crowds.spawn(crowd(doors[1]));
    let at_the_doors = [of("NeverstaleDoorUpstream", 0), of("NeverstaleDoorCrowded", 1)];
    watch.sees(&at_the_doors, &[]).await.unwrap();

    // Whether a session is revoked is asked there.
    redis.kill_nine().await.unwrap();
    let without_redis = ["NeverstaleDoorUndecided", "NeverstaleRedisLeftAlone"];
    let alerts = [0, 1].map(|pod| without_redis.map(|alert| of(alert, pod))).concat();
    watch.sees(&alerts, &[]).await.unwrap();
    watch.has_shown(SHOWN);
}
