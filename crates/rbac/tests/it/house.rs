//! An application's database with our installation, and any number of pods in this process that decide.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use neverstale_cache::{Cache, CacheParts, L1, L1Settings, Level};
use neverstale_changefeed::{Feed, FeedParts, FeedSettings};
use neverstale_flavour::{Flavour, Router};
use neverstale_installation::InstallOptions;
use neverstale_lifecycle::{Clock, Readiness, Tasks};
use neverstale_postgres::{FillPool, Target};
use neverstale_rbac::{Action, Decider, Decision, ResourceRef, ResourceType, Survey};
use neverstale_telemetry::Metrics;
use neverstale_testkit::{Application, Database, Postgres};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

/// The application's database.
pub(crate) struct House {
    pub(crate) database: Database,
    pub(crate) flavour: Arc<Flavour>,
    pub(crate) admin: Client,
}

/// One sidecar's insides.
pub(crate) struct Pod {
    pub(crate) decider: Arc<Decider>,
    pub(crate) survey: Survey,
    pub(crate) cache: Arc<Cache>,
    pub(crate) router: Arc<Router>,
    tasks: Tasks,
}

impl House {
    /// A fresh database of an application, with our installation and nothing else in it.
    pub(crate) async fn of(application: Application, lease_ms: u32) -> Self {
        let name = application.name();
        let flavour = Flavour::parse(Flavour::builtin(name).unwrap(), name).unwrap();
        let postgres = Postgres::shared().await.unwrap();
        let database = postgres.fresh_database(application).await.unwrap();
        let admin = database.connect().await.unwrap();
        let options = InstallOptions {
            lease_ms: Some(lease_ms),
            ..InstallOptions::default()
        };
        neverstale_installation::install(&admin, &flavour, "public", &options)
            .await
            .unwrap();
        admin
            .batch_execute("SET search_path = public, neverstale")
            .await
            .unwrap();
        Self {
            database,
            flavour: Arc::new(flavour),
            admin,
        }
    }

    /// A pod that is ready.
    pub(crate) async fn pod(&self) -> Pod {
        let metrics = Arc::new(Metrics::new("test"));
        let readiness = Readiness::new("starting", "the test has not begun");
        readiness.set("starting", None);
        readiness.set("database", Some("not connected yet".to_owned()));
        let tasks = Tasks::new(readiness.clone(), || {});
        let target = Target::parse(self.database.url()).unwrap();
        let limit = Duration::from_secs(5);
        let parts = FeedParts {
            target: target.clone(),
            ca_file: None,
            connect_limit: limit,
            statement_limit: limit,
            flavour: Arc::clone(&self.flavour),
            app_schema: "public".to_owned(),
            broadcast: None,
            settings: FeedSettings {
                poll_ms: 200,
                fence_patience_ms: 10_000,
                ..FeedSettings::default()
            },
            clock: Clock::system(),
            readiness: readiness.clone(),
            metrics: Arc::clone(&metrics),
        };
        let cache = Cache::new(CacheParts {
            feed: Feed::start(parts, &tasks).unwrap(),
            fills: FillPool::new(target, None, limit, limit, 2, &self.flavour),
            flavour: Arc::clone(&self.flavour),
            l1: L1::new(&L1Settings::default(), Arc::clone(&metrics)),
            l2: None,
            metrics,
            tasks: tasks.clone(),
        });
        let deadline = deadline();
        while !readiness.is_ready() {
            assert!(Instant::now() < deadline, "not ready: {:?}", readiness.reasons());
            sleep(Duration::from_millis(2)).await;
        }
        let router = Arc::new(Router::new(Arc::clone(&self.flavour), &BTreeMap::default()).unwrap());
        let decider = Arc::new(Decider::new(Arc::clone(&cache), Arc::clone(&router)).unwrap());
        Pod {
            survey: Survey::new(
                Arc::clone(&decider),
                Arc::clone(&cache),
                Arc::clone(&router),
                tasks.clone(),
            )
            .unwrap(),
            decider,
            cache,
            router,
            tasks,
        }
    }

    pub(crate) async fn write(&self, sql: &str) {
        self.admin
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.tasks.shutdown().cancel();
    }
}

impl Pod {
    pub(crate) async fn decide(&self, user: &str, action: Action, kind: ResourceType, id: &str) -> Decision {
        let resource = ResourceRef::new(kind, id);
        let decided = self
            .decider
            .decide(user, action, &resource, Level::FullyConsistent, deadline())
            .await;
        decided.unwrap().decision
    }
}

pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(20)
}
