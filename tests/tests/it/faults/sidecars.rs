//! Sidecars that are stopped, killed and cut off.

use std::time::Duration;

use anyhow::Context;
use neverstale_testkit::{Application, Sidecar};
use tokio::time::{Instant, sleep, timeout};

use super::{RECOVERY, recovered};
use crate::house::{House, Plan, role, until};

/// F3. a sidecar is paused (SIGSTOP, suspended guest): none: its lease is over when it wakes, and the first reads take
/// a fence.
#[tokio::test]
async fn a_sidecar_stopped_for_longer_than_its_lease_wakes_up_fresh() {
    for application in Application::ALL {
        let house = Plan::of(application).lease_ms(100).open().await.unwrap();
        let mut client = house.sidecars[0].api();
        for (round, role_now) in ["admin", "user", "pending"].into_iter().enumerate() {
            // Warm, and with a lease.
            for _ in 0..5 {
                client.get("/v1/users/u2/role").await.unwrap();
            }
            house.sidecars[0].pause().unwrap();
            // P17: a paused sidecar holds up no writer, and no other sidecar.
            timeout(Duration::from_secs(2), house.set_role("u2", role_now))
                .await
                .expect("the writer waits for a paused sidecar")
                .unwrap();
            assert_eq!(house.role(1, "u2").await.unwrap(), role_now);
            sleep(Duration::from_millis(150)).await;
            house.sidecars[0].resume().unwrap();
            assert_eq!(
                role(&client.get("/v1/users/u2/role").await.unwrap()).unwrap(),
                role_now,
                "{} round {round}",
                application.name()
            );
        }
    }
}

/// The same, stopped in the very middle of its lease and woken before its end: the commit has waited instead.
///
/// P17. No sidecar holds up a writer. A watched commit waits the commit wait and takes its turn; it never waits for a
/// sidecar, however many there are, paused, dead or cut off.
#[tokio::test]
async fn a_sidecar_stopped_within_its_lease_is_outwaited_by_the_commit() {
    let house = Plan::of(Application::OpenWebUi012)
        .lease_ms(150)
        .sidecars(2)
        .open()
        .await
        .unwrap();
    let mut client = house.sidecars[0].api();
    for round in 0..8 {
        client.get("/v1/users/u2/role").await.unwrap();
        house.sidecars[0].pause().unwrap();
        let role_now = if round % 2 == 0 { "admin" } else { "user" };
        house.set_role("u2", role_now).await.unwrap();
        house.sidecars[0].resume().unwrap();
        assert_eq!(
            role(&client.get("/v1/users/u2/role").await.unwrap()).unwrap(),
            role_now,
            "round {round}"
        );
    }
}

async fn relay(house: &House, among: &[usize]) -> anyhow::Result<Option<usize>> {
    for place in among {
        if house.sidecars[*place].metric("neverstale_relay").await? > 0.0 {
            return Ok(Some(*place));
        }
    }
    Ok(None)
}

/// F1, F11: nobody but its own callers notices, and another one takes its place.
///
/// F1. a notification is lost; the listening session is cut; the relay is killed or paused; a broadcast is lost,
/// repeated, reordered, damaged or forged: none on what they show; the news of a change may take until the next fence
/// or poll.
#[tokio::test]
async fn a_killed_relay_is_replaced_and_costs_no_read_its_freshness() {
    let house = Plan::of(Application::OpenWebUi012).with_redis().open().await.unwrap();
    until("there is a relay", Duration::from_secs(5), async || {
        Ok(relay(&house, &[0, 1, 2]).await?.is_some())
    })
    .await
    .unwrap();
    let first = relay(&house, &[0, 1, 2]).await.unwrap().unwrap();
    let others: Vec<usize> = (0..3).filter(|place| *place != first).collect();
    for place in &others {
        house.role(*place, "u2").await.unwrap();
    }
    house.sidecars[first].kill_nine().await.unwrap();
    let killed = Instant::now();
    for round in 0..10 {
        let role_now = if round % 2 == 0 { "admin" } else { "user" };
        house.set_role("u2", role_now).await.unwrap();
        for place in &others {
            assert_eq!(house.role(*place, "u2").await.unwrap(), role_now);
        }
    }
    until("another one is the relay", RECOVERY * 2, async || {
        Ok(relay(&house, &others).await?.is_some())
    })
    .await
    .unwrap();
    assert!(killed.elapsed() < RECOVERY * 2, "{:?}", killed.elapsed());
    // The word is spread again: positions move without a read.
    let second = relay(&house, &others).await.unwrap();
    let listener = others.into_iter().find(|place| Some(*place) != second).unwrap();
    let before = house.sidecars[listener]
        .metric("neverstale_position_applied")
        .await
        .unwrap();
    house.set_role("u3", "admin").await.unwrap();
    until("the word is spread", RECOVERY, async || {
        Ok(house.sidecars[listener].metric("neverstale_position_applied").await? > before)
    })
    .await
    .unwrap();
}

/// A relay that is paused, not dead, keeps its office and its lock; the others must do without.
#[tokio::test]
async fn a_paused_relay_costs_no_read_its_freshness() {
    let house = Plan::of(Application::Naga0518).with_redis().open().await.unwrap();
    until("there is a relay", Duration::from_secs(5), async || {
        Ok(relay(&house, &[0, 1, 2]).await?.is_some())
    })
    .await
    .unwrap();
    let first = relay(&house, &[0, 1, 2]).await.unwrap().unwrap();
    let others: Vec<usize> = (0..3).filter(|place| *place != first).collect();
    house.sidecars[first].pause().unwrap();
    for round in 0..10 {
        let role_now = if round % 2 == 0 { "admin" } else { "user" };
        house.set_role("u2", role_now).await.unwrap();
        for place in &others {
            assert_eq!(house.role(*place, "u2").await.unwrap(), role_now);
        }
    }
    house.sidecars[first].resume().unwrap();
    assert_eq!(house.role(first, "u2").await.unwrap(), "user");
}

/// F11. a sidecar is killed: its own connections break; nobody else notices, but for promptness if it was the relay,
/// until another one is.
#[tokio::test]
async fn a_killed_sidecar_starts_again_fresh() {
    let mut house = Plan::of(Application::OpenWebUi06)
        .sidecars(2)
        .with_redis()
        .open()
        .await
        .unwrap();
    for round in 0..3 {
        house.role(0, "u2").await.unwrap();
        house.sidecars[0].kill_nine().await.unwrap();
        let role_now = if round % 2 == 0 { "admin" } else { "user" };
        house.set_role("u2", role_now).await.unwrap();
        assert_eq!(house.role(1, "u2").await.unwrap(), role_now);
        let began = Instant::now();
        house.sidecars[0] = Sidecar::start(&house.options).await.unwrap();
        recovered(&house.sidecars[0], "u2", role_now, began).await.unwrap();
    }
}

/// F1: the listening session is cut, and every other one of a sidecar's too.
#[tokio::test]
async fn a_sidecar_whose_sessions_are_all_killed_answers_fresh_or_not_at_all() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(2).open().await.unwrap();
    for round in 0..5 {
        let role_now = if round % 2 == 0 { "admin" } else { "user" };
        for place in 0..2 {
            house.role(place, "u2").await.unwrap();
        }
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'neverstale%'";
        house.writer.batch_execute(kill).await.unwrap();
        house.set_role("u2", role_now).await.unwrap();
        let ended = Instant::now();
        for sidecar in &house.sidecars {
            recovered(sidecar, "u2", role_now, ended).await.context(round).unwrap();
        }
    }
}
