//! Faults of Postgres and of the connections to it: reads stay right, and come back by themselves.

use std::{sync::Arc, time::Duration};

use neverstale_cache::{Level, ReadError};
use neverstale_changefeed::FeedError;
use neverstale_testkit::{Postgres, PostgresVersion};
use tokio::time::{Instant, sleep};

use crate::pods::{self, World};

/// What the issue allows between the end of a cause and the first good read.
const RECOVERY: Duration = Duration::from_secs(2);

async fn first_good_read(pod: &pods::Pod) -> i64 {
    let deadline = Instant::now() + RECOVERY;
    loop {
        match pod.read("/v1/users/p1", Level::FullyConsistent).await {
            Ok(answer) => return pods::version(&answer.entry.body),
            Err(error) => assert!(
                Instant::now() < deadline,
                "no read within {RECOVERY:?} of the cause's end: {error:?}"
            ),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_postgres_is_survived() {
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[]).await.unwrap();
    let world = World::on(&postgres, 20).await;
    let pod = world.pod().await;
    assert_eq!(pod.version("p1").await, 0);
    postgres.stop().await.unwrap();
    sleep(Duration::from_millis(60)).await;
    let away = pod.read("/v1/users/p1", Level::FullyConsistent).await;
    assert!(
        matches!(away, Err(ReadError::Entitlement(_))),
        "without Postgres and past the lease: {away:?}"
    );
    postgres.start_again().await.unwrap();
    let writer = world.database.connect().await.unwrap();
    writer
        .batch_execute("UPDATE person SET version = 1 WHERE id = 'p1'")
        .await
        .unwrap();
    assert_eq!(first_good_read(&pod).await, 1);
}

/// P9. The staleness bound is kept. A `minimize-latency` answer is never older than the bound
/// (`feed.staleness_bound_ms`), counted from before the question that last confirmed it. When the bound can't be kept
/// without a question, the question is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_allows_it_is_answered_within_the_bound_while_postgres_is_away() {
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[]).await.unwrap();
    let world = World::on(&postgres, 20).await;
    let pod = world.pod().await;
    assert_eq!(pod.version("p1").await, 0);
    postgres.stop().await.unwrap();
    sleep(Duration::from_millis(60)).await;
    let weaker = pod.read("/v1/users/p1", Level::FullyConsistentOrBounded).await.unwrap();
    assert_eq!(weaker.kept, Level::MinimizeLatency, "and it says so");
}

