//! Histories that were found by reading the code against its promises: each was a failing test first.

use std::time::Duration;

use neverstale_cache::Level;
use tokio::time::sleep;

use crate::pods::World;

/// The trigger on `seal` is not part of the incarnation: without it nothing is published and nobody notices.
#[tokio::test(flavor = "multi_thread")]
async fn the_publishing_trigger_switched_off_is_noticed() {
    let world = World::with_lease(0).await;
    let pod = world.pod().await;
    assert_eq!(pod.version("p1").await, 0);
    world
        .admin
        .batch_execute("ALTER TABLE neverstale.seal DISABLE TRIGGER neverstale_publish")
        .await
        .unwrap();
    world
        .admin
        .batch_execute("UPDATE person SET version = 1 WHERE id = 'p1'")
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(pod.version("p1").await, 1);
}

/// The intents begin again below what is settled: every fence believes that nobody waits.
#[tokio::test(flavor = "multi_thread")]
async fn an_intent_sequence_that_was_restarted_is_noticed() {
    let world = World::with_lease(600).await;
    for _ in 0..3 {
        world
            .admin
            .batch_execute("UPDATE person SET version = version + 1 WHERE id = 'p2'")
            .await
            .unwrap();
    }
    let pod = world.pod().await;
    pod.version("p1").await;
    pod.until("a lease serves a hit", |pod| {
        pod.cache.hit("/v1/users/p1", Level::FullyConsistent).is_some()
    })
    .await;
    world
        .admin
        .batch_execute("ALTER SEQUENCE neverstale.intent RESTART WITH 2")
        .await
        .unwrap();
    let writer = world.database.connect().await.unwrap();
    let write = tokio::spawn(async move {
        writer
            .batch_execute("UPDATE person SET version = 7 WHERE id = 'p1'")
            .await
            .unwrap();
    });
    while !write.is_finished() {
        pod.version("p1").await;
        sleep(Duration::from_millis(1)).await;
    }
    write.await.unwrap();
    assert_eq!(pod.version("p1").await, 7);
}

/// Positions fall in the same incarnation: both tiers must be forgotten, not only the marks.
#[tokio::test(flavor = "multi_thread")]
async fn a_regressed_log_revives_no_entry() {
    let world = World::with_lease(0).await;
    let pod = world.pod().await;
    assert_eq!(pod.version("p1").await, 0);
    world
        .admin
        .batch_execute("UPDATE person SET version = 1 WHERE id = 'p1'")
        .await
        .unwrap();
    // The feed applies it by its poll; nobody reads p1, so L1 keeps the entry from before.
    let before = pod.cache.feed().token().unwrap();
    sleep(Duration::from_millis(600)).await;
    let after = pod.cache.feed().token().unwrap();
    assert!(after.position >= before.position);
    world.admin.batch_execute("DELETE FROM neverstale.log").await.unwrap();
    sleep(Duration::from_millis(600)).await;
    assert_eq!(pod.version("p1").await, 1);
}

/// In the middle of a restore in place the tables are there and empty.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_of_ours_ends_no_task() {
    for table in ["pruned", "installation"] {
        let world = World::with_lease(0).await;
        let pod = world.pod().await;
        assert_eq!(pod.version("p1").await, 0);
        world
            .admin
            .batch_execute(&format!(
                "CREATE TABLE kept AS TABLE neverstale.{table}; DELETE FROM neverstale.{table}; \
                 UPDATE person SET version = 1 WHERE id = 'p1'"
            ))
            .await
            .unwrap();
        let read = pod.read("/v1/users/p1", Level::FullyConsistent).await;
        eprintln!("{table}: while empty {read:?}");
        world
            .admin
            .batch_execute(&format!("INSERT INTO neverstale.{table} TABLE kept"))
            .await
            .unwrap();
        sleep(Duration::from_secs(2)).await;
        let read = pod.read("/v1/users/p1", Level::FullyConsistent).await;
        assert!(read.is_ok(), "{table}: {read:?} {:?}", pod.readiness.reasons());
    }
}

