//! Postgres is restarted, crashed, paused, full, and changed behind our back.

use std::time::Duration;

use neverstale_testkit::{Application, Postgres, PostgresVersion, run};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::recovered;
use crate::house::{House, Plan, role, until};

async fn own(settings: &[(&str, &str)]) -> Postgres {
    let mut all = vec![("fsync", "off")];
    all.extend_from_slice(settings);
    Postgres::start(PostgresVersion::from_environment(), &all)
        .await
        .unwrap()
}

/// Nothing but 503, 504, or a lease that has not yet run out.
async fn fails_closed(house: &House, known: &str) {
    for sidecar in &house.sidecars {
        let began = Instant::now();
        loop {
            let answer = sidecar
                .api()
                .get_with("/v1/users/u2/role", &[("Neverstale-Timeout-Ms", "100")])
                .await
                .unwrap();
            if answer.status != 200 {
                assert!(
                    [503, 504].contains(&answer.status),
                    "{}: {}",
                    answer.status,
                    answer.text()
                );
                assert!(
                    answer.status == 504 || answer.header("retry-after").is_some(),
                    "{:?}",
                    answer.headers
                );
                break;
            }
            assert_eq!(role(&answer).unwrap(), known);
            assert!(
                began.elapsed() < Duration::from_secs(1),
                "a lease goes on without Postgres"
            );
        }
    }
}

async fn promote(writer: &Client, role: &str) {
    writer
        .batch_execute(&format!("UPDATE \"user\" SET role = '{role}' WHERE id = 'u2'"))
        .await
        .unwrap();
}

/// P22. Recovery needs nobody. When the cause of a fault is gone, sidecars find back by themselves within two seconds.
///
/// F4. a backend is killed; Postgres crashes, is restarted, fails over, is restored, or its log table is emptied: 503
/// while nobody answers; then a new incarnation, everything cold.
#[tokio::test]
async fn a_restart_and_a_crash_of_postgres_are_survived_without_help() {
    let postgres = own(&[]).await;
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(2)
        .with_redis()
        .open_on(&postgres)
        .await
        .unwrap();
    let token = async || {
        house.sidecars[0]
            .get("/v1/users/u2")
            .await
            .unwrap()
            .header("neverstale-position")
            .unwrap()
            .split_once('-')
            .unwrap()
            .0
            .to_owned()
    };
    let mut known = "user";
    for (round, next) in ["admin", "pending", "user"].into_iter().enumerate() {
        for place in 0..2 {
            assert_eq!(house.role(place, "u2").await.unwrap(), known);
        }
        let incarnation = token().await;
        match round {
            0 => postgres.stop().await.unwrap(),
            1 => postgres.crash().await.unwrap(),
            _ => postgres.kill_nine().await.unwrap(),
        }
        fails_closed(&house, known).await;
        assert_eq!(house.sidecars[0].admin().get("/livez").await.unwrap().status, 200);
        postgres.start_again().await.unwrap();
        let ended = Instant::now();
        promote(&house.database.connect().await.unwrap(), next).await;
        for sidecar in &house.sidecars {
            recovered(sidecar, "u2", next, ended).await.unwrap();
            sidecar.ready(Duration::from_secs(3)).await.unwrap();
        }
        assert_ne!(token().await, incarnation, "round {round}");
        known = next;
    }
}

/// A primary that hangs is one that is out of reach (F10).
#[tokio::test]
async fn a_paused_postgres_means_errors_until_it_goes_on() {
    let postgres = own(&[]).await;
    let house = Plan::of(Application::Naga0518)
        .sidecars(2)
        .open_on(&postgres)
        .await
        .unwrap();
    for round in 0..2 {
        let known = house.role(0, "u2").await.unwrap();
        house.role(1, "u2").await.unwrap();
        postgres.pause().unwrap();
        fails_closed(&house, &known).await;
        sleep(Duration::from_millis(if round == 0 { 300 } else { 3_000 })).await;
        fails_closed(&house, &known).await;
        postgres.resume().unwrap();
        let ended = Instant::now();
        let next = if round == 0 { "admin" } else { "pending" };
        promote(&house.database.connect().await.unwrap(), next).await;
        for sidecar in &house.sidecars {
            recovered(sidecar, "u2", next, ended).await.unwrap();
        }
    }
}

