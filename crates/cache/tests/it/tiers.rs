//! Redis behind L1: shared, fast, and never believed.

use std::time::Duration;

use neverstale_cache::{Level, Source};
use neverstale_telemetry::{L2Operation, L2Outcome};
use neverstale_testkit::Redis;
use tokio::time::sleep;

use crate::pods::{self, Pod, World};

async fn set(world: &World, version: i64) {
    world
        .admin
        .batch_execute(&format!("UPDATE person SET version = {version} WHERE id = 'p1'"))
        .await
        .unwrap();
}

async fn stored(pod: &Pod, count: u64) {
    pod.until("its values lie in Redis", |pod| {
        pod.metrics.l2_requests_total[L2Operation::Put][L2Outcome::Stored].get() >= count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_pod_filled_another_finds_in_l2_until_it_is_invalidated() {
    let world = World::with_lease(20).await;
    let redis = Redis::start().await.unwrap();
    let (one, other) = (world.pod_with_redis(&redis).await, world.pod_with_redis(&redis).await);
    assert_eq!(one.version("p1").await, 0);
    stored(&one, 1).await;
    let shared = other.read("/v1/users/p1", Level::FullyConsistent).await.unwrap();
    assert_eq!(shared.source, Source::L2);
    set(&world, 1).await;
    let fresh = other.read("/v1/users/p1", Level::FullyConsistent).await.unwrap();
    assert_eq!((fresh.source, pods::version(&fresh.entry.body)), (Source::Fill, 1));
    assert_eq!(one.version("p1").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_starts_finds_what_others_left_in_l2() {
    let world = World::with_lease(20).await;
    let redis = Redis::start().await.unwrap();
    let one = world.pod_with_redis(&redis).await;
    assert_eq!(one.version("p1").await, 0);
    stored(&one, 1).await;
    world
        .admin
        .batch_execute("UPDATE person SET version = 5 WHERE id = 'p2'")
        .await
        .unwrap();
    let late = world.pod_with_redis(&redis).await;
    let found = late.read("/v1/users/p1", Level::FullyConsistent).await.unwrap();
    assert_eq!(found.source, Source::L2, "the log reaches back to before the value");
}

/// P5. Redis decides nothing. Absent, slow, restarted, emptied, partitioned, full of garbage, lying, or answering with
/// somebody else's value: it can cost time within a small budget, and hits. It can't make an answer old, and it can't
/// put an older value over a newer one.
#[tokio::test(flavor = "multi_thread")]
async fn redis_may_be_flushed_paused_killed_and_full_of_garbage() {
    let world = World::with_lease(20).await;
    let redis = Redis::start().await.unwrap();
    let (one, other) = (world.pod_with_redis(&redis).await, world.pod_with_redis(&redis).await);
    let mut version = 0;
    for fault in ["none", "flush", "garbage", "pause", "kill"] {
        match fault {
            "flush" => redis.flush().await.unwrap(),
            "garbage" => garble(&redis).await,
            "pause" => redis.pause().unwrap(),
            "kill" => redis.kill_nine().await.unwrap(),
            _ => {}
        }
        for _ in 0..3 {
            version += 1;
            set(&world, version).await;
            assert_eq!(one.version("p1").await, version, "{fault}");
            assert_eq!(other.version("p1").await, version, "{fault}");
        }
        if fault == "pause" {
            redis.resume().unwrap();
        }
    }
    redis.start_again().await.unwrap();
    version += 1;
    set(&world, version).await;
    assert_eq!(other.version("p1").await, version);
}

/// Overwrites every value with another key's, cut short, or nonsense.
async fn garble(redis: &Redis) {
    let script = "local all = redis.call('KEYS', '*') \
        for place, name in ipairs(all) do \
          local other = redis.call('GET', all[(place % #all) + 1]) \
          if place % 2 == 0 then redis.call('SET', name, string.sub(other, 1, 40)) else redis.call('SET', name, other .. 'x') end \
        end return #all";
    redis.command(&["EVAL", script, "0"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_broadcast_moves_nothing() {
    let world = World::with_lease(0).await;
    let redis = Redis::start().await.unwrap();
    let (one, other) = (world.pod_with_redis(&redis).await, world.pod_with_redis(&redis).await);
    for version in 1..=10 {
        let forged = "NB\u{1}\u{1}0123456789abcdef0123456789abcdef0123456789abcdef";
        redis
            .command(&["PUBLISH", "neverstale:broadcast", forged])
            .await
            .unwrap();
        set(&world, version).await;
        assert_eq!((one.version("p1").await, other.version("p1").await), (version, version));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_spreads_the_word_and_is_replaced_when_it_dies() {
    let world = World::with_lease(0).await;
    let redis = Redis::start().await.unwrap();
    let one = world.pod_with_redis(&redis).await;
    one.until("it is the relay", |pod| pod.cache.feed().is_relay()).await;
    let other = world.pod_with_redis(&redis).await;
    sleep(Duration::from_millis(300)).await;
    assert!(!other.cache.feed().is_relay(), "one at a time");
    let before = other.cache.feed().token().unwrap().position;
    set(&world, 1).await;
    other
        .until("it has heard of the commit without asking", |pod| {
            pod.cache.feed().token().is_some_and(|token| token.position > before)
        })
        .await;
    drop(one);
    other
        .until("it is the relay now", |pod| pod.cache.feed().is_relay())
        .await;
    set(&world, 2).await;
    assert_eq!(other.version("p1").await, 2);
}
