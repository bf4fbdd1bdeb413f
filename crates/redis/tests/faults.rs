//! L2 on a real Redis that is killed, paused, emptied and filled with garbage: always an answer or a miss, always in time.

#![expect(clippy::disallowed_methods, reason = "a test measures and says what it saw")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use neverstale_coherence::Position;
use neverstale_lifecycle::{Clock, Readiness, Tasks};
use neverstale_redis::{Availability, KeyAnswer, L2Miss, Phase, PutOutcome, Redis, RedisSettings, probe};
use neverstale_settings::Secret;
use neverstale_testkit as testkit;

const TTL: Duration = Duration::from_mins(1);
/// What the service promises: it recovers by itself within this time of the cause ending.
const RECOVERY: Duration = Duration::from_secs(2);
/// How much longer than its budget a read may take on a busy machine.
const SLACK: Duration = Duration::from_millis(100);

fn settings(url: &str) -> RedisSettings {
    RedisSettings {
        url: Some(Secret::new(url)),
        budget_ms: 50,
        ..RedisSettings::default()
    }
}

fn connect(settings: &RedisSettings) -> Redis {
    let tasks = Tasks::new(Readiness::new("start", "not yet"), || {});
    Redis::connect(settings, &tasks, &Clock::system()).unwrap()
}

