//! Broadcasts over a real Redis: what is published is heard, and what may have been missed is heard of as a gap.

use std::time::Duration;

use bytes::Bytes;
use neverstale_lifecycle::{Clock, Readiness, Tasks};
use neverstale_redis::{Received, Redis, RedisSettings, Subscription};
use neverstale_settings::Secret;
use neverstale_testkit as testkit;

const RECOVERY: Duration = Duration::from_secs(2);

fn connect(server: &testkit::Redis) -> Redis {
    let settings = RedisSettings {
        url: Some(Secret::new(server.url())),
        ..RedisSettings::default()
    };
    let tasks = Tasks::new(Readiness::new("start", "not yet"), || {});
    Redis::connect(&settings, &tasks, &Clock::system()).unwrap()
}

async fn next(subscription: &mut Subscription, patience: Duration) -> Option<Received> {
    tokio::time::timeout(patience, subscription.next()).await.ok()
}

fn message(text: &'static str) -> Received {
    Received::Message(Bytes::from(text))
}

/// Takes what comes until a message, and says whether there was a gap before it.
async fn until_message(subscription: &mut Subscription) -> (bool, Bytes) {
    let mut gap = false;
    loop {
        match next(subscription, RECOVERY).await.expect("something is heard in time") {
            Received::Gap => gap = true,
            Received::Message(message) => return (gap, message),
        }
    }
}

#[tokio::test]
async fn what_is_published_is_heard_by_all_after_their_first_gap() {
    let server = testkit::Redis::start().await.unwrap();
    let (one, two) = (connect(&server), connect(&server));
    let mut first = one.subscribe("channel").unwrap();
    let mut second = two.subscribe("channel").unwrap();
    let mut elsewhere = two.subscribe("other").unwrap();
    for subscription in [&mut first, &mut second, &mut elsewhere] {
        assert_eq!(next(subscription, RECOVERY).await, Some(Received::Gap));
    }
    assert_eq!(one.publish("channel", Bytes::from_static(b"a")).await, Ok(2));
    assert_eq!(one.publish("channel", Bytes::from_static(b"\xff\x00b")).await, Ok(2));
    for subscription in [&mut first, &mut second] {
        assert_eq!(next(subscription, RECOVERY).await, Some(message("a")));
        assert_eq!(
            next(subscription, RECOVERY).await,
            Some(Received::Message(Bytes::from_static(b"\xff\x00b")))
        );
    }
    assert_eq!(next(&mut elsewhere, Duration::from_millis(50)).await, None);
}

#[tokio::test]
async fn a_killed_redis_is_a_gap_and_then_messages_come_again() {
    let server = testkit::Redis::start().await.unwrap();
    let redis = connect(&server);
    let mut subscription = redis.subscribe("channel").unwrap();
    assert_eq!(next(&mut subscription, RECOVERY).await, Some(Received::Gap));
    server.restart().await.unwrap();
    assert_eq!(next(&mut subscription, RECOVERY).await, Some(Received::Gap));
    server.command(&["PUBLISH", "channel", "back"]).await.unwrap();
    assert_eq!(until_message(&mut subscription).await.1, Bytes::from_static(b"back"));
}

#[tokio::test]
async fn a_cut_connection_is_a_gap() {
    let server = testkit::Redis::start().await.unwrap();
    let redis = connect(&server);
    let mut subscription = redis.subscribe("channel").unwrap();
    assert_eq!(next(&mut subscription, RECOVERY).await, Some(Received::Gap));
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    assert_eq!(next(&mut subscription, RECOVERY).await, Some(Received::Gap));
    server.command(&["PUBLISH", "channel", "back"]).await.unwrap();
    assert_eq!(until_message(&mut subscription).await.1, Bytes::from_static(b"back"));
}

#[tokio::test]
async fn a_long_pause_is_a_gap_and_then_messages_come_again() {
    let server = testkit::Redis::start().await.unwrap();
    let redis = connect(&server);
    let mut subscription = redis.subscribe("channel").unwrap();
    assert_eq!(next(&mut subscription, RECOVERY).await, Some(Received::Gap));
    server.pause().unwrap();
    assert_eq!(next(&mut subscription, Duration::from_secs(5)).await, None);
    server.resume().unwrap();
    assert_eq!(next(&mut subscription, RECOVERY).await, Some(Received::Gap));
    server.command(&["PUBLISH", "channel", "back"]).await.unwrap();
    assert_eq!(until_message(&mut subscription).await.1, Bytes::from_static(b"back"));
}

#[tokio::test]
async fn a_subscriber_that_is_too_slow_hears_of_a_gap() {
    let server = testkit::Redis::start().await.unwrap();
    let redis = connect(&server);
    let mut subscription = redis.subscribe("channel").unwrap();
    assert_eq!(next(&mut subscription, RECOVERY).await, Some(Received::Gap));
    for _ in 0..200 {
        server.command(&["PUBLISH", "channel", "many"]).await.unwrap();
    }
    server.command(&["PUBLISH", "channel", "last"]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut gap = false;
    loop {
        let (before, message) = until_message(&mut subscription).await;
        gap |= before;
        if message == "last" {
            break;
        }
    }
    assert!(gap);
}