/// Who is in stays in; who was thrown out comes back as soon as there is a place.
#[tokio::test]
async fn a_full_server_costs_those_inside_nothing_and_lets_the_others_in_again() {
    let postgres = own(&[("max_connections", "24"), ("superuser_reserved_connections", "1")]).await;
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(1)
        .with("NEVERSTALE_DATABASE__FILL_CONNECTIONS", 2)
        .open_on(&postgres)
        .await
        .unwrap();
    for number in 1..=10 {
        house.sidecars[0].get(&format!("/v1/users/u{number}")).await.unwrap();
    }
    let mut crowd = Vec::new();
    while let Ok(client) = house.database.connect().await {
        crowd.push(client);
        assert!(crowd.len() < 40, "the server is never full");
    }
    house.set_role("u2", "admin").await.unwrap();
    assert_eq!(house.role(0, "u2").await.unwrap(), "admin");
    // Thrown out, and their places are taken at once.
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'neverstale%'";
    house.writer.batch_execute(kill).await.unwrap();
    let refilled = Instant::now();
    while refilled.elapsed() < Duration::from_millis(600) {
        match house.database.connect().await {
            Ok(client) => crowd.push(client),
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    }
    house.set_role("u2", "pending").await.unwrap();
    let answer = house.sidecars[0]
        .api()
        .get_with("/v1/users/u2/role", &[("Neverstale-Timeout-Ms", "200")])
        .await
        .unwrap();
    assert!(
        answer.status != 200 || role(&answer).unwrap() == "pending",
        "an old value on a full server: {}",
        answer.text()
    );
    drop(crowd);
    recovered(&house.sidecars[0], "u2", "pending", Instant::now())
        .await
        .unwrap();
}

/// F6: uncached until the installation is whole again, and readiness says why.
///
/// P14. Broken triggers show. When a trigger of a watched table is dropped, disabled, replaced or added, or a table is
/// swapped, the next fence notices. Until the installation is whole again answers come straight from Postgres, nothing
/// is cached, and `/readyz` says what is missing and what to do.
#[tokio::test]
async fn dropped_disabled_and_suspended_triggers_show_and_reads_stay_right() {
    for application in Application::ALL {
        let house = Plan::of(application).sidecars(2).open().await.unwrap();
        let url = house.database.url().to_owned();
        let environment = [("DATABASE_URL", url.as_str())];
        let trigger = "SELECT tgname::text FROM pg_trigger WHERE tgrelid = '\"user\"'::regclass AND NOT tgisinternal ORDER BY 1 LIMIT 1";
        let trigger: String = house.writer.query_one(trigger, &[]).await.unwrap().get(0);
        for (number, breaking) in [
            format!("DROP TRIGGER {trigger} ON \"user\""),
            "ALTER TABLE \"user\" DISABLE TRIGGER ALL".to_owned(),
        ]
        .into_iter()
        .enumerate()
        {
            for place in 0..2 {
                house.role(place, "u2").await.unwrap();
            }
            house.write(&breaking).await.unwrap();
            // L4: a change by DDL is seen by the next fence, so at most one lease late.
            sleep(Duration::from_millis(80)).await;
            for name in ["one", "two"] {
                let role_now = format!("role-{number}-{name}");
                house.set_role("u2", &role_now).await.unwrap();
                for place in 0..2 {
                    assert_eq!(
                        house.role(place, "u2").await.unwrap(),
                        role_now,
                        "{} after {breaking}",
                        application.name()
                    );
                }
            }
            let answer = house.sidecars[0].get("/v1/users/u2").await.unwrap();
            assert_eq!(
                answer.header("cache-status"),
                Some("neverstale; fwd=bypass"),
                "after {breaking}"
            );
            until("readiness says why", Duration::from_secs(3), async || {
                let answer = house.sidecars[0].admin().get("/readyz").await?;
                Ok(answer.status == 503 && answer.text().contains("trigger"))
            })
            .await
            .unwrap();
            run(&["install"], &environment).await.unwrap();
            let mended = Instant::now();
            for sidecar in &house.sidecars {
                sidecar.ready(Duration::from_secs(5)).await.unwrap();
            }
            assert!(
                mended.elapsed() < super::RECOVERY + super::LENIENCE,
                "{:?}",
                mended.elapsed()
            );
        }
        // A migration: suspended, altered, resumed.
        run(&["suspend"], &environment).await.unwrap();
        house
            .write("ALTER TABLE \"user\" ALTER COLUMN name TYPE text")
            .await
            .unwrap();
        sleep(Duration::from_millis(80)).await;
        house.set_role("u2", "during").await.unwrap();
        assert_eq!(house.role(0, "u2").await.unwrap(), "during");
        run(&["resume"], &environment).await.unwrap();
        house.sidecars[0].ready(Duration::from_secs(5)).await.unwrap();
        house.set_role("u2", "after").await.unwrap();
        assert_eq!(
            (house.role(0, "u2").await.unwrap(), house.role(1, "u2").await.unwrap()),
            ("after".to_owned(), "after".to_owned())
        );
    }
}

/// The lease is raised and lowered under load, and no read is old on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_may_change_while_everybody_reads() {
    let house = Plan::of(Application::OpenWebUi012)
        .lease_ms(0)
        .sidecars(2)
        .open()
        .await
        .unwrap();
    let url = house.database.url().to_owned();
    let changing = tokio::spawn(async move {
        for lease in ["40", "120", "20", "0", "60"] {
            run(&["lease", lease], &[("DATABASE_URL", &url)]).await.unwrap();
            sleep(Duration::from_millis(150)).await;
        }
    });
    let mut round = 0;
    while !changing.is_finished() {
        let role_now = format!("role-{round}");
        house.set_role("u2", &role_now).await.unwrap();
        for place in [0, 1, 0, 1] {
            assert_eq!(house.role(place, "u2").await.unwrap(), role_now);
        }
        round += 1;
    }
    changing.await.unwrap();
    assert!(round > 5, "only {round} rounds");
}
