//! Redis is paused, killed, restarted, emptied and filled with garbage: it decides nothing (P5).

use std::time::Duration;

use neverstale_testkit::{Application, Redis, Sidecar};
use tokio::time::{Instant, sleep};

use super::RECOVERY;
use crate::house::{House, Plan, until};

/// Ten promotions and demotions, each seen by every sidecar at once and without delay.
pub(super) async fn everything_is_fresh(house: &House, what: &str) {
    for round in 0..10 {
        let role_now = if round % 2 == 0 { "admin" } else { "user" };
        house.set_role("u2", role_now).await.unwrap();
        for place in 0..house.sidecars.len() {
            let began = Instant::now();
            assert_eq!(house.role(place, "u2").await.unwrap(), role_now, "{what}");
            assert!(
                began.elapsed() < Duration::from_secs(1),
                "{what}: a read took {:?}",
                began.elapsed()
            );
        }
    }
}

/// Waits until what one sidecar fills another finds in Redis.
pub(super) async fn l2_is_back(house: &House, cause_ended: Instant, what: &str) {
    let mut number = 2;
    until("L2 hits are back", Duration::from_secs(15), async || {
        number += 1;
        let path = format!("/v1/users/u{}/groups", number % 60 + 1);
        // Every round with answers that nobody has.
        house
            .write(&format!(
                "UPDATE \"user\" SET name = name || '.' WHERE id = 'u{}'",
                number % 60 + 1
            ))
            .await?;
        house.sidecars[0].get(&path).await?;
        sleep(Duration::from_millis(20)).await;
        let answer = house.sidecars[1].get(&path).await?;
        Ok(answer.header("cache-status") == Some("neverstale; hit; detail=l2"))
    })
    .await
    .unwrap();
    assert!(
        cause_ended.elapsed() < RECOVERY + super::LENIENCE,
        "{what}: L2 is back after {:?}",
        cause_ended.elapsed()
    );
}

/// F2. Redis is slow, restarted, emptied, partitioned, full of garbage, or mixes up its replies; Sentinels promote
/// another server; a slot of a Cluster is on its way: a look into L2 ends as a miss when its few milliseconds are
/// spent; after several in a row Redis is left alone for up to a second at a time; sessions whose revocation can't be
/// looked up there are not accepted.
#[tokio::test]
async fn redis_paused_killed_restarted_and_emptied_costs_hits_and_nothing_else() {
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(2)
        .with_redis()
        .with("NEVERSTALE_REDIS__BUDGET_MS", 25)
        .open()
        .await
        .unwrap();
    let redis = house.redis.as_ref().unwrap();
    everything_is_fresh(&house, "with Redis").await;

    redis.pause().unwrap();
    everything_is_fresh(&house, "Redis is paused").await;
    redis.resume().unwrap();
    l2_is_back(&house, Instant::now(), "after a pause").await;

    redis.kill_nine().await.unwrap();
    everything_is_fresh(&house, "Redis is dead").await;
    redis.start_again().await.unwrap();
    l2_is_back(&house, Instant::now(), "after a restart").await;

    redis.flush().await.unwrap();
    everything_is_fresh(&house, "Redis was emptied").await;
    l2_is_back(&house, Instant::now(), "after it was emptied").await;
}

#[tokio::test]
async fn values_of_others_and_garbage_in_redis_are_misses() {
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(2)
        .with_redis()
        .open()
        .await
        .unwrap();
    let redis = house.redis.as_ref().unwrap();
    for user in ["u2", "u3", "u4"] {
        house.sidecars[0].get(&format!("/v1/users/{user}")).await.unwrap();
    }
    until("values are in Redis", Duration::from_secs(5), async || {
        Ok(redis.command(&["DBSIZE"]).await?.parse::<u32>()? >= 3)
    })
    .await
    .unwrap();
    let keys = redis.command(&["KEYS", "neverstale*"]).await.unwrap();
    let keys: Vec<&str> = keys.lines().collect();
    // Everybody's value under somebody else's name, then nothing but noise.
    for pair in keys.windows(2) {
        redis.command(&["COPY", pair[0], pair[1], "REPLACE"]).await.unwrap();
    }
    for user in ["u2", "u3", "u4"] {
        let answer = house.sidecars[1].get(&format!("/v1/users/{user}")).await.unwrap();
        assert_eq!(answer.json().unwrap()["id"], user);
    }
    for key in &keys {
        redis.command(&["SET", key, "\u{1}garbage"]).await.unwrap();
    }
    let restarted = Sidecar::start(&house.options).await.unwrap();
    for user in ["u2", "u3", "u4"] {
        let answer = restarted.get(&format!("/v1/users/{user}")).await.unwrap();
        assert_eq!(
            (&answer.json().unwrap()["id"], answer.header("cache-status")),
            (&user.into(), Some("neverstale; fwd=miss"))
        );
    }
    everything_is_fresh(&house, "amid garbage").await;
}

#[tokio::test]
async fn a_redis_that_appears_late_is_used_and_missed_by_nobody_before() {
    let redis = Redis::start().await.unwrap();
    redis.kill_nine().await.unwrap();
    let plan = Plan::of(Application::OpenWebUi012).sidecars(0);
    let mut house = plan.with("REDIS_URL", redis.url()).open().await.unwrap();
    let began = Instant::now();
    for _ in 0..2 {
        house.sidecars.push(Sidecar::start(&house.options).await.unwrap());
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "starting waits for Redis: {:?}",
        began.elapsed()
    );
    everything_is_fresh(&house, "without Redis").await;
    redis.start_again().await.unwrap();
    l2_is_back(&house, Instant::now(), "after it appeared").await;
}
