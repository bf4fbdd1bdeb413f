//! `serve`: the life of a sidecar, in order: clocks and tasks, stores, flavour, feed, cache, listeners; run; drain.
//!
//! Nothing is waited for that may be down: without Postgres the process lives, says why it is not ready, and goes on
//! trying; without Redis it runs on L1 alone.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use neverstale_cache::{Auditor, Cache, CacheParts, L1, L2, L2Parts};
use neverstale_changefeed::{Broadcast, Feed, FeedParts};
use neverstale_flavour::Flavour;
use neverstale_lifecycle::{Backoff, CancellationToken, Clock, Joined, Readiness, Tasks, wait_for_stop};
use neverstale_postgres::FillPool;
use neverstale_redis::Redis;
use neverstale_telemetry::{Metrics, init_logs};
use neverstale_wire::{BroadcastCodec, KeyRing};
use tokio::runtime::{Builder, Runtime};

use crate::{
    database,
    exit::{Exit, Failure},
    flavour,
    settings::Settings,
};

/// Between two looks for the flavour while the database is out of reach or still empty.
const FLAVOUR_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

pub(crate) fn run(settings: Settings) -> Result<Exit, Failure> {
    init_logs(&settings.telemetry).map_err(anyhow::Error::from)?;
    // A database that is not even named is no fault to wait out.
    database::target(&settings.database)?;
    runtime(settings.lifecycle.worker_threads)?.block_on(serve(settings))
}

/// One thread serves from one event loop without handing requests over; more share the work.
fn runtime(worker_threads: u32) -> Result<Runtime, Failure> {
    let mut builder = match worker_threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(worker_threads as usize)
        .thread_name("neverstale")
        .enable_all()
        .build();
    Ok(runtime.context("start the runtime")?)
}

/// What every part of the process shares.
struct Process {
    settings: Settings,
    clock: Clock,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    tasks: Tasks,
    /// Cancelled by `POST /quitquitquit`.
    quit: CancellationToken,
}

async fn serve(settings: Settings) -> Result<Exit, Failure> {
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let readiness = Readiness::new("start", "the process is starting");
    let counted = Arc::clone(&metrics);
    let tasks = Tasks::new(readiness.clone(), move || counted.task_failures_total.inc());
    let quit = CancellationToken::new();
    let process = Arc::new(Process {
        settings,
        clock: Clock::system(),
        metrics,
        readiness,
        tasks,
        quit,
    });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "neverstale starts");

    let starting = Arc::clone(&process);
    process.tasks.spawn_brief("serve.start", async move {
        if let Err(failure) = start(&starting).await {
            tracing::error!(error = format!("{:#}", failure.error), "neverstale can't start");
            starting.readiness.set("start", Some(format!("{:#}", failure.error)));
        }
    });
    let cause = wait_for_stop(&process.quit).await.context("handle signals")?;
    drain(&process, &format!("{cause:?}")).await;
    Ok(Exit::Ok)
}

/// Builds everything, from the stores up to the listeners, and says that the start is over.
async fn start(process: &Process) -> Result<(), Failure> {
    let Process {
        settings,
        clock,
        metrics,
        readiness,
        tasks,
        ..
    } = process;
    let keys = settings.redis.key_ring().map_err(Failure::usage)?;
    let redis = match &settings.redis.url {
        Some(_) => Some(Arc::new(
            Redis::connect(&settings.redis, tasks, clock).map_err(Failure::usage)?,
        )),
        None => None,
    };
    let flavour = Arc::new(find_flavour(process).await?);
    tracing::info!(
        flavour = flavour.name,
        app_schema = settings.database.app_schema,
        "the schema is known"
    );
    let router = settings
        .router(Flavour::clone(&flavour))
        .map_err(|reason| Failure::usage(anyhow!(reason)))?;
    let feed = feed(process, &flavour, redis.as_ref(), keys.as_ref())?;
    let cache = cache(process, &flavour, feed, redis.as_ref(), keys)?;
    watch_sizes(process, Arc::clone(&cache));
    let auditor = Arc::new(Auditor::default());
    tasks.spawn(
        "audit",
        until(
            tasks.shutdown(),
            Arc::clone(&auditor).run(Arc::clone(&cache), settings.audit.clone()),
        ),
    );
    // The listeners of `proxy` and `admin` take it from here: (router, cache, auditor).
    let _ = (router, cache, auditor, metrics);
    readiness.set("start", None);
    Ok(())
}

