//! One sidecar's insides, as `serve` puts them together, on simulated streams and clocks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use neverstale_cache::{Cache, CacheParts, L1, L1Settings};
use neverstale_changefeed::{Feed, FeedParts, FeedSettings};
use neverstale_flavour::{Flavour, Router};
use neverstale_lifecycle::{Clock, Readiness, Tasks, simulated::SteeredClock};
use neverstale_postgres::{FillPool, Target, simulated::Dialer};
use neverstale_telemetry::Metrics;

use crate::{
    network::Link,
    plan::Plan,
    postgres::{SCHEMA, Server},
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
}

/// Where a sidecar runs: what stays when it is started again.
#[derive(Clone)]
pub(crate) struct Place {
    /// Its name in the story.
    pub(crate) name: &'static str,
    /// The way to Postgres.
    pub(crate) postgres: Link,
    /// How its two clocks are steered, in millionths.
    pub(crate) clock_ppm: (i64, i64),
}

impl Place {
    /// Starts a sidecar here.
    pub(crate) fn start(&self, plan: &Plan, flavour: &Arc<Flavour>, server: &Server) -> Pod {
        let metrics = Arc::new(Metrics::new("simulated"));
        let readiness = Readiness::new("database", "not connected yet");
        let tasks = Tasks::new(readiness.clone(), || {});
        let clock = Clock::simulated(SteeredClock::start(self.clock_ppm.0, self.clock_ppm.1));
        let target = self.target(server);
        let limit = Duration::from_millis(plan.statement_limit_ms);
        let parts = FeedParts {
            target: target.clone(),
            ca_file: None,
            connect_limit: limit,
            statement_limit: limit,
            flavour: Arc::clone(flavour),
            app_schema: SCHEMA.to_owned(),
            broadcast: None,
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
        let cache = Cache::new(CacheParts {
            feed,
            fills: FillPool::new(target, None, limit, limit, 2, flavour),
            flavour: Arc::clone(flavour),
            l1: L1::new(&L1Settings::default(), Arc::clone(&metrics)),
            l2: None,
            metrics,
            tasks: tasks.clone(),
        });
        let router = Router::new(Arc::clone(flavour), &BTreeMap::default()).expect("no options are given");
        Pod {
            cache,
            router: Arc::new(router),
            tasks,
        }
    }

    /// The primary, by way of this place's link.
    pub(crate) fn target(&self, server: &Server) -> Target {
        let (link, server) = (self.postgres.clone(), server.clone());
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
}
