//! An invalidation that overtakes the value it is about.
//!
//! lettuce #3481: with Redis' client tracking the value comes over one connection and its invalidation over another.

use std::sync::Arc;

use neverstale_telemetry::{L2Operation, L2Outcome};
use neverstale_testkit::{Application, Link, Redis};
use tokio::task::yield_now;

use crate::{house::House, naive::tracked::Tracked, pod::Pod};

#[tokio::test]
async fn a_naive_near_cache_keeps_a_value_whose_invalidation_came_first() {
    let redis = Redis::start().await.unwrap();
    redis.command(&["SET", "role:u2", "user"]).await.unwrap();
    let link = Link::to(redis.port()).await.unwrap();
    let mut cache = Tracked::start(link.port(), redis.port()).await.unwrap();
    link.keep_answers();
    cache.ask("role:u2").await.unwrap();
    link.answer_kept().await;
    redis.command(&["SET", "role:u2", "admin"]).await.unwrap();
    assert_eq!(cache.hear().await.unwrap(), "role:u2");
    link.restore();
    cache.keep("role:u2").await.unwrap();
    let true_now = redis.command(&["GET", "role:u2"]).await.unwrap();
    assert_eq!(
        (cache.local("role:u2").map(String::as_str), true_now.as_str()),
        (Some("user"), "admin")
    );
}

#[tokio::test]
async fn ours_judges_what_redis_answers_whenever_it_arrives() {
    let house = House::open(Application::OpenWebUi012, 0).await;
    let redis = Redis::start().await.unwrap();
    let link = Link::to(redis.port()).await.unwrap();
    let url = house.database.url();
    let filler = Pod::start(&house, url, Some(&redis.url())).await;
    let pod = Pod::start(&house, url, Some(&redis.url_through(link.port()))).await;
    filler.role("u2").await;
    values_in_redis(&redis, 2).await;

    link.keep_answers();
    let gets = gets(&redis).await;
    let reader = tokio::spawn({
        let pod = Arc::clone(&pod);
        async move { pod.role("u2").await }
    });
    // Redis has answered with the old value; the answer is on its way.
    while self::gets(&redis).await == gets {
        yield_now().await;
    }
    house.set_role("u2", "admin").await;
    assert_eq!(filler.role("u2").await, "admin");
    link.restore();
    let early = reader.await.unwrap();
    assert!(
        early == "user" || early == "admin",
        "it began before the write: {early}"
    );
    assert_eq!(pod.role("u2").await, "admin");
}

/// The other order: the old value is in Redis for good, and is found.
#[tokio::test]
async fn ours_refuses_an_old_value_that_it_finds_in_redis() {
    let house = House::open(Application::OpenWebUi012, 0).await;
    let redis = Redis::start().await.unwrap();
    let url = house.database.url();
    let filler = Pod::start(&house, url, Some(&redis.url())).await;
    let pod = Pod::start(&house, url, Some(&redis.url())).await;
    filler.role("u2").await;
    values_in_redis(&redis, 2).await;
    house.set_role("u2", "admin").await;
    let stale = || pod.metrics.l2_requests_total[L2Operation::Get][L2Outcome::Stale].get();
    let before = stale();
    assert_eq!(pod.role("u2").await, "admin");
    assert_eq!(stale(), before + 1, "it was found, judged and refused");
}

/// Values are written behind the answers.
pub(crate) async fn values_in_redis(redis: &Redis, at_least: u32) {
    while redis.command(&["DBSIZE"]).await.unwrap().parse::<u32>().unwrap() < at_least {
        yield_now().await;
    }
}

/// How often Redis has been asked for a value.
async fn gets(redis: &Redis) -> u32 {
    let stats = redis.command(&["INFO", "commandstats"]).await.unwrap();
    let of = |command: &str| -> Option<u32> {
        let rest = stats.split_once(&format!("cmdstat_{command}:calls="))?.1;
        rest.split_once(',')?.0.parse().ok()
    };
    of("get").unwrap_or(0) + of("getrange").unwrap_or(0)
}
