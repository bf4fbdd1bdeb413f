//! Reads of several pods over one real Postgres while somebody writes plain SQL: nothing old is ever answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::pods::{self, World};
use neverstale_cache::{Level, Source};
use neverstale_lifecycle::Clock;
use neverstale_telemetry::{FenceOutcome, FillOutcome, Level as LevelLabel, ReadOutcome};

/// P1. Reads are linearizable. When the writer of a watched row has been told that the commit is done, or when somebody
/// has seen its effect on the primary or in an answer of any sidecar, every `fully-consistent` read that begins after
/// that, on whichever sidecar, shows the change or something newer.
#[tokio::test(flavor = "multi_thread")]
async fn the_very_next_read_on_every_pod_shows_an_acknowledged_write() {
    for lease_ms in [0, 20] {
        let world = World::with_lease(lease_ms).await;
        let pods = [world.pod().await, world.pod().await, world.pod().await];
        for version in 1..=30 {
            let sql = format!("UPDATE person SET version = {version} WHERE id = 'p1'");
            world.admin.batch_execute(&sql).await.unwrap();
            for pod in &pods {
                assert_eq!(pod.version("p1").await, version, "lease {lease_ms} ms");
                assert_eq!(pod.version("p1").await, version, "and again, from L1");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_answers_from_l1_without_a_question() {
    let world = World::with_lease(200).await;
    let pod = world.pod().await;
    pod.version("p1").await;
    pod.until("a lease serves a hit", |pod| {
        pod.cache.hit("/v1/users/p1", Level::FullyConsistent).is_some()
    })
    .await;
    let answer = pod.read("/v1/users/p1", Level::FullyConsistent).await.unwrap();
    assert_eq!(answer.source, Source::L1);
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_stay_linearizable_under_many_writers_and_readers() {
    for lease_ms in [0, 30] {
        let world = World::with_lease(lease_ms).await;
        let pods: Vec<_> = vec![Arc::new(world.pod().await), Arc::new(world.pod().await)];
        let acknowledged: Arc<Vec<AtomicI64>> = Arc::new((0..6).map(|_| AtomicI64::new(0)).collect());
        let stop = Arc::new(AtomicBool::new(false));
        let reads = Arc::new(AtomicU64::new(0));
        let hits = Arc::new(AtomicU64::new(0));
        let mut readers = Vec::new();
        for pod in pods.iter().cycle().take(4) {
            let (pod, acknowledged, stop) = (Arc::clone(pod), Arc::clone(&acknowledged), Arc::clone(&stop));
            let (reads, hits) = (Arc::clone(&reads), Arc::clone(&hits));
            readers.push(tokio::spawn(async move {
                let mut place = 0;
                while !stop.load(Ordering::Relaxed) {
                    place = (place + 1) % acknowledged.len();
                    let before = acknowledged[place].load(Ordering::SeqCst);
                    let path = format!("/v1/users/p{}", place + 1);
                    let answer = pod.read(&path, Level::FullyConsistent).await.unwrap();
                    let version = pods::version(&answer.entry.body);
                    assert!(
                        version >= before,
                        "read {version} after {before} was acknowledged ({:?})",
                        answer.source
                    );
                    // What one reader has observed, no later read may undo.
                    acknowledged[place].fetch_max(version, Ordering::SeqCst);
                    reads.fetch_add(1, Ordering::Relaxed);
                    hits.fetch_add(u64::from(answer.source == Source::L1), Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }));
        }
        let mut writers = Vec::new();
        for writer in 0..3_usize {
            let client = world.database.connect().await.unwrap();
            let (acknowledged, stop) = (Arc::clone(&acknowledged), Arc::clone(&stop));
            writers.push(tokio::spawn(async move {
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let place = (writer * 2 + turn % 2) % 6;
                    let id = format!("p{}", place + 1);
                    let row = client
                        .query_one(
                            "UPDATE person SET version = version + 1 WHERE id = $1 RETURNING version",
                            &[&id],
                        )
                        .await
                        .unwrap();
                    acknowledged[place].fetch_max(row.get(0), Ordering::SeqCst);
                }
            }));
        }
        let aborter = world.database.connect().await.unwrap();
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            aborter
                .batch_execute("BEGIN; UPDATE person SET version = version + 1000 WHERE id = 'p2'; ROLLBACK")
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        stop.store(true, Ordering::Relaxed);
        for task in readers.into_iter().chain(writers) {
            task.await.unwrap();
        }
        let (reads, hits) = (reads.load(Ordering::Relaxed), hits.load(Ordering::Relaxed));
        println!("lease {lease_ms} ms: {reads} reads, {hits} from L1");
        assert!(
            reads > 1_000 && hits > 100,
            "{reads} reads, {hits} hits: the test saw too little"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_state() {
    let world = World::with_lease(20).await;
    let pod = Arc::new(world.pod().await);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = world.database.connect().await.unwrap();
    let ended = Arc::clone(&stop);
    let writing = tokio::spawn(async move {
        while !ended.load(Ordering::Relaxed) {
            // Both registers move together, so every state has them equal.
            writer
                .batch_execute("UPDATE person SET version = version + 1 WHERE id IN ('p1', 'p2')")
                .await
                .unwrap();
        }
    });
    let reads = ["/v1/users/p1", "/v1/users/p2"].map(|path| pod.router.route(path).unwrap());
    let until = Instant::now() + Duration::from_secs(2);
    let mut seen = 0;
    while Instant::now() < until {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        let hit = pod
            .cache
            .hit_all(reads.iter().map(|read| &*read.key), Level::FullyConsistent);
        let batch = match hit {
            Some(hit) => hit,
            None => {
                let read = pod.cache.read_all(&reads, Level::FullyConsistent, deadline);
                read.await.unwrap()
            }
        };
        let versions: Vec<_> = batch.entries.iter().map(|entry| pods::version(&entry.body)).collect();
        assert_eq!(versions[0], versions[1], "a torn batch");
        assert!(versions[0] >= seen, "a batch went back");
        seen = versions[0];
    }
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    assert!(seen > 5, "the writer got nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_valid_entries_asks_nobody_under_a_lease_and_one_fence_without() {
    for lease_ms in [0, 500] {
        let world = World::with_lease(lease_ms).await;
        let pod = world.pod().await;
        let reads: Vec<_> = (1..=20)
            .map(|person| pod.router.route(&format!("/v1/users/p{person}")).unwrap())
            .collect();
        let read_all = async |pod: &pods::Pod| {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
            let read = pod.cache.read_all(&reads, Level::FullyConsistent, deadline);
            read.await.unwrap()
        };
        read_all(&pod).await;
        let asked = |pod: &pods::Pod| {
            let fills = pod.metrics.fills_total[FillOutcome::Ok].get();
            (fills, pod.metrics.fences_total[FenceOutcome::Ok].get())
        };
        assert_eq!(asked(&pod).0, 20);
        let counted = |outcome| pod.metrics.reads[LevelLabel::FullyConsistent][outcome].get();
        assert_eq!((counted(ReadOutcome::Fill), counted(ReadOutcome::L1)), (20, 0));
        let keys = || reads.iter().map(|read| &*read.key);
        if lease_ms == 0 {
            let before = asked(&pod);
            assert!(
                pod.cache.hit_all(keys(), Level::FullyConsistent).is_none(),
                "nobody has asked the primary"
            );
            read_all(&pod).await;
            assert_eq!(asked(&pod), (before.0, before.1 + 1), "one fence for the whole batch");
            assert_eq!((counted(ReadOutcome::Fill), counted(ReadOutcome::L1)), (20, 20));
        } else {
            // The lease renews itself by fences of its own, so that only the hit itself is looked at.
            pod.until("a lease serves the batch", |pod| {
                pod.cache.hit_all(keys(), Level::FullyConsistent).is_some()
            })
            .await;
            assert_eq!((asked(&pod).0, counted(ReadOutcome::L1)), (20, 20));
        }
        assert!(
            pod.cache
                .hit_all(keys().chain(["/v1/users/nobody"]), Level::MinimizeLatency)
                .is_none()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_carries_a_callers_own_writes_to_another_pod() {
    let world = World::with_lease(0).await;
    let (one, other) = (world.pod().await, world.pod().await);
    for version in 1..=20 {
        world
            .admin
            .batch_execute(&format!("UPDATE person SET version = {version} WHERE id = 'p3'"))
            .await
            .unwrap();
        let written = one.read("/v1/users/p3", Level::FullyConsistent).await.unwrap();
        let read = other
            .read("/v1/users/p3", Level::AtLeastAsFresh(written.token))
            .await
            .unwrap();
        assert!(pods::version(&read.entry.body) >= version);
    }
}

/// P7, P12: the instant is reckoned by the database's clock, in the statement that gave the answer, and counted on
/// clocks that nobody sets.
///
/// P7. Clocks need not agree. No clock of one machine is compared with a clock of another. A lease counts time on two
/// clocks of the sidecar's own machine, and ends by whichever gets there first, with a margin of a fifth.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_sidecars_wall_clock_neither_ends_nor_lengthens_an_answer_that_expires() {
    let world = World::with_lease(0).await;
    let sql = "INSERT INTO token VALUES ('t1', 'p1', date_part('epoch', now())::bigint + 1000)";
    world.admin.batch_execute(sql).await.unwrap();
    let clock = Clock::manual();
    let pod = world.start_by(clock.clone(), world.database.url(), None);
    pod.until("it is ready", |pod| pod.readiness.is_ready()).await;
    let source = async || {
        let answer = pod.read("/v1/views/token/t1", Level::FullyConsistent).await.unwrap();
        answer.source
    };
    assert_eq!(source().await, Source::Fill);
    for wall_ms in [i64::MAX / 2, 0, 4_000_000_000_000] {
        clock.set_wall_ms(wall_ms);
        assert_eq!(source().await, Source::L1, "the wall clock says {wall_ms}");
    }
    clock.advance_raw(Duration::from_secs(990));
    assert_eq!(source().await, Source::L1);
    clock.advance_raw(Duration::from_secs(11));
    assert_eq!(
        source().await,
        Source::Fill,
        "its time has come on one of the two clocks"
    );
}

/// P12. What time changes, time ends. An answer that holds only until an instant (an expiring API key) is gone when the
/// instant has come, without any write, and is never kept longer for having been cached.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_expires_is_gone_when_its_time_has_come_without_any_write() {
    let world = World::with_lease(100).await;
    let pod = world.pod().await;
    world
        .admin
        .batch_execute("INSERT INTO token VALUES ('k', 'p1', floor(extract(epoch FROM clock_timestamp()))::bigint + 2)")
        .await
        .unwrap();
    let began = pod.cache.feed().clock().now();
    let found = pod.read("/v1/views/token/k", Level::FullyConsistent).await.unwrap();
    assert!(found.entry.is_found);
    loop {
        let answer = pod.read("/v1/views/token/k", Level::FullyConsistent).await.unwrap();
        let age = pod.cache.feed().clock().now().since(began);
        if !answer.entry.is_found {
            break;
        }
        assert!(
            age < Duration::from_millis(2_100),
            "served {age:?} after it was to expire in at most two seconds"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_triggers_mean_uncached_reads_until_they_are_back() {
    let world = World::with_lease(20).await;
    let pod = world.pod().await;
    pod.version("p1").await;
    world
        .admin
        .batch_execute("ALTER TABLE person DISABLE TRIGGER ALL")
        .await
        .unwrap();
    pod.until("the feed has noticed", |pod| !pod.readiness.is_ready()).await;
    for version in 101..120 {
        world
            .admin
            .batch_execute(&format!("UPDATE person SET version = {version} WHERE id = 'p1'"))
            .await
            .unwrap();
        let answer = pod.read("/v1/users/p1", Level::FullyConsistent).await.unwrap();
        assert_eq!(answer.source, Source::Bypass);
        assert_eq!(pods::version(&answer.entry.body), version);
    }
    world.install().await;
    pod.until("the installation is in order again", |pod| pod.readiness.is_ready())
        .await;
    world
        .admin
        .batch_execute("UPDATE person SET version = 200 WHERE id = 'p1'")
        .await
        .unwrap();
    assert_eq!(pod.version("p1").await, 200);
    assert_eq!(pod.version("p1").await, 200);
}

/// P16. One busy key costs nobody else. While a commit is on its way, the lease excepts the tags of that commit; reads
/// of everything else rest on the lease as before. A transaction with more than 64 tags is excepted as a whole: it
/// costs all their lease, for as long as it is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn one_busy_key_does_not_cost_the_others_their_lease() {
    let world = World::with_lease(100).await;
    let pod = Arc::new(world.pod().await);
    for person in ["p1", "p2"] {
        pod.version(person).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let busy = world.database.connect().await.unwrap();
    let ended = Arc::clone(&stop);
    let writing = tokio::spawn(async move {
        while !ended.load(Ordering::Relaxed) {
            busy.batch_execute("UPDATE person SET version = version + 1 WHERE id = 'p1'")
                .await
                .unwrap();
        }
    });
    let (mut quick, mut all) = (0, 0);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        quick += u32::from(pod.cache.hit("/v1/users/p2", Level::FullyConsistent).is_some());
        all += 1;
        pod.version("p2").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    let share = f64::from(quick) / f64::from(all);
    println!(
        "{:.0} % of {all} reads of the quiet key needed no question",
        share * 100.0
    );
    assert!(
        share > 0.8,
        "only {share:.2} of the reads of a quiet key rested on the lease"
    );
}