/// Looks for the flavour until it is found; a wrong setting ends the search, a missing database does not.
async fn find_flavour(process: &Process) -> Result<Flavour, Failure> {
    let settings = &process.settings.database;
    if let Some(flavour) = flavour::named(&settings.schema).map_err(|reason| Failure::usage(anyhow!(reason)))? {
        return Ok(flavour);
    }
    let shutdown = process.tasks.shutdown();
    let mut backoff = Backoff::new(FLAVOUR_BACKOFF.0, FLAVOUR_BACKOFF.1);
    loop {
        let looked = async {
            let connection = database::connect_within(settings, settings.statement_limit()).await?;
            flavour::choose(&connection, settings).await
        };
        match looked.await {
            Ok(flavour) => {
                process.readiness.set("schema", None);
                return Ok(flavour);
            }
            Err(failure) => process.readiness.set("schema", Some(format!("{:#}", failure.error))),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Err(anyhow!("told to end while looking for the schema").into()),
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// Ends a task that would go on for ever.
async fn until(shutdown: CancellationToken, task: impl Future<Output = ()>) {
    // Nobody asks whether it ended or was ended.
    let _ = shutdown.run_until_cancelled(task).await;
}

fn feed(
    process: &Process,
    flavour: &Arc<Flavour>,
    redis: Option<&Arc<Redis>>,
    keys: Option<&KeyRing>,
) -> Result<Feed, Failure> {
    let settings = &process.settings;
    let broadcast = |redis: &Arc<Redis>| {
        let name = settings.redis.channel();
        Broadcast {
            redis: Arc::clone(redis),
            codec: BroadcastCodec::new(keys.cloned(), name.clone()),
            name,
        }
    };
    let parts = FeedParts {
        target: database::target(&settings.database)?,
        ca_file: settings.database.tls_ca_file.clone(),
        connect_limit: settings.database.connect_limit(),
        statement_limit: settings.database.statement_limit(),
        flavour: Arc::clone(flavour),
        app_schema: settings.database.app_schema.clone(),
        broadcast: redis.map(broadcast),
        settings: settings.feed.clone(),
        clock: process.clock.clone(),
        readiness: process.readiness.clone(),
        metrics: Arc::clone(&process.metrics),
    };
    Feed::start(parts, &process.tasks).map_err(Failure::usage)
}

fn cache(
    process: &Process,
    flavour: &Arc<Flavour>,
    feed: Feed,
    redis: Option<&Arc<Redis>>,
    keys: Option<KeyRing>,
) -> Result<Arc<Cache>, Failure> {
    let Process {
        settings,
        tasks,
        metrics,
        ..
    } = process;
    let l2 = redis.map(|redis| {
        let parts = L2Parts {
            redis: Arc::clone(redis),
            codec: settings.redis.l2_codec(keys),
            prefix: settings.redis.key_prefix.clone(),
            ttl: Duration::from_secs(settings.redis.value_ttl_seconds),
            tasks: tasks.clone(),
            metrics: Arc::clone(metrics),
        };
        L2::new(parts, Arc::clone(flavour), &format!("{:?}", settings.flavour.options.0))
    });
    let fills = FillPool::new(
        database::target(&settings.database)?,
        settings.database.tls_ca_file.clone(),
        settings.database.connect_limit(),
        settings.database.statement_limit(),
        settings.database.fill_connections as usize,
        flavour,
    );
    let l1 = L1::new(&settings.l1);
    let (flavour, metrics, tasks) = (Arc::clone(flavour), Arc::clone(metrics), tasks.clone());
    Ok(Cache::new(CacheParts {
        feed,
        fills,
        flavour,
        l1,
        l2,
        metrics,
        tasks,
    }))
}

/// Keeps the gauges of L1 true to a second.
fn watch_sizes(process: &Process, cache: Arc<Cache>) {
    let (metrics, shutdown) = (Arc::clone(&process.metrics), process.tasks.shutdown());
    process.tasks.spawn("l1.sizes", async move {
        while !shutdown.is_cancelled() {
            let (entries, bytes) = cache.l1().size();
            metrics.l1_entries.set(entries as i64);
            metrics.l1_bytes.set(bytes as i64);
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    });
}

/// Takes no new traffic, lets what is open come to its end, and gives up when the grace period is over or somebody asks
/// a second time.
async fn drain(process: &Process, cause: &str) {
    let grace = Duration::from_secs(process.settings.lifecycle.grace_period_seconds);
    process
        .readiness
        .set("drain", Some(format!("the process is ending ({cause})")));
    tracing::info!(cause, grace_seconds = grace.as_secs(), "draining");
    let insisted = CancellationToken::new();
    tokio::select! {
        joined = process.tasks.join(grace) => match joined {
            Joined::InTime => tracing::info!("neverstale ends"),
            Joined::Late(tasks) => tracing::warn!(?tasks, "the grace period is over, some tasks are still running"),
        },
        _ = wait_for_stop(&insisted) => tracing::warn!("told to end a second time"),
    }
}
