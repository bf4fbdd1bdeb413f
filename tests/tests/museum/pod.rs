//! One sidecar's insides in this process, with its ways to the servers apart: what it fills with can be held up while its fences go
//! through, and so can Redis.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use neverstale_cache::{Answer, Cache, CacheParts, L1, L1Settings, L2, L2Parts, Level};
use neverstale_changefeed::{Feed, FeedParts, FeedSettings};
use neverstale_flavour::{Flavour, Router};
use neverstale_lifecycle::{Clock, Readiness, Tasks};
use neverstale_postgres::{FillPool, Target};
use neverstale_redis::{Redis, RedisSettings};
use neverstale_settings::Secret;
use neverstale_telemetry::Metrics;
use neverstale_wire::KeyRing;
use tokio::{task::yield_now, time::Instant};

use crate::house::House;

/// Nothing in a museum is in a hurry.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Pod {
    cache: Arc<Cache>,
    router: Router,
    tasks: Tasks,
    pub(crate) metrics: Arc<Metrics>,
}

impl Pod {
    /// A pod whose fences go straight to Postgres, whose fills go to `fills`, and whose L2 is at `redis`. It hears no bell and no
    /// broadcast but its own: messages decide nothing.
    pub(crate) async fn start(house: &House, fills: &str, redis: Option<&str>) -> Arc<Self> {
        let name = house.application.name();
        let flavour = Arc::new(Flavour::parse(Flavour::builtin(name).unwrap(), name).unwrap());
        let metrics = Arc::new(Metrics::new("museum"));
        let readiness = Readiness::new("database", "the museum opens");
        let tasks = Tasks::new(readiness.clone(), || {});
        let clock = Clock::system();
        let feed = FeedParts {
            target: Target::parse(house.database.url()).unwrap(),
            ca_file: None,
            connect_limit: PATIENCE,
            statement_limit: PATIENCE,
            flavour: Arc::clone(&flavour),
            app_schema: "public".to_owned(),
            broadcast: None,
            settings: FeedSettings {
                fence_patience_ms: PATIENCE.as_millis() as u64,
                ..FeedSettings::default()
            },
            clock: clock.clone(),
            readiness: readiness.clone(),
            metrics: Arc::clone(&metrics),
        };
        let feed = Feed::start(feed, &tasks).unwrap();
        let l2 = redis.map(|url| {
            let settings = RedisSettings {
                url: Some(Secret::from(url)),
                budget_ms: 1_000,
                ..RedisSettings::default()
            };
            let parts = L2Parts {
                redis: Arc::new(Redis::connect(&settings, &tasks, &clock).unwrap()),
                codec: settings.l2_codec(Some(KeyRing::parse(&"5a".repeat(32)).unwrap())),
                prefix: settings.key_prefix.clone(),
                ttl: PATIENCE,
                tasks: tasks.clone(),
                metrics: Arc::clone(&metrics),
            };
            (parts.redis.clone(), L2::new(parts, Arc::clone(&flavour), ""))
        });
        let fills = FillPool::new(Target::parse(fills).unwrap(), None, PATIENCE, PATIENCE, 1, &flavour);
        let (redis, l2) = l2.unzip();
        let cache = Cache::new(CacheParts {
            feed,
            fills,
            flavour: Arc::clone(&flavour),
            l1: L1::new(&L1Settings::default(), Arc::clone(&metrics)),
            l2,
            metrics: Arc::clone(&metrics),
            tasks: tasks.clone(),
        });
        let pod = Arc::new(Self {
            cache,
            router: Router::new(flavour, &BTreeMap::default()).unwrap(),
            tasks,
            metrics,
        });
        readiness.ready().await;
        while redis.as_ref().is_some_and(|redis| !redis.is_connected()) {
            yield_now().await;
        }
        // The statement is prepared with somebody else's name, so that a fill is one question and one answer from now on.
        pod.role("u9").await;
        pod
    }

    /// A fully consistent read.
    pub(crate) async fn read(&self, path: &str) -> Answer {
        let read = self.router.route(path).unwrap();
        let deadline = Instant::now() + PATIENCE;
        self.cache.read(&read, Level::FullyConsistent, deadline).await.unwrap()
    }

    pub(crate) async fn role(&self, user: &str) -> String {
        let answer = self.read(&format!("/v1/users/{user}/role")).await;
        let body: serde_json::Value = serde_json::from_slice(&answer.entry.body).unwrap();
        body["role"].as_str().unwrap().to_owned()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.tasks.shutdown().cancel();
    }
}
