//! One sidecar's insides, as `serve` puts them together, on simulated streams and clocks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use neverstale_cache::{Cache, CacheParts, L1, L1Settings, L2, L2Parts};
use neverstale_changefeed::{Broadcast, Feed, FeedParts, FeedSettings};
use neverstale_flavour::{Flavour, Router};
use neverstale_lifecycle::{Clock, Readiness, Tasks, simulated::SteeredClock};
use neverstale_postgres::{FillPool, Target, simulated::Dialer};
use neverstale_redis::{Redis as Client, RedisSettings};
use neverstale_settings::Secret;
use neverstale_telemetry::Metrics;
use neverstale_wire::{BroadcastCodec, KeyRing};

use crate::{
    network::Link,
    plan::Plan,
    postgres::{SCHEMA, Server},
    redis::Store,
};

/// A running sidecar.
#[derive(Clone)]
pub(crate) struct Pod {
    /// Answers reads.
    pub(crate) cache: Arc<Cache>,
    /// Understands paths.
    pub(crate) router: Arc<Router>,
    /// All of its tasks.
    pub(crate) tasks: Tasks,
    /// What its leases are counted on.
    pub(crate) clock: SteeredClock,
}

/// Where a sidecar runs: what stays when it is started again.
#[derive(Clone)]
pub(crate) struct Place {
    /// Its name in the story.
    pub(crate) name: &'static str,
    /// The way to Postgres.
    pub(crate) postgres: Link,
    /// The way to Redis, where there is one.
    pub(crate) redis: Option<Redis>,
    /// How its two clocks are steered, in millionths.
    pub(crate) clock_ppm: (i64, i64),
}

/// A Redis and the way to it.
#[derive(Clone)]
pub(crate) struct Redis {
    /// The server.
    pub(crate) store: Store,
    /// The way.
    pub(crate) link: Link,
    /// What values and broadcasts are sealed with, if they are.
    pub(crate) keys: Option<KeyRing>,
}

impl Redis {
    fn connect(&self, plan: &Plan, tasks: &Tasks, clock: &Clock) -> (Arc<Client>, RedisSettings) {
        let settings = RedisSettings {
            url: Some(Secret::from("redis://redis")),
            budget_ms: plan.redis_budget_ms,
            ..RedisSettings::default()
        };
        let stand_in = self.store.by_way_of(&self.link);
        let client = Client::standing_in(stand_in, &settings, tasks, clock).expect("a URL is given");
        (Arc::new(client), settings)
    }
}

impl Place {
    /// Starts a sidecar here.
    pub(crate) fn start(&self, plan: &Plan, flavour: &Arc<Flavour>, server: &Server) -> Pod {
        let metrics = Arc::new(Metrics::new("simulated"));
        let readiness = Readiness::new("database", "not connected yet");
        let tasks = Tasks::new(readiness.clone(), || {});
        let steered = SteeredClock::start(self.clock_ppm.0, self.clock_ppm.1);
        let clock = Clock::simulated(steered.clone());
        let target = target(server, &self.postgres);
        let redis = self.redis.as_ref().map(|redis| {
            let (client, settings) = redis.connect(plan, &tasks, &clock);
            (client, settings, redis.keys.clone())
        });
        let limit = Duration::from_millis(plan.statement_limit_ms);
        let parts = FeedParts {
            target: target.clone(),
            ca_file: None,
            connect_limit: limit,
            statement_limit: limit,
            flavour: Arc::clone(flavour),
            app_schema: SCHEMA.to_owned(),
            broadcast: redis.as_ref().map(|(client, settings, keys)| Broadcast {
                redis: Arc::clone(client),
                codec: BroadcastCodec::new(keys.clone(), settings.channel()),
                name: settings.channel(),
            }),
            settings: FeedSettings {
                poll_ms: plan.poll_ms,
                staleness_bound_ms: plan.bound_ms,
                log_rows_kept: plan.log_rows_kept,
                prune_seconds: 1,
                relay_retry_ms: 100,
                tag_slots: plan.tag_slots,
                verify_ms: 100,
                ..FeedSettings::default()
            },
            clock,
            readiness,
            metrics: Arc::clone(&metrics),
        };
        let feed = Feed::start(parts, &tasks).expect("the stand-in for Redis can be subscribed to");
        let l2 = redis.map(|(client, settings, keys)| {
            let parts = L2Parts {
                redis: client,
                codec: settings.l2_codec(keys),
                prefix: settings.key_prefix.clone(),
                ttl: Duration::from_secs(60),
                tasks: tasks.clone(),
                metrics: Arc::clone(&metrics),
            };
            L2::new(parts, Arc::clone(flavour), "")
        });
        let cache = Cache::new(CacheParts {
            feed,
            fills: FillPool::new(target, None, limit, limit, 2, flavour),
            flavour: Arc::clone(flavour),
            l1: L1::new(&L1Settings::default(), Arc::clone(&metrics)),
            l2,
            metrics,
            tasks: tasks.clone(),
        });
        let router = Router::new(Arc::clone(flavour), &BTreeMap::default()).expect("no options are given");
        Pod {
            cache,
            router: Arc::new(router),
            tasks,
            clock: steered,
        }
    }
}

/// The primary, by way of a link.
pub(crate) fn target(server: &Server, link: &Link) -> Target {
    let (link, server) = (link.clone(), server.clone());
    let dialer = Dialer::new(move || {
        let (link, server) = (link.clone(), server.clone());
        async move {
            link.pass().await;
            let (near, far) = link.open();
            server.accept(far);
            near
        }
    });
    Target::parse("postgresql://app@primary/app")
        .expect("a URL")
        .through(dialer)
}
