//! The same script, played on a real Redis and on the model of it, through the product's own client: the answers must be the same.

use std::time::Duration;

use neverstale_coherence::Position;
use neverstale_lifecycle::{Clock, Readiness, Tasks};
use neverstale_redis::{L2Miss, Received, Redis, RedisSettings, Subscription};
use neverstale_settings::Secret;
use tokio::time::{sleep, timeout};

use super::Store;
use crate::{chance::Chance, network::Link, run::paused_runtime, story::Story};

const TTL: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(10);

fn settings(url: &str) -> RedisSettings {
    RedisSettings {
        url: Some(Secret::from(url)),
        budget_ms: 1_000,
        ..RedisSettings::default()
    }
}

#[test]
fn values_and_broadcasts_are_kept_alike() {
    let tasks = || Tasks::new(Readiness::new("test", "a test"), || {});
    let real = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let server = neverstale_testkit::Redis::start().await.unwrap();
        let tasks = tasks();
        let redis = Redis::connect(&settings(&server.url()), &tasks, &Clock::system()).unwrap();
        let told = play(&redis, async || server.restart().await.unwrap()).await;
        tasks.shutdown().cancel();
        told
    });
    let model = paused_runtime().block_on(async {
        let chance = Chance::new(1);
        let store = Store::new(0, chance.clone(), Story::begin());
        let link = Link::new(0..=0, chance);
        let settings = settings("redis://redis");
        let redis = Redis::standing_in(store.by_way_of(&link), &settings, &tasks(), &Clock::system()).unwrap();
        play(&redis, async || store.restart()).await
    });
    assert_eq!(model, real, "left: the model, right: Redis");
}

async fn play(redis: &Redis, restart: impl AsyncFn()) -> Vec<String> {
    let mut told = Vec::new();
    let mut subscription = redis.subscribe("news").unwrap();
    until_up(redis).await;
    told.push(format!("{:?}", hear(&mut subscription).await));
    for (as_of, envelope) in [
        (5, "five"),
        (4, "four"),
        (5, "five again"),
        (12, "twelve"),
        (7, "seven"),
    ] {
        let put = redis.l2_put("key", Position(as_of), envelope.into(), TTL).await;
        told.push(format!("put {as_of}: {put:?}"));
        told.push(format!("{:?}", redis.l2_get("key").await));
    }
    told.push(format!("another key: {:?}", redis.l2_get("other").await));
    for message in ["one", "two"] {
        told.push(format!("publish: {:?}", redis.publish("news", message.into()).await));
        told.push(format!("{:?}", hear(&mut subscription).await));
    }
    restart().await;
    told.push(format!("after a restart: {:?}", hear(&mut subscription).await));
    until_up(redis).await;
    told.push(format!("{:?}", redis.l2_get("key").await));
    told.push(format!(
        "put: {:?}",
        redis.l2_put("key", Position(1), "one".into(), TTL).await
    ));
    told.push(format!("publish: {:?}", redis.publish("news", "three".into()).await));
    // How often a client says that it begins to hear again is its own affair.
    let mut heard = hear(&mut subscription).await;
    while heard == Received::Gap {
        heard = hear(&mut subscription).await;
    }
    told.push(format!("{heard:?}"));
    told
}

/// Waits until a read is answered at all.
async fn until_up(redis: &Redis) {
    let asking = async {
        while matches!(
            redis.l2_get("absent").await,
            Err(L2Miss::Disconnected | L2Miss::Avoided | L2Miss::TimedOut)
        ) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("Redis is there");
}

/// The next that is heard.
async fn hear(subscription: &mut Subscription) -> Received {
    timeout(PATIENCE, subscription.next())
        .await
        .expect("something is heard")
}