/// P4. An error, never an old value. A sidecar that can't keep the level answers 503 with `Retry-After`, or 504 when
/// the request's deadline comes first. Only a request that itself allowed a weaker level gets one, and the answer says
/// so.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_postgres_means_errors_not_old_answers() {
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[]).await.unwrap();
    let world = World::on(&postgres, 20).await;
    let pod = world.pod().await;
    assert_eq!(pod.version("p1").await, 0);
    postgres.pause().unwrap();
    sleep(Duration::from_millis(60)).await;
    let read = pod.router.route("/v1/users/p1").unwrap();
    let late = pod
        .cache
        .read(
            &read,
            Level::FullyConsistent,
            Instant::now() + Duration::from_millis(300),
        )
        .await;
    assert!(late.as_ref().is_err_and(ReadError::is_deadline), "{late:?}");
    postgres.resume().unwrap();
    assert_eq!(first_good_read(&pod).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_feed_that_has_ended_nor_rests_on_its_lease() {
    let world = World::with_lease(200).await;
    let pod = world.pod().await;
    assert_eq!(pod.version("p1").await, 0);
    pod.end();
    let deadline = Instant::now() + Duration::from_secs(60);
    let read = pod.router.route("/v1/users/p1").unwrap();
    while pod.cache.read(&read, Level::FullyConsistent, deadline).await.is_ok() {
        sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    let refused = pod.cache.read(&read, Level::FullyConsistent, deadline).await;
    assert!(
        matches!(refused, Err(ReadError::Entitlement(FeedError::Ended))),
        "{refused:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_cost_no_read_its_answer() {
    let world = World::with_lease(20).await;
    let pod = world.pod().await;
    for version in 1..=5 {
        world
            .admin
            .batch_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = 'neverstale'",
            )
            .await
            .unwrap();
        let sql = format!("UPDATE person SET version = {version} WHERE id = 'p1'");
        world.admin.batch_execute(&sql).await.unwrap();
        assert_eq!(first_good_read(&pod).await, version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_a_reset_and_a_half_open_network_are_survived() {
    let world = World::with_lease(20).await;
    let url = world.database.url();
    let port = url
        .rsplit_once(':')
        .unwrap()
        .1
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let link = neverstale_testkit::Link::to(port).await.unwrap();
    let pod = world.start(&world.database.url_through(link.port()), None);
    pod.until("it is ready", |pod| pod.readiness.is_ready()).await;
    let mut version = 0;
    for fault in ["cut", "reset", "silence"] {
        assert_eq!(pod.version("p1").await, version);
        match fault {
            "cut" => link.cut(),
            "reset" => link.reset(),
            _ => link.silence(),
        }
        version += 1;
        let sql = format!("UPDATE person SET version = {version} WHERE id = 'p1'");
        world.admin.batch_execute(&sql).await.unwrap();
        if let Ok(answer) = pod.read("/v1/users/p1", Level::FullyConsistent).await {
            assert_eq!(pods::version(&answer.entry.body), version, "{fault}");
        }
        link.restore();
        assert_eq!(first_good_read(&pod).await, version, "{fault}");
    }
}

/// P13. A new incarnation forgets everything. A crash, a restart, a failover, a restore, a rewind, a switch of the
/// server behind an open connection: the next fence notices, and from then on nothing that was learnt before is served,
/// at any level, from any tier.
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_is_another_incarnation() {
    let settings = [("wal_level", "replica"), ("max_wal_senders", "5")];
    let postgres = Postgres::start(PostgresVersion::from_environment(), &settings)
        .await
        .unwrap();
    let world = World::on(&postgres, 20).await;
    let standby = postgres.standby().await.unwrap();
    let url = world.database.url();
    let port = url
        .rsplit_once(':')
        .unwrap()
        .1
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let link = neverstale_testkit::Link::to(port).await.unwrap();
    let pod = world.start(&world.database.url_through(link.port()), None);
    pod.until("it is ready", |pod| pod.readiness.is_ready()).await;
    assert_eq!(pod.version("p1").await, 0);
    let before = pod.cache.feed().token().unwrap().incarnation;
    postgres.stop().await.unwrap();
    standby.promote().await.unwrap();
    link.lead_to(standby.port());
    link.reset();
    pod.until("the new primary is served", |pod| {
        pod.readiness.is_ready()
            && pod
                .cache
                .feed()
                .token()
                .is_some_and(|token| token.incarnation != before)
    })
    .await;
    let writer = standby.connect(world.database.name()).await.unwrap();
    writer
        .batch_execute("UPDATE person SET version = 8 WHERE id = 'p1'")
        .await
        .unwrap();
    assert_eq!(first_good_read(&pod).await, 8);
}

/// P6. Messages decide nothing. A notification or broadcast may be lost, late, repeated, reordered, damaged or forged.
/// Reads that begin afterwards are as fresh as ever; messages only make it cheaper.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_bell_costs_promptness_and_nothing_else() {
    let world = World::with_lease(0).await;
    let pod = Arc::new(world.pod().await);
    // Nobody listens any more, and nobody is told.
    world
        .admin
        .batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'neverstale' AND query LIKE '%LISTEN%'",
        )
        .await
        .unwrap();
    for version in 1..=20 {
        let sql = format!("UPDATE person SET version = {version} WHERE id = 'p1'");
        world.admin.batch_execute(&sql).await.unwrap();
        assert_eq!(pod.version("p1").await, version);
    }
}
