//! The wall clock of the database's machine is stepped while commits wait by it (F9).

use std::time::Duration;

use neverstale_testkit::{Application, Postgres, PostgresVersion, WallClock};
use tokio::time::Instant;

use crate::house::{House, Plan, until};

const LEASE: Duration = Duration::from_millis(400);

async fn by_a_clock() -> (House, WallClock, Postgres) {
    let clock = WallClock::new().unwrap();
    let settings = [("fsync", "off")];
    let postgres = Postgres::start_by(&clock, PostgresVersion::from_environment(), &settings)
        .await
        .unwrap();
    let plan = Plan::of(Application::OpenWebUi012).sidecars(2);
    let house = plan
        .lease_ms(LEASE.as_millis() as u32)
        .open_on(&postgres)
        .await
        .unwrap();
    (house, clock, postgres)
}

/// What interrupts a sleep for a look at the clock: every backend is told to read its settings again.
async fn wake_everybody(house: &House) {
    house.writer.execute("SELECT pg_reload_conf()", &[]).await.unwrap();
}

async fn is_sleeping(house: &House) -> anyhow::Result<bool> {
    let sql = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    Ok(house.writer.query_one(sql, &[]).await?.get(0))
}

/// Runs something that sleeps in Postgres, steps the clock in the middle of it, and gives how long it took.
async fn stepped_during(house: &House, clock: &WallClock, seconds: i32, sql: String) -> Duration {
    let client = house.database.connect().await.unwrap();
    let began = Instant::now();
    let sleeping = tokio::spawn(async move { client.batch_execute(&sql).await });
    until("it sleeps", Duration::from_secs(5), async || is_sleeping(house).await)
        .await
        .unwrap();
    clock.set(seconds).unwrap();
    wake_everybody(house).await;
    sleeping.await.unwrap().unwrap();
    began.elapsed()
}

#[tokio::test]
async fn a_step_of_the_databases_wall_clock_shortens_no_commit_wait_below_the_lease() {
    let (house, clock, _postgres) = by_a_clock().await;
    // The step is real: a plain sleep ends as soon as somebody looks at the clock.
    let slept = stepped_during(&house, &clock, 60, "SELECT pg_sleep(5)".to_owned()).await;
    assert!(slept < Duration::from_secs(4), "the clock was not stepped: {slept:?}");
    for round in 1..=6 {
        for place in 0..2 {
            // Warm, and resting on a lease.
            house.role(place, "u2").await.unwrap();
        }
        let next = format!("role-{round}");
        let sql = format!("UPDATE \"user\" SET role = '{next}' WHERE id = 'u2'");
        let waited = stepped_during(&house, &clock, 60 + round * 60, sql).await;
        for place in 0..2 {
            assert_eq!(house.role(place, "u2").await.unwrap(), next, "stepped forward");
        }
        assert!(waited >= LEASE, "a commit waited for {waited:?} only");
    }
}

/// F9. the wall clock of the database's machine is stepped: none on what reads show; a step back may hold up commits
/// that are waiting, by the length of the step.
#[tokio::test]
async fn a_step_back_delays_the_commits_that_wait_by_the_step_and_changes_no_answer() {
    let (house, clock, _postgres) = by_a_clock().await;
    for round in 1..=3 {
        for place in 0..2 {
            house.role(place, "u2").await.unwrap();
        }
        let next = format!("role-{round}");
        let sql = format!("UPDATE \"user\" SET role = '{next}' WHERE id = 'u2'");
        let waited = stepped_during(&house, &clock, -round, sql).await;
        for place in 0..2 {
            assert_eq!(house.role(place, "u2").await.unwrap(), next, "stepped back");
        }
        // By a second each time; the rest is the commit wait and a busy machine.
        assert!(
            waited < Duration::from_secs(1) + LEASE * 5,
            "a commit waited for {waited:?}"
        );
    }
}
