//! The histories that broke the first draft of the protocol, by their numbers in docs/PROTOCOL.md: each is played here on
//! live servers, and none shows an old value any more.

use std::{process::Command, sync::Arc, time::Duration};

use neverstale_cache::{Level, ReadError, Source};
use neverstale_changefeed::FeedError;
use neverstale_coherence::Position;
use neverstale_installation::set_lease;
use neverstale_testkit::{Postgres, PostgresVersion};
use neverstale_wire::Token;
use tokio::time::{Instant, sleep};

use crate::pods::{self, Pod, World};

async fn set(world: &World, person: &str, version: i64) {
    world
        .admin
        .batch_execute(&format!("UPDATE person SET version = {version} WHERE id = '{person}'"))
        .await
        .unwrap();
}

async fn own_server(settings: &[(&str, &str)]) -> Postgres {
    Postgres::start(PostgresVersion::from_environment(), settings)
        .await
        .unwrap()
}

fn incarnation(pod: &Pod) -> Option<String> {
    pod.cache.feed().token().map(|token| token.incarnation.to_string())
}

/// [1] A crash restart keeps postmaster, timeline and system identifier, and takes back sequences and asynchronous commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_one_backend_is_another_incarnation() {
    let postgres = own_server(&[("wal_writer_delay", "10s")]).await;
    let world = World::on(&postgres, 20).await;
    let pod = world.pod().await;
    set(&world, "p1", 1).await;
    assert_eq!(pod.version("p1").await, 1);
    let before = incarnation(&pod);
    // Acknowledged, visible, and not on disk: the crash takes it back, together with its position.
    world
        .admin
        .batch_execute("SET synchronous_commit = off; UPDATE person SET version = 2 WHERE id = 'p1'")
        .await
        .unwrap();
    assert_eq!(pod.version("p1").await, 2);
    let victim = world.database.connect().await.unwrap();
    let pid: i32 = victim.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    assert!(
        Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
    while !world.admin.is_closed() {
        sleep(Duration::from_millis(5)).await;
    }
    let admin = reconnect(&world).await;
    let row = admin
        .query_one("SELECT version FROM person WHERE id = 'p1'", &[])
        .await
        .unwrap();
    pod.until("the new incarnation is served", |pod| {
        pod.readiness.is_ready() && incarnation(pod) != before
    })
    .await;
    assert_eq!(pod.version("p1").await, row.get::<_, i64>(0));
    for version in 10..20 {
        admin
            .batch_execute(&format!(
                "UPDATE person SET version = {version} WHERE id IN ('p1', 'p2')"
            ))
            .await
            .unwrap();
        assert_eq!((pod.version("p1").await, pod.version("p2").await), (version, version));
    }
}