/// Waits until a write goes through, at most `patience`.
async fn usable(redis: &Redis, patience: Duration) {
    let deadline = Instant::now() + patience;
    while !matches!(
        put(redis, "usable", 1, "yes").await,
        PutOutcome::Stored | PutOutcome::Older
    ) {
        assert!(
            Instant::now() < deadline,
            "{:?} after {patience:?}",
            redis.availability()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn started() -> (testkit::Redis, Redis) {
    let server = testkit::Redis::start().await.unwrap();
    let redis = connect(&settings(&server.url()));
    usable(&redis, RECOVERY).await;
    (server, redis)
}

async fn put(redis: &Redis, key: &str, as_of: u64, value: &'static str) -> PutOutcome {
    redis.l2_put(key, Position(as_of), Bytes::from(value), TTL).await
}

async fn get(redis: &Redis, key: &str) -> Result<Option<String>, L2Miss> {
    let value = redis.l2_get(key).await?;
    Ok(value.map(|value| String::from_utf8(value.to_vec()).unwrap()))
}

#[tokio::test]
async fn the_newer_value_stays_however_late_the_older_one_comes() {
    let (server, redis) = started().await;
    assert_eq!(get(&redis, "k").await, Ok(None));
    assert_eq!(put(&redis, "k", 9, "nine").await, PutOutcome::Stored);
    assert_eq!(put(&redis, "k", 10, "ten").await, PutOutcome::Stored);
    assert_eq!(put(&redis, "k", 9, "nine").await, PutOutcome::Older);
    assert_eq!(get(&redis, "k").await, Ok(Some("ten".to_owned())));
    assert_eq!(
        put(&redis, "k", 10, "ten again").await,
        PutOutcome::Stored,
        "a value that can't be read is replaced at its own position"
    );

    // Beyond what a floating-point number tells apart, and across the border of the two halves.
    for (older, newer) in [
        ((1 << 53) + 1, (1 << 53) + 2),
        (9_999_999_999, 10_000_000_000),
        (u64::MAX - 1, u64::MAX),
    ] {
        let key = format!("k{newer}");
        assert_eq!(put(&redis, &key, newer, "newer").await, PutOutcome::Stored);
        assert_eq!(put(&redis, &key, older, "older").await, PutOutcome::Older);
        assert_eq!(get(&redis, &key).await, Ok(Some("newer".to_owned())));
    }
    let left_ms: i64 = server.command(&["PTTL", "k"]).await.unwrap().parse().unwrap();
    assert!(left_ms > 50_000 && left_ms <= 60_000, "{left_ms}");
    redis.l2_remove("k").await.unwrap();
    assert_eq!(get(&redis, "k").await, Ok(None));
}

#[tokio::test]
async fn garbage_is_a_miss_and_is_overwritten() {
    let (server, redis) = started().await;
    server.command(&["SET", "text", "not ours"]).await.unwrap();
    server
        .command(&["SET", "digits", "00000000000000000042"])
        .await
        .unwrap();
    server
        .command(&["SET", "almost", "0000000000000000042xvalue"])
        .await
        .unwrap();
    for key in ["text", "digits", "almost"] {
        assert_eq!(get(&redis, key).await, Err(L2Miss::Garbage), "{key}");
    }
    server.command(&["HSET", "hash", "field", "value"]).await.unwrap();
    assert_eq!(get(&redis, "hash").await, Err(L2Miss::Refused));
    server.command(&["SETRANGE", "large", "4000000", "x"]).await.unwrap();
    assert_eq!(get(&redis, "large").await, Err(L2Miss::Garbage));
    for key in ["text", "almost", "hash", "large"] {
        assert_eq!(put(&redis, key, 1, "ours").await, PutOutcome::Stored, "{key}");
        assert_eq!(get(&redis, key).await, Ok(Some("ours".to_owned())), "{key}");
    }
    assert_eq!(redis.phase(), Phase::Closed, "an answer that is no use is an answer");
}

#[tokio::test]
async fn an_emptied_redis_is_a_miss_and_knows_the_script_again() {
    let (server, redis) = started().await;
    assert_eq!(put(&redis, "k", 1, "value").await, PutOutcome::Stored);
    server.flush().await.unwrap();
    server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    assert_eq!(get(&redis, "k").await, Ok(None));
    assert_eq!(put(&redis, "k", 1, "value").await, PutOutcome::Stored);
}

#[tokio::test]
async fn a_full_redis_refuses_writes_and_reads_go_on() {
    let (server, redis) = started().await;
    assert_eq!(put(&redis, "k", 1, "value").await, PutOutcome::Stored);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    for _ in 0..20 {
        assert_eq!(put(&redis, "l", 1, "value").await, PutOutcome::Missed(L2Miss::Refused));
        assert_eq!(get(&redis, "k").await, Ok(Some("value".to_owned())));
    }
}

#[tokio::test]
async fn start_up_does_not_wait_for_redis_and_finds_it_later() {
    let server = testkit::Redis::start().await.unwrap();
    server.kill_nine().await.unwrap();
    let start = Instant::now();
    let redis = connect(&settings(&server.url()));
    assert_eq!(get(&redis, "k").await, Err(L2Miss::Disconnected));
    assert_eq!(
        put(&redis, "k", 1, "value").await,
        PutOutcome::Missed(L2Miss::Disconnected)
    );
    assert_eq!(redis.get("k").await, KeyAnswer::Unknown);
    assert_eq!(redis.availability(), Availability::Disconnected);
    assert!(start.elapsed() < SLACK);
    server.start_again().await.unwrap();
    usable(&redis, RECOVERY).await;
    assert_eq!(redis.availability(), Availability::Available);
}

#[tokio::test]
async fn a_killed_redis_is_a_miss_and_is_used_again_when_it_is_back() {
    let (server, redis) = started().await;
    for _ in 0..2 {
        server.kill_nine().await.unwrap();
        for _ in 0..50 {
            let start = Instant::now();
            assert!(get(&redis, "k").await.is_err());
            assert!(start.elapsed() < Duration::from_millis(50) + SLACK);
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.start_again().await.unwrap();
        usable(&redis, RECOVERY).await;
    }
}

#[tokio::test]
async fn a_paused_redis_costs_a_few_budgets_and_then_nothing() {
    let (server, redis) = started().await;
    for pause in [Duration::from_millis(300), Duration::from_millis(3_500)] {
        server.pause().unwrap();
        let paused = Instant::now();
        let mut waited = 0;
        while paused.elapsed() < pause {
            let start = Instant::now();
            let answer = get(&redis, "usable").await;
            assert!(
                start.elapsed() < Duration::from_millis(50) + SLACK,
                "{:?}",
                start.elapsed()
            );
            assert!(answer.is_err());
            waited += u32::from(answer == Err(L2Miss::TimedOut));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Five open the breaker; later there is a probe after each of its pauses.
        assert!((5..=16).contains(&waited), "{waited} reads waited");
        assert_ne!(redis.availability(), Availability::Available);
        server.resume().unwrap();
        usable(&redis, RECOVERY).await;
    }
}

#[tokio::test]
async fn a_crowd_of_reads_and_writes_is_bounded_while_redis_is_paused() {
    let (server, redis) = started().await;
    server.pause().unwrap();
    let start = Instant::now();
    let reads = futures_util::future::join_all((0..2_000).map(|_| get(&redis, "k")));
    let writes = futures_util::future::join_all((0..2_000).map(|_| put(&redis, "k", 1, "value")));
    let (reads, writes) = futures_util::join!(reads, writes);
    assert!(
        start.elapsed() < Duration::from_millis(50) + 5 * SLACK,
        "{:?}",
        start.elapsed()
    );
    assert!(reads.iter().all(Result::is_err));
    assert!(
        writes
            .iter()
            .filter(|outcome| **outcome == PutOutcome::Missed(L2Miss::Busy))
            .count()
            >= 1_900
    );
    server.resume().unwrap();
    usable(&redis, RECOVERY).await;
}

#[tokio::test]
async fn a_revocation_that_cannot_be_read_is_not_the_same_as_none() {
    let (server, redis) = started().await;
    server
        .command(&["SET", "open-webui:auth:token:j:revoked", "1"])
        .await
        .unwrap();
    server.command(&["HSET", "hash", "field", "value"]).await.unwrap();
    assert_eq!(
        redis.get("open-webui:auth:token:j:revoked").await,
        KeyAnswer::Value(Bytes::from_static(b"1"))
    );
    assert_eq!(redis.get("open-webui:auth:token:k:revoked").await, KeyAnswer::Absent);
    assert_eq!(redis.get("hash").await, KeyAnswer::Unknown);
    server.pause().unwrap();
    let start = Instant::now();
    assert_eq!(redis.get("open-webui:auth:token:k:revoked").await, KeyAnswer::Unknown);
    assert!(start.elapsed() < Duration::from_millis(250) + SLACK);
    server.resume().unwrap();
}

#[tokio::test]
async fn a_password_is_never_shown_and_a_wrong_one_may_be_mended_on_the_server() {
    let server = testkit::Redis::start().await.unwrap();
    let redis = connect(&settings(&format!("redis://app:hunter2@127.0.0.1:{}", server.port())));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(get(&redis, "k").await, Err(L2Miss::Disconnected));
    assert!(!format!("{redis:?}").contains("hunter2"));
    server
        .command(&["ACL", "SETUSER", "app", "on", ">hunter2", "~*", "&*", "+@all"])
        .await
        .unwrap();
    usable(&redis, RECOVERY).await;
}

#[tokio::test]
async fn the_probe_tells_what_a_doctor_needs() {
    let server = testkit::Redis::start_with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"])
        .await
        .unwrap();
    let report = probe(&settings(&server.url())).await.unwrap();
    assert_eq!(
        (report.kind, report.role.as_str(), report.eviction_policy.as_str()),
        ("one host", "master", "allkeys-lru")
    );
    assert_eq!(report.memory_bytes_max, Some(64 * 1024 * 1024));
    assert!(report.round_trip < SLACK && report.version.contains('.'), "{report:?}");
    server.pause().unwrap();
    let start = Instant::now();
    assert!(probe(&settings(&server.url())).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(11));
    server.kill_nine().await.unwrap();
    assert!(probe(&settings(&server.url())).await.is_err());
}
