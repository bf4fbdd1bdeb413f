//! The primary: out of reach for one pod, and beginning anew again and again for all.

use std::time::Duration;

use anyhow::Result;
use neverstale_testkit::{Application, Link, Postgres, PostgresVersion, Sidecar, SidecarOptions, free_port};

use super::{
    traffic::Traffic,
    watch::{Watch, of, of_all},
};
use crate::{
    door::application::Upstream,
    house::{Plan, until},
};

pub(super) const SHOWN: &[&str] = &[
    "NeverstaleDoorUndecided",
    "NeverstaleForgetting",
    "NeverstaleLagging",
    "NeverstaleReadsRefused",
];

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a sidecar with a door, and gives the door's port.
async fn with_a_door(options: &SidecarOptions) -> Result<(Sidecar, u16)> {
    let door = free_port()?;
    let options = options
        .clone()
        .with("NEVERSTALE_INGRESS__LISTEN", format!("127.0.0.1:{door}"));
    Ok((Sidecar::start(&options).await?, door))
}

async fn worlds_begun(sidecar: &Sidecar) -> Result<f64> {
    sidecar.metric("neverstale_incarnation_changes_total").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_silent_or_begins_anew_again_and_again() {
    let settings = [("fsync", "off")];
    let postgres = Postgres::start(PostgresVersion::from_environment(), &settings)
        .await
        .unwrap();
    let application = Upstream::start().await.unwrap();
    let mut house = Plan::of(Application::OpenWebUi012)
        .sidecars(0)
        .with("NEVERSTALE_INGRESS__GUARD__MODE", "off")
        .with(
            "NEVERSTALE_INGRESS__UPSTREAM",
            format!("http://127.0.0.1:{}", application.port),
        )
        .open_on(&postgres)
        .await
        .unwrap();
    let link = Link::to(postgres.port()).await.unwrap();
    let (well, door_of_the_well) = with_a_door(&house.options).await.unwrap();
    // The relay's lock would stay with a session that nobody can hear any more.
    until("it is the relay", PATIENCE, async || {
        Ok(well.metric("neverstale_relay").await? > 0.0)
    })
    .await
    .unwrap();
    let mut over_the_link = house.options.clone();
    over_the_link.database_url = house.database.url_through(link.port());
    let (cut_off, door_of_the_cut_off) = with_a_door(&over_the_link).await.unwrap();
    house.sidecars.extend([well, cut_off]);
    let _traffic = Traffic::of(&house)
        .through(door_of_the_well)
        .through(door_of_the_cut_off);
    let mut watch = Watch::over(&house.sidecars).await.unwrap();

    link.silence();
    let under_silence = ["DoorUndecided", "Lagging", "ReadsRefused"];
    let alerts = under_silence.map(|alert| of(&format!("Neverstale{alert}"), 1));
    // Nothing is fetched without a fence but for who accepts an old state, and that is tried again several times before it has failed.
    let fetching = of("NeverstaleFillsFailing", 1);
    watch.sees(&alerts, std::slice::from_ref(&fetching)).await.unwrap();
    link.restore();

    for round in 0..4 {
        let mut before = Vec::new();
        for sidecar in &house.sidecars {
            before.push(worlds_begun(sidecar).await.unwrap());
        }
        postgres.crash().await.unwrap();
        postgres.start_again().await.unwrap();
        for (sidecar, before) in house.sidecars.iter().zip(before) {
            until("everything is forgotten, and counted", PATIENCE, async || {
                Ok(worlds_begun(sidecar).await? > before)
            })
            .await
            .unwrap_or_else(|error| panic!("round {round}: {error:#}"));
        }
    }
    // While it starts again nobody knows anything, and how long that takes is the machine's business.
    let company = ["DoorUndecided", "FillsFailing", "ReadsRefused"].map(|alert| of(&format!("Neverstale{alert}"), 0));
    let company = [&company[..], &[fetching, of_all("NeverstaleNoRelay")]].concat();
    let alerts = [0, 1].map(|pod| of("NeverstaleForgetting", pod));
    watch.sees(&alerts, &company).await.unwrap();
    watch.has_shown(SHOWN);
}
