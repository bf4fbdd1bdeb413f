//! An old object that is put back whenever somebody has used it.
//!
//! LiteLLM #25553: a request that was admitted before a change writes the whole object back after it.

use neverstale_testkit::{Application, Redis};

use crate::{house::House, naive::read_modify_write::ReadModifyWrite, pod::Pod, tracking::values_in_redis};

#[tokio::test]
async fn a_naive_cache_is_given_its_old_object_back_by_every_request() {
    let house = House::open(Application::OpenWebUi012, 0).await;
    let redis = Redis::start().await.unwrap();
    let cache = ReadModifyWrite(&redis);
    let mut under_way = cache.admit("key", &house.role("u2").await).await.unwrap();
    house.set_role("u2", "admin").await;
    cache.invalidate("key").await.unwrap();
    // Each request ends after the next one was admitted, so the old object outlives every expiry.
    for spent in 1..=5 {
        cache.spend("key", under_way).await.unwrap();
        under_way = cache.admit("key", &house.role("u2").await).await.unwrap();
        assert_eq!(
            (&under_way["role"], &under_way["spend"]),
            (&"user".into(), &spent.into())
        );
    }
    assert_eq!(house.role("u2").await, "admin");
}

#[tokio::test]
async fn ours_is_given_old_bytes_and_serves_none_of_them() {
    let house = House::open(Application::OpenWebUi012, 0).await;
    let redis = Redis::start().await.unwrap();
    let first = Pod::start(&house, house.database.url(), Some(&redis.url())).await;
    values_in_redis(&redis, 1).await;
    let before = keys(&redis).await;
    first.role("u2").await;
    values_in_redis(&redis, 2).await;
    let key = keys(&redis)
        .await
        .into_iter()
        .find(|key| !before.contains(key))
        .unwrap();
    // Kept byte for byte, beside its place.
    redis.command(&["COPY", &key, "museum:old"]).await.unwrap();
    for role in ["admin", "pending", "user", "admin"] {
        house.set_role("u2", role).await;
        let restored = redis.command(&["COPY", "museum:old", &key, "REPLACE"]).await.unwrap();
        assert_eq!(restored, "1");
        assert_eq!(first.role("u2").await, role);
        // Somebody who starts now has nothing in memory, and finds the old bytes, or newer ones put over them.
        let next = Pod::start(&house, house.database.url(), Some(&redis.url())).await;
        assert_eq!(next.role("u2").await, role);
    }
}

async fn keys(redis: &Redis) -> Vec<String> {
    let keys = redis.command(&["KEYS", "neverstale*"]).await.unwrap();
    keys.lines().map(str::to_owned).collect()
}