/// "Never" as the largest bigint.
#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_that_never_comes_is_no_error() {
    let world = World::with_lease(0).await;
    world
        .admin
        .batch_execute(
            "INSERT INTO token VALUES ('far', 'p1', 9223372036854775807), ('nano', 'p1', 1900000000000000000)",
        )
        .await
        .unwrap();
    let pod = world.pod().await;
    let view = (0..3_u16)
        .map(neverstale_flavour::ViewId)
        .find(|id| world.flavour.view(*id).name == "token")
        .unwrap();
    for id in ["far", "nano"] {
        let read = neverstale_flavour::Read {
            view,
            params: vec![id.to_owned()].into(),
            key: format!("token/{id}").into(),
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        let answer = pod.cache.read(&read, Level::FullyConsistent, deadline).await;
        assert!(answer.is_ok(), "{id}: {answer:?}");
    }
}

/// A log whose kept rows have many tags: the sidecar must be able to begin.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_begins_over_a_log_of_bulk_commits() {
    let world = World::with_lease(0).await;
    world
        .admin
        .batch_execute(
            "INSERT INTO neverstale.log (position, xid) SELECT nextval('neverstale.position'), n::text::xid8 FROM generate_series(1, 4000) n; \
             INSERT INTO neverstale.tag (xid, tag) SELECT n::text::xid8, 'person.id:0123456789-0123456789-' || t FROM generate_series(1, 4000) n, generate_series(1, 900) t; \
             ANALYZE neverstale.tag; ANALYZE neverstale.log",
        )
        .await
        .unwrap();
    let pod = world.start(world.database.url(), None);
    let began = std::time::Instant::now();
    while !pod.readiness.is_ready() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "never ready: {:?}",
            pod.readiness.reasons()
        );
        sleep(Duration::from_millis(20)).await;
    }
    eprintln!("ready after {:?}", began.elapsed());
    let mut worst = Duration::ZERO;
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while std::time::Instant::now() < until {
        let asked = std::time::Instant::now();
        let read = pod.read("/v1/users/p1", Level::FullyConsistent).await;
        worst = worst.max(asked.elapsed());
        assert!(read.is_ok(), "{read:?}");
        sleep(Duration::from_millis(5)).await;
    }
    eprintln!("worst read {worst:?}");
    assert!(worst < Duration::from_millis(500), "worst read {worst:?}");
}

/// Housekeeping that takes longer than a statement may is no reason to lose the feed.
#[tokio::test(flavor = "multi_thread")]
async fn pruning_a_long_log_costs_no_read() {
    let world = World::with_lease(0).await;
    world
        .admin
        .batch_execute(
            "INSERT INTO neverstale.log (position, xid) SELECT nextval('neverstale.position'), n::text::xid8 FROM generate_series(1, 600000) n; \
             INSERT INTO neverstale.tag (xid, tag) SELECT n::text::xid8, 'person.id:0123456789-' || t FROM generate_series(1, 600000) n, generate_series(1, 4) t; \
             ANALYZE neverstale.tag; ANALYZE neverstale.log",
        )
        .await
        .unwrap();
    let pod = world.pod().await;
    let until = std::time::Instant::now() + Duration::from_secs(6);
    let (mut errors, mut worst) = (Vec::new(), Duration::ZERO);
    while std::time::Instant::now() < until {
        let asked = std::time::Instant::now();
        if let Err(error) = pod.read("/v1/users/p1", Level::FullyConsistent).await {
            errors.push(format!("{error:?}"));
        }
        worst = worst.max(asked.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    let left: i64 = world
        .admin
        .query_one("SELECT count(*) FROM neverstale.log", &[])
        .await
        .unwrap()
        .get(0);
    eprintln!("worst read {worst:?}, log rows left {left}, errors {}", errors.len());
    assert!(errors.is_empty(), "{:?}", errors.first());
    assert!(left < 20_000, "the log was never pruned: {left}");
}

/// The log and its sequence went back: positions come again, and entries of the time that was undone must not be valid.
#[tokio::test(flavor = "multi_thread")]
async fn positions_that_come_again_revive_no_entry() {
    let world = World::with_lease(0).await;
    let pod = world.pod().await;
    for version in 1..=10 {
        let sql = format!("UPDATE person SET version = {version} WHERE id = 'p1'");
        world.admin.batch_execute(&sql).await.unwrap();
    }
    assert_eq!(pod.version("p1").await, 10);
    world
        .admin
        .batch_execute("DELETE FROM neverstale.log; SELECT setval('neverstale.position', 3)")
        .await
        .unwrap();
    sleep(Duration::from_millis(600)).await;
    world
        .admin
        .batch_execute("UPDATE person SET version = 11 WHERE id = 'p1'")
        .await
        .unwrap();
    assert_eq!(pod.version("p1").await, 11);
}
