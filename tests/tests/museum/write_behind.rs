//! A value that is written behind the answer, after the write that made it old.
//!
//! OpenFGA PR #3155: an entry that carried the time of its writing looked younger than the invalidation before it.

use std::sync::Arc;

use neverstale_telemetry::{L2Operation, L2Outcome};
use neverstale_testkit::{Application, Link, Redis};

use crate::{
    house::{House, port},
    naive::write_behind::{Gathered, WriteBehind},
    pod::Pod,
    tracking::values_in_redis,
};

#[tokio::test]
async fn a_naive_cache_takes_the_time_of_writing_for_the_time_of_reading() {
    let house = House::open(Application::OpenWebUi012, 0).await;
    let mut cache = WriteBehind::default();
    let gathered = Gathered::new("u2", house.role("u2").await);
    house.set_role("u2", "admin").await;
    cache.invalidate("u2");
    cache.flush(gathered);
    assert_eq!(
        (cache.get("u2"), house.role("u2").await.as_str()),
        (Some("user"), "admin")
    );
}

#[tokio::test]
async fn ours_carries_the_position_of_the_snapshot_that_was_read() {
    let house = House::open(Application::OpenWebUi012, 0).await;
    let redis = Redis::start().await.unwrap();
    let [to_postgres, to_redis] = [
        Link::to(port(house.database.url())).await.unwrap(),
        Link::to(redis.port()).await.unwrap(),
    ];
    let fills = house.database.url_through(to_postgres.port());
    let slow = Pod::start(&house, &fills, Some(&redis.url_through(to_redis.port()))).await;
    let other = Pod::start(&house, house.database.url(), Some(&redis.url())).await;
    values_in_redis(&redis, 1).await;

    to_postgres.keep_answers();
    let reader = tokio::spawn({
        let slow = Arc::clone(&slow);
        async move { slow.role("u2").await }
    });
    to_postgres.answer_kept().await;
    // The answer is given now; what goes to Redis behind it is held up.
    to_redis.silence();
    to_postgres.restore();
    assert_eq!(reader.await.unwrap(), "user");
    house.set_role("u2", "admin").await;
    to_redis.restore();
    values_in_redis(&redis, 2).await;

    let stale = || other.metrics.l2_requests_total[L2Operation::Get][L2Outcome::Stale].get();
    assert_eq!((other.role("u2").await.as_str(), stale()), ("admin", 1));
    assert_eq!(slow.role("u2").await, "admin");
}
