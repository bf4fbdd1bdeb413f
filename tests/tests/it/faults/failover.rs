//! A Redis of several servers: Sentinels promote another one, a Cluster moves a slot. Redis decides nothing then either (P5).

use std::time::Duration;

use neverstale_testkit::{Application, RedisCluster, RedisSentinel, Sidecar};
use tokio::time::Instant;

use super::stores::{everything_is_fresh, l2_is_back};
use crate::house::{House, Plan, role, until};

const USERS: std::ops::Range<u32> = 10..40;

/// F2: the primary dies, the Sentinels promote its replica, and L2 is there again without help.
#[tokio::test]
async fn a_failover_by_sentinel_costs_hits_and_nothing_else() {
    let redis = RedisSentinel::start().await.unwrap();
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(2)
        .with("REDIS_URL", redis.url())
        .with("NEVERSTALE_REDIS__BUDGET_MS", 100)
        .open()
        .await
        .unwrap();
    everything_is_fresh(&house, "with Sentinels").await;
    l2_is_back(&house, Instant::now(), "before anything happened").await;
    let reading = async {
        loop {
            everything_is_fresh(&house, "while Sentinel promotes").await;
        }
    };
    tokio::select! {
        promoted = redis.fail_over() => drop(promoted.unwrap()),
        () = reading => {}
    }
    let ended = Instant::now();
    everything_is_fresh(&house, "after a failover").await;
    l2_is_back(&house, ended, "after a failover").await;
}

/// What somebody finds in L2 who has just started; every answer is right.
async fn found_in_l2(house: &House) -> usize {
    let sidecar = Sidecar::start(&house.options).await.unwrap();
    let mut client = sidecar.api();
    let mut hits = 0;
    for user in USERS {
        let answer = client.get(&format!("/v1/users/u{user}/role")).await.unwrap();
        assert_eq!(role(&answer).unwrap(), "chosen");
        hits += usize::from(answer.header("cache-status") == Some("neverstale; hit; detail=l2"));
    }
    hits
}

/// F2: while a slot is on its way its keys are here or there, and Redis says where to ask.
#[tokio::test]
async fn a_slot_of_a_cluster_is_moved_while_everybody_reads() {
    let redis = RedisCluster::start().await.unwrap();
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(2)
        .with("REDIS_URL", redis.url())
        .with("NEVERSTALE_REDIS__BUDGET_MS", 250)
        .open()
        .await
        .unwrap();
    everything_is_fresh(&house, "with a Cluster").await;
    house
        .write("UPDATE \"user\" SET role = 'chosen' WHERE substr(id, 2)::int BETWEEN 10 AND 39")
        .await
        .unwrap();
    let before = redis.keys("neverstale*").await.unwrap();
    for user in USERS {
        house.sidecars[0].get(&format!("/v1/users/u{user}/role")).await.unwrap();
    }
    let new = async || -> anyhow::Result<Vec<String>> {
        let mut keys = redis.keys("neverstale*").await?;
        keys.retain(|key| !before.contains(key));
        Ok(keys)
    };
    until("values are in Redis", Duration::from_secs(5), async || {
        Ok(new().await?.len() >= USERS.len())
    })
    .await
    .unwrap();
    assert_eq!(found_in_l2(&house).await, USERS.len(), "before anything moved");
    let keys = new().await.unwrap();
    for key in &keys[..2] {
        let moving = redis.begin_to_move(key).await.unwrap();
        everything_is_fresh(&house, "while a slot is about to move").await;
        assert_eq!(found_in_l2(&house).await, USERS.len(), "while a slot is about to move");
        let moved = moving.move_keys().await.unwrap();
        assert!(moved > 0);
        everything_is_fresh(&house, "while a slot is half here and half there").await;
        // Who is told to ask elsewhere, for once, does not: that is a miss.
        assert!(found_in_l2(&house).await >= USERS.len() - moved);
        moving.end().await.unwrap();
        everything_is_fresh(&house, "after a slot has moved").await;
        assert_eq!(found_in_l2(&house).await, USERS.len(), "after a slot has moved");
    }
}