async fn reconnect(world: &World) -> tokio_postgres::Client {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match world.database.connect().await {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < deadline, "Postgres does not come back: {error:#}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// [2] A restore in place rewinds positions under the same server, database and boot.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_into_the_same_database_is_another_incarnation() {
    let postgres = own_server(&[]).await;
    let world = World::on(&postgres, 0).await;
    let pod = world.pod().await;
    let dump = tempfile::NamedTempFile::new().unwrap();
    let tool = |name: &str| Command::new(postgres.binaries().join(name));
    let dumped = tool("pg_dump")
        .args(["--format=custom", "--file"])
        .arg(dump.path())
        .arg(world.database.url())
        .status();
    assert!(dumped.unwrap().success());
    for version in 1..=5 {
        set(&world, "p1", version).await;
    }
    assert_eq!(pod.version("p1").await, 5);
    let before = incarnation(&pod);
    let restored = tool("pg_restore")
        .args(["--clean", "--if-exists", "--dbname", world.database.url()])
        .arg(dump.path())
        .output()
        .unwrap();
    assert!(
        restored.status.success(),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
    pod.until("the restored log is served", |pod| {
        pod.readiness.is_ready() && incarnation(pod) != before
    })
    .await;
    assert_eq!(pod.version("p1").await, 0);
    for version in 11..16 {
        set(&world, "p1", version).await;
        assert_eq!(pod.version("p1").await, version);
    }
}

/// [3] A sequence says 1 before its first value and after it.
#[tokio::test(flavor = "multi_thread")]
async fn the_very_first_intent_after_an_install_is_seen() {
    let world = World::with_lease(300).await;
    let pod = world.pod().await;
    assert_eq!(pod.version("p1").await, 0);
    let writer = world.database.connect().await.unwrap();
    let writing = tokio::spawn(async move {
        writer
            .batch_execute("UPDATE person SET version = 1 WHERE id = 'p1'")
            .await
    });
    while !writing.is_finished() {
        pod.version("p1").await;
        pod.version("p2").await;
        sleep(Duration::from_millis(1)).await;
    }
    writing.await.unwrap().unwrap();
    assert_eq!(pod.version("p1").await, 1);
}

/// [4] A writer whose snapshot is older than a raised lease must still wait as long as the lease lasts.
#[tokio::test(flavor = "multi_thread")]
async fn raising_the_lease_binds_writers_with_an_old_snapshot() {
    let world = World::with_lease(0).await;
    let pod = world.pod().await;
    let writer = world.database.connect().await.unwrap();
    writer
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT version FROM person")
        .await
        .unwrap();
    let operator = world.database.connect().await.unwrap();
    set_lease(&operator, 400).await.unwrap();
    pod.version("p1").await;
    pod.until("a lease is held", |pod| {
        pod.cache.hit("/v1/users/p1", Level::FullyConsistent).is_some()
    })
    .await;
    let began = Instant::now();
    writer
        .batch_execute("UPDATE person SET version = 7 WHERE id = 'p1'; COMMIT")
        .await
        .unwrap();
    assert!(
        began.elapsed() >= Duration::from_millis(400),
        "the commit took only {:?}",
        began.elapsed()
    );
    assert_eq!(pod.version("p1").await, 7);
}

/// [4] Lowering waits until nobody holds the longer lease any more.
#[tokio::test(flavor = "multi_thread")]
async fn lowering_the_lease_never_leaves_a_longer_one_behind() {
    let world = World::with_lease(300).await;
    let pod = world.pod().await;
    pod.version("p1").await;
    pod.until("a lease is held", |pod| {
        pod.cache.hit("/v1/users/p1", Level::FullyConsistent).is_some()
    })
    .await;
    let operator = world.database.connect().await.unwrap();
    let lowering = tokio::spawn(async move { set_lease(&operator, 5).await });
    let mut version = 0;
    while !lowering.is_finished() || version < 5 {
        version += 1;
        set(&world, "p1", version).await;
        assert_eq!(pod.version("p1").await, version);
    }
    lowering.await.unwrap().unwrap();
}

/// [5] The commit wait is slept in slices, one more than the wait, so that one step of the wall clock can't cut it
/// short.
///
/// L2. With leases, a watched commit waits. It waits the commit wait, which is never shorter than the lease, while
/// holding its row locks: one row can change only about (1 s ÷ commit wait) times a second, ten autocommitted changes
/// take ten waits, and a logical-replication apply worker passes one watched transaction per wait. With a lease of 0 no
/// commit waits and every `fully-consistent` read takes a fence.
#[tokio::test(flavor = "multi_thread")]
async fn the_commit_wait_is_longer_than_the_lease_by_one_slice() {
    let world = World::with_lease(200).await;
    let began = Instant::now();
    set(&world, "p1", 1).await;
    assert!(began.elapsed() >= Duration::from_millis(218), "{:?}", began.elapsed());
}

/// [8] What reaches no trigger changes the trigger epoch, and with it the incarnation.
///
/// F6. triggers are dropped, disabled or changed; a table is swapped by rename; a partition is attached, detached or
/// emptied: at the next fence a new incarnation, then uncached answers until `neverstale verify` is green.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_swapped_by_rename_is_never_served_from_cache() {
    let world = World::with_lease(20).await;
    let pod = world.pod().await;
    assert_eq!(pod.version("p1").await, 0);
    world
        .admin
        .batch_execute(
            "CREATE TABLE fresh (LIKE person INCLUDING ALL); INSERT INTO fresh SELECT id, 99, team_id, 0 FROM person; \
             BEGIN; ALTER TABLE person RENAME TO old; ALTER TABLE fresh RENAME TO person; COMMIT",
        )
        .await
        .unwrap();
    sleep(Duration::from_millis(30)).await;
    assert_eq!(
        pod.version("p1").await,
        99,
        "a change made by DDL is at most one lease late"
    );
    assert_eq!(
        pod.read("/v1/users/p1", Level::FullyConsistent).await.unwrap().source,
        Source::Bypass
    );
}

/// [8] A name is looked up when the statement runs, also when the table that had it went with its whole schema, or is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_its_table_is_another_incarnation() {
    for (ddl, seen) in [
        (
            "BEGIN; CREATE TABLE copy AS TABLE person; DROP TABLE person CASCADE; ALTER TABLE copy RENAME TO person; \
             UPDATE person SET version = 98; COMMIT",
            98,
        ),
        (
            "BEGIN; CREATE SCHEMA fresh; CREATE TABLE fresh.person AS TABLE public.person; \
             CREATE TABLE fresh.token AS TABLE public.token; UPDATE fresh.person SET version = 97; \
             ALTER SCHEMA public RENAME TO old; ALTER SCHEMA fresh RENAME TO public; COMMIT",
            97,
        ),
    ] {
        let world = World::with_lease(20).await;
        let pod = world.pod().await;
        assert_eq!(pod.version("p1").await, 0);
        world.admin.batch_execute(ddl).await.unwrap();
        sleep(Duration::from_millis(30)).await;
        assert_eq!(pod.version("p1").await, seen);
        pod.until("the feed has noticed", |pod| !pod.readiness.is_ready()).await;
    }
}

