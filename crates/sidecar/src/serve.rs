//! `serve`: the life of a sidecar, in order: clocks and tasks, stores, flavour, feed, cache, listeners; run; drain.
//!
//! Nothing is waited for that may be down: without Postgres the process lives, says why it is not ready, and goes on
//! trying; without Redis it runs on L1 alone. What is wrong for good, such as a port that is taken, ends it.

mod parts;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use neverstale_cache::Auditor;
use neverstale_ext_authz::ExtAuthzHandle;
use neverstale_flavour::Flavour;
use neverstale_ingress::IngressHandle;
use neverstale_lifecycle::{CancellationToken, Clock, Joined, Readiness, StopCause, Tasks, wait_for_stop};
use neverstale_otlp::Exporter;
use neverstale_proxy::ApiHandle;
use neverstale_rbac::{Decider, Survey};
use neverstale_redis::Redis;
use neverstale_telemetry::{Metrics, init_logs, init_logs_and_traces};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, timeout_at},
};

use crate::{
    database,
    exit::{Exit, Failure},
    settings::Settings,
};

/// What the tasks behind the listeners may take to end, if the grace period is already over.
const TASKS_GRACE: Duration = Duration::from_millis(500);

pub(crate) fn run(settings: Settings) -> Result<Exit, Failure> {
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))));
    let otlp =
        neverstale_otlp::start(&settings.otlp, env!("CARGO_PKG_VERSION"), &clock, &metrics).map_err(Failure::usage)?;
    let (spans, exporter) = otlp.unzip();
    match spans {
        Some(spans) => init_logs_and_traces(&settings.telemetry, spans),
        None => init_logs(&settings.telemetry),
    }
    .map_err(anyhow::Error::from)?;
    #[cfg(feature = "mutants")]
    crate::mutant::warn();
    // A database that is not even named is no fault to wait out.
    database::target(&settings.database)?;
    runtime(settings.lifecycle.worker_threads)?.block_on(serve(settings, clock, metrics, exporter))
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
    /// Cancelled when the door should let nobody in any more, while the application still asks the api: at the end, or before by
    /// `POST /drain`.
    shut: CancellationToken,
    /// Cancelled when the listeners should take nothing new while everything behind them goes on.
    drain: CancellationToken,
}

async fn serve(
    settings: Settings,
    clock: Clock,
    metrics: Arc<Metrics>,
    exporter: Option<Exporter>,
) -> Result<Exit, Failure> {
    let readiness = Readiness::new("start", "the process is starting");
    let counted = Arc::clone(&metrics);
    let tasks = Tasks::new(readiness.clone(), move || counted.task_failures_total.inc());
    let (quit, shut, drain) = (
        CancellationToken::new(),
        CancellationToken::new(),
        CancellationToken::new(),
    );
    let process = Process {
        settings,
        clock,
        metrics,
        readiness,
        tasks,
        quit,
        shut,
        drain,
    };
    if let Some(exporter) = exporter {
        process.tasks.spawn("otlp", exporter.run(process.tasks.shutdown()));
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "neverstale starts");

    // A signal is heard during the start too, which may last for as long as the database is out of reach.
    let stop = async || wait_for_stop(&process.quit).await.context("handle signals");
    let (cause, listeners) = tokio::select! {
        cause = stop() => (cause?, None),
        started = start(&process) => {
            let listeners = started?;
            process.readiness.set("start", None);
            (stop().await?, Some(listeners))
        }
    };
    end(&process, cause, listeners).await;
    Ok(Exit::Ok)
}

/// What serves the application and its callers.
struct Listeners {
    api: ApiHandle,
    /// None where the sidecar does not stand in front of the application.
    ingress: Option<IngressHandle>,
    /// None where no Envoy asks.
    ext_authz: Option<ExtAuthzHandle>,
}

