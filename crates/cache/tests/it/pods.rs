//! A database with a made-up application, and any number of pods in this process, each with its own feed and L1.

use std::{sync::Arc, time::Duration};

use neverstale_cache::{Answer, Cache, CacheParts, L1, L1Settings, L2, L2Parts, Level, ReadError};
use neverstale_changefeed::{Broadcast, Feed, FeedParts, FeedSettings};
use neverstale_flavour::{Flavour, Router};
use neverstale_installation::InstallOptions;
use neverstale_lifecycle::{Clock, Readiness, Tasks};
use neverstale_postgres::{FillPool, Target};
use neverstale_redis::{Redis, RedisSettings};
use neverstale_settings::Secret;
use neverstale_telemetry::Metrics;
use neverstale_testkit::{Database, Postgres};
use neverstale_wire::{BroadcastCodec, KeyRing};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

const SCHEMA: &str = "
    CREATE TABLE person (id text PRIMARY KEY, version bigint NOT NULL, team_id text, noise bigint);
    CREATE TABLE token (id text PRIMARY KEY, person_id text, expires_at bigint);
    INSERT INTO person SELECT 'p' || n, 0, 't' || n % 3, 0 FROM generate_series(1, 30) n;";

/// The application's database.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) flavour: Arc<Flavour>,
    pub(crate) admin: Client,
}

/// One sidecar's insides.
pub(crate) struct Pod {
    pub(crate) cache: Arc<Cache>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Readiness,
    pub(crate) router: Router,
    tasks: Tasks,
}

impl World {
    /// A fresh database with the application and our installation, on the server that the tests of this process share.
    pub(crate) async fn with_lease(lease_ms: u32) -> Self {
        Self::on(Postgres::shared().await.unwrap(), lease_ms).await
    }

    /// The same on a server of one's own.
    pub(crate) async fn on(postgres: &Postgres, lease_ms: u32) -> Self {
        Self::altered(postgres, lease_ms, "").await
    }

    /// The same with a schema that was altered before our installation.
    pub(crate) async fn altered(postgres: &Postgres, lease_ms: u32, alteration: &str) -> Self {
        let flavour = Arc::new(Flavour::parse(include_str!("app.toml"), "app.toml").unwrap());
        let database = postgres
            .database_with("register", &format!("{SCHEMA}{alteration}"))
            .await
            .unwrap();
        let admin = database.connect().await.unwrap();
        let options = InstallOptions {
            lease_ms: Some(lease_ms),
            ..InstallOptions::default()
        };
        neverstale_installation::install(&admin, &flavour, "public", &options)
            .await
            .unwrap();
        Self {
            database,
            flavour,
            admin,
        }
    }

    /// Mends our installation.
    pub(crate) async fn install(&self) {
        neverstale_installation::install(&self.admin, &self.flavour, "public", &InstallOptions::default())
            .await
            .unwrap();
    }

    /// A pod on L1 alone.
    pub(crate) async fn pod(&self) -> Pod {
        let pod = self.start(self.database.url(), None);
        pod.until("it is ready", |pod| pod.readiness.is_ready()).await;
        pod
    }

    /// A pod with Redis behind it, whose values and broadcasts are sealed with one key.
    pub(crate) async fn pod_with_redis(&self, redis: &neverstale_testkit::Redis) -> Pod {
        let pod = self.start(self.database.url(), Some(&redis.url()));
        pod.until("it is ready", |pod| pod.readiness.is_ready()).await;
        pod
    }

    /// A pod that is not waited for.
    pub(crate) fn start(&self, url: &str, redis_url: Option<&str>) -> Pod {
        self.start_by(Clock::system(), url, redis_url)
    }

    /// The same by a clock of the test's.
    pub(crate) fn start_by(&self, clock: Clock, url: &str, redis_url: Option<&str>) -> Pod {
        let metrics = Arc::new(Metrics::new("test"));
        let readiness = Readiness::new("starting", "the test has not begun");
        readiness.set("starting", None);
        readiness.set("database", Some("not connected yet".to_owned()));
        let tasks = Tasks::new(readiness.clone(), || {});
        let target = Target::parse(url).unwrap();
        let limit = Duration::from_millis(1_000);
        let redis = redis_url.map(|url| {
            let settings = RedisSettings {
                url: Some(Secret::from(url)),
                budget_ms: 50,
                ..RedisSettings::default()
            };
            (Arc::new(Redis::connect(&settings, &tasks, &clock).unwrap()), settings)
        });
        let keys = Some(KeyRing::parse(&"5a".repeat(32)).unwrap());
        let parts = FeedParts {
            target: target.clone(),
            ca_file: None,
            connect_limit: limit,
            statement_limit: limit,
            flavour: Arc::clone(&self.flavour),
            app_schema: "public".to_owned(),
            broadcast: redis.as_ref().map(|(redis, settings)| Broadcast {
                redis: Arc::clone(redis),
                codec: BroadcastCodec::new(keys.clone(), settings.channel()),
                name: settings.channel(),
            }),
            settings: FeedSettings {
                poll_ms: 200,
                relay_retry_ms: 50,
                verify_ms: 100,
                prune_seconds: 1,
                // As long as the deadline of a read here: a machine that is busy with other tests is no fault.
                fence_patience_ms: 5_000,
                ..FeedSettings::default()
            },
            clock,
            readiness: readiness.clone(),
            metrics: Arc::clone(&metrics),
        };
        let feed = Feed::start(parts, &tasks).unwrap();
        let l2 = redis.map(|(redis, settings)| {
            let parts = L2Parts {
                redis,
                codec: settings.l2_codec(keys),
                prefix: settings.key_prefix.clone(),
                ttl: Duration::from_secs(60),
                tasks: tasks.clone(),
                metrics: Arc::clone(&metrics),
            };
            L2::new(parts, Arc::clone(&self.flavour), "")
        });
        let cache = Cache::new(CacheParts {
            feed,
            fills: FillPool::new(target, None, limit, limit, 2, &self.flavour),
            flavour: Arc::clone(&self.flavour),
            l1: L1::new(&L1Settings::default(), Arc::clone(&metrics)),
            l2,
            metrics: Arc::clone(&metrics),
            tasks: tasks.clone(),
        });
        let router = Router::new(Arc::clone(&self.flavour), &std::collections::BTreeMap::default()).unwrap();
        Pod {
            cache,
            metrics,
            readiness,
            router,
            tasks,
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.tasks.shutdown().cancel();
    }
}

impl Pod {
    /// Tells its tasks to end.
    pub(crate) fn end(&self) {
        self.tasks.shutdown().cancel();
    }

    pub(crate) async fn read(&self, path: &str, level: Level) -> Result<Answer, ReadError> {
        if let Some(hit) = self.cache.hit(path, level) {
            return Ok(hit);
        }
        let read = self.router.route(path).unwrap();
        self.cache
            .read(&read, level, Instant::now() + Duration::from_secs(5))
            .await
    }

    pub(crate) async fn version(&self, person: &str) -> i64 {
        let answer = self
            .read(&format!("/v1/users/{person}"), Level::FullyConsistent)
            .await
            .unwrap();
        version(&answer.entry.body)
    }

    pub(crate) async fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition(self) {
            assert!(
                Instant::now() < deadline,
                "waited in vain until {what}: {:?}",
                self.readiness.reasons()
            );
            sleep(Duration::from_millis(2)).await;
        }
    }
}

pub(crate) fn version(body: &[u8]) -> i64 {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap();
    value["version"].as_i64().unwrap()
}