/// [8] Without one of its tables a view fails; the others are passed through, and the cache is back when the table is.
#[tokio::test(flavor = "multi_thread")]
async fn a_watched_table_that_is_dropped_takes_no_other_view_along() {
    let world = World::with_lease(20).await;
    let pod = world.pod().await;
    assert_eq!(pod.version("p1").await, 0);
    world.admin.batch_execute("DROP TABLE token").await.unwrap();
    pod.until("the feed has noticed", |pod| !pod.readiness.is_ready()).await;
    let answer = pod.read("/v1/users/p1", Level::FullyConsistent).await.unwrap();
    assert_eq!(answer.source, Source::Bypass);
    world
        .admin
        .batch_execute("CREATE TABLE token (id text PRIMARY KEY, person_id text, expires_at bigint)")
        .await
        .unwrap();
    world.install().await;
    pod.until("the table is back", |pod| pod.readiness.is_ready()).await;
    set(&world, "p1", 7).await;
    assert_eq!(pod.version("p1").await, 7);
}

/// [9] Only the primary may answer: a standby can be ahead of it and behind it.
///
/// F7. a standby or a wrong server answers: its statement fails or names another incarnation; its answer is not used.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_answers_nothing() {
    let postgres = own_server(&[("wal_level", "replica"), ("max_wal_senders", "5")]).await;
    let world = World::on(&postgres, 0).await;
    set(&world, "p1", 1).await;
    let standby = postgres.standby().await.unwrap();
    let pod = world.start(&world.database.url_through(standby.port()), None);
    let refused = pod.read("/v1/users/p1", Level::FullyConsistent).await;
    assert!(matches!(refused, Err(ReadError::Entitlement(_))), "{refused:?}");
    assert!(!pod.readiness.is_ready());
}

/// [10] All tags are known before the intent, so a lease never covers the second tag of a transaction that is waiting.
#[tokio::test(flavor = "multi_thread")]
async fn every_tag_of_a_waiting_transaction_is_excepted() {
    let world = World::with_lease(300).await;
    let pod = Arc::new(world.pod().await);
    for round in 1..=3 {
        let writer = world.database.connect().await.unwrap();
        let sql = format!(
            "BEGIN; UPDATE person SET version = {round} WHERE id = 'p1'; UPDATE person SET version = {round} WHERE id = 'p2'; COMMIT"
        );
        let writing = tokio::spawn(async move { writer.batch_execute(&sql).await });
        while !writing.is_finished() {
            pod.version("p2").await;
            pod.version("p3").await;
            sleep(Duration::from_millis(1)).await;
        }
        writing.await.unwrap().unwrap();
        assert_eq!((pod.version("p2").await, pod.version("p1").await), (round, round));
    }
}

/// [11] An intent that was aborted is settled only when nothing can hide behind it any more.
#[tokio::test(flavor = "multi_thread")]
async fn aborted_intents_neither_stop_leases_nor_hide_commits() {
    let world = World::with_lease(100).await;
    let pod = world.pod().await;
    let aborter = world.database.connect().await.unwrap();
    let token = aborter.cancel_token();
    let aborting = tokio::spawn(async move {
        aborter
            .batch_execute("UPDATE person SET version = 1 WHERE id = 'p9'")
            .await
    });
    sleep(Duration::from_millis(40)).await;
    token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    assert!(aborting.await.unwrap().is_err(), "the commit was cancelled in its wait");
    pod.version("p1").await;
    pod.until("leases are granted again", |pod| {
        pod.cache.hit("/v1/users/p1", Level::FullyConsistent).is_some()
    })
    .await;
    set(&world, "p1", 4).await;
    assert_eq!(pod.version("p1").await, 4);
}

/// [11, 19] Between drawing its intent and locking it, a writer is known by its mark alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_intent_that_is_drawn_and_not_locked_yet_is_not_settled() {
    let world = World::with_lease(100).await;
    let pod = world.pod().await;
    let class: i32 = world
        .admin
        .query_one("SELECT lock_class FROM neverstale.installation", &[])
        .await
        .unwrap()
        .get(0);
    let writer = world.database.connect().await.unwrap();
    let half_way = format!("BEGIN; SELECT pg_advisory_xact_lock_shared({class}, 0)");
    writer.batch_execute(&half_way).await.unwrap();
    let intent: i64 = writer
        .query_one("SELECT nextval('neverstale.intent')", &[])
        .await
        .unwrap()
        .get(0);
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        pod.version("p1").await;
        assert!(
            pod.metrics.position_settled.get() < intent,
            "settled over a writer that is still to come"
        );
        sleep(Duration::from_millis(5)).await;
    }
    writer.batch_execute("ROLLBACK").await.unwrap();
    pod.version("p1").await;
    let deadline = Instant::now() + Duration::from_secs(2);
    while pod.metrics.position_settled.get() < intent {
        assert!(Instant::now() < deadline, "an aborted intent was never settled");
        pod.version("p1").await;
        sleep(Duration::from_millis(5)).await;
    }
}