/// Builds everything, from the stores up to the listeners.
async fn start(process: &Process) -> Result<Listeners, Failure> {
    let Process {
        settings,
        clock,
        readiness,
        tasks,
        ..
    } = process;
    let shown = Arc::default();
    parts::admin(process, Arc::clone(&shown)).await?;
    let keys = parts::keys(process)?;
    let connect = || Redis::connect(&settings.redis, tasks, clock).map_err(Failure::usage);
    let redis = settings
        .redis
        .url
        .as_ref()
        .map(|_| connect())
        .transpose()?
        .map(Arc::new);
    let flavour = Arc::new(parts::find_flavour(process).await?);
    tracing::info!(
        flavour = flavour.name,
        app_schema = settings.database.app_schema,
        "the schema is known"
    );

    let router = settings
        .router(Flavour::clone(&flavour))
        .map_err(|reason| Failure::usage(anyhow!(reason)))?;
    // Cleared by the feed: nothing is ready before the primary has answered.
    readiness.set("database", Some("the primary has not answered yet".to_owned()));
    let feed = parts::feed(process, &flavour, redis.as_ref(), keys.as_ref())?;
    let is_sealed = keys.is_some();
    let cache = parts::cache(process, &flavour, feed, redis.as_ref(), keys)?;
    let router = Arc::new(router);
    let decider = Decider::new(Arc::clone(&cache), Arc::clone(&router)).map(Arc::new);
    let survey = decider.as_ref().and_then(|decider| {
        Survey::new(
            Arc::clone(decider),
            Arc::clone(&cache),
            Arc::clone(&router),
            tasks.clone(),
        )
    });
    let _ = shown.set(parts::shown(
        process,
        &flavour,
        &cache,
        survey,
        redis.as_ref(),
        is_sealed,
    ));

    let auditor = Arc::new(Auditor::default());
    let audit = Arc::clone(&auditor).run(Arc::clone(&cache), settings.audit.clone(), readiness.clone());
    tasks.spawn("audit", parts::until(tasks.shutdown(), audit));
    let identity = parts::identity(process, &router, &cache, redis.as_ref())?;
    let guard = Arc::new(parts::guard(process, &router, &cache, decider.as_ref())?);
    let callers = Arc::new(parts::callers(process, Arc::clone(&identity))?);
    let api = parts::api(process, router, cache, identity, decider, auditor).await?;
    let ingress = Box::pin(parts::ingress(process, Arc::clone(&callers), Arc::clone(&guard))).await?;
    let ext_authz = parts::ext_authz(process, callers, guard).await?;
    Ok(Listeners {
        api,
        ingress,
        ext_authz,
    })
}

/// Takes no new traffic, lets what is open come to its end, and gives up when the grace period is over or somebody asks
/// a second time.
async fn end(process: &Process, cause: StopCause, listeners: Option<Listeners>) {
    let grace = Duration::from_secs(process.settings.lifecycle.grace_period_seconds);
    process
        .readiness
        .set("shutdown", Some("the process is shutting down".to_owned()));
    tracing::info!(?cause, grace_seconds = grace.as_secs(), "draining");
    let nobody = CancellationToken::new();
    tokio::select! {
        () = drain(process, listeners, Instant::now() + grace) => {}
        _ = wait_for_stop(&nobody) => tracing::warn!("told to end a second time"),
    }
}

/// The door first, and Envoy's beside it: what they have let in, the application answers with the help of the api.
async fn drain(process: &Process, listeners: Option<Listeners>, deadline: Instant) {
    process.shut.cancel();
    let drained = async {
        if let Some(Listeners {
            api,
            ingress,
            ext_authz,
        }) = listeners
        {
            if let Some(ingress) = ingress {
                ingress.drained().await;
            }
            if let Some(ext_authz) = ext_authz {
                ext_authz.drained().await;
            }
            process.drain.cancel();
            api.drained().await;
        }
    };
    if timeout_at(deadline, drained).await.is_err() {
        tracing::warn!("the grace period is over, connections are still open");
    }
    process.drain.cancel();
    let left = deadline.saturating_duration_since(Instant::now()).max(TASKS_GRACE);
    match process.tasks.join(left).await {
        Joined::InTime => tracing::info!("neverstale ends"),
        Joined::Late(tasks) => tracing::warn!(?tasks, "the grace period is over, some tasks are still running"),
    }
}