/// [13] Gaps in positions mean nothing, so only `pruned_to` tells that rows are gone.
///
/// F8. the log was pruned further than this sidecar had read: everything older is void; the sidecar goes on, cold.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_pruned_past_a_sleeping_pod_leaves_it_cold_not_stale() {
    let world = World::with_lease(0).await;
    let link = neverstale_testkit::Link::to(port(&world)).await.unwrap();
    let pod = world.start(&world.database.url_through(link.port()), None);
    pod.until("it is ready", |pod| pod.readiness.is_ready()).await;
    assert_eq!(pod.version("p1").await, 0);
    link.silence();
    for version in 1..=5 {
        set(&world, "p1", version).await;
        set(&world, "p2", version).await;
    }
    world.admin.batch_execute("SELECT neverstale.prune(1)").await.unwrap();
    link.restore();
    assert_eq!(pod.version("p1").await, 5);
    assert_eq!(pod.version("p2").await, 5);
}

fn port(world: &World) -> u16 {
    let url = world.database.url();
    let (_, rest) = url.rsplit_once(':').unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

/// [14] A session whose settings were lost, as behind a pooler in transaction mode, gives no answer that could be used.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_lost_its_settings_can_not_answer() {
    use neverstale_postgres::{Connection, FeedConnection, PostgresError, Target};
    let world = World::with_lease(0).await;
    let limit = Duration::from_secs(2);
    let target = Target::parse(world.database.url()).unwrap();
    for lost in [
        "SET row_security = on",
        "SET search_path = public",
        "SET default_transaction_isolation = 'repeatable read'",
    ] {
        let (connection, _) = Connection::open(&target, None, limit, limit).await.unwrap();
        let (feed, _) = FeedConnection::prepare(connection, &world.flavour, "public")
            .await
            .unwrap();
        assert!(feed.fence().await.is_ok());
        feed.connection().client().batch_execute(lost).await.unwrap();
        let refused = feed.fence().await;
        assert!(
            matches!(refused, Err(PostgresError::SessionLost)),
            "{lost}: {refused:?}"
        );
    }
}

/// [16] A changed key publishes the old one and the new one.
///
/// P11. "There is none" is an answer too. A 404 is kept, tagged and judged like any other entry: it ends with the
/// commit that makes the thing exist.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_key_is_gone_under_its_old_name_and_there_under_its_new_one() {
    let world = World::with_lease(20).await;
    let pod = world.pod().await;
    assert_eq!(pod.version("p1").await, 0);
    let unknown = pod.read("/v1/users/px", Level::FullyConsistent).await.unwrap();
    assert!(!unknown.entry.is_found);
    world
        .admin
        .batch_execute("UPDATE person SET id = 'px' WHERE id = 'p1'")
        .await
        .unwrap();
    assert!(
        !pod.read("/v1/users/p1", Level::FullyConsistent)
            .await
            .unwrap()
            .entry
            .is_found
    );
    assert_eq!(pod.version("px").await, 0);
    world
        .admin
        .batch_execute("UPDATE person SET id = 'p1' WHERE id = 'px'")
        .await
        .unwrap();
    assert_eq!(pod.version("p1").await, 0);
}

/// [20] A token of another time line or from the future ends in an answer, never in a wait.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_can_not_be_reached_do_not_make_a_read_wait() {
    let world = World::with_lease(0).await;
    let pod = world.pod().await;
    let answer = pod.read("/v1/users/p1", Level::FullyConsistent).await.unwrap();
    let ahead = Token {
        position: Position(answer.token.position.0 + 1_000),
        ..answer.token
    };
    let refused = pod.read("/v1/users/p1", Level::AtLeastAsFresh(ahead)).await;
    assert!(
        matches!(refused, Err(ReadError::Entitlement(FeedError::TokenAhead))),
        "{refused:?}"
    );
    let foreign = Token {
        incarnation: neverstale_coherence::Incarnation([7; 16]),
        ..ahead
    };
    set(&world, "p1", 3).await;
    let answered = pod.read("/v1/users/p1", Level::AtLeastAsFresh(foreign)).await.unwrap();
    assert_eq!(
        pods::version(&answered.entry.body),
        3,
        "a foreign token means fully consistent"
    );
}
