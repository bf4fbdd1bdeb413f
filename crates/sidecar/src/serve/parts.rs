//! What a sidecar is made of, each part from its settings: the flavour, the feed, the cache and the listeners.
//!
//! Nothing here waits for a store but the search for the flavour.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::anyhow;
use neverstale_admin::{Admin, AdminHandle, AdminParts, Shown};
use neverstale_cache::{Auditor, Cache, CacheParts, L1, L2, L2Parts};
use neverstale_changefeed::{Broadcast, Feed, FeedParts};
use neverstale_ext_authz::{ExtAuthz, ExtAuthzHandle, ExtAuthzParts};
use neverstale_flavour::{Flavour, Router};
use neverstale_guard::{
    callers::Callers,
    guard::{Guard, GuardParts, Routes},
};
use neverstale_identity::{Identity, IdentityParts};
use neverstale_ingress::{Ingress, IngressHandle, IngressParts};
use neverstale_lifecycle::{Backoff, CancellationToken, Watched};
use neverstale_postgres::{FillPool, Writer};
use neverstale_proxy::{Api, ApiHandle, ApiParts};
use neverstale_rbac::{Decider, Survey};
use neverstale_redis::Redis;
use neverstale_wire::{BroadcastCodec, KeyRing, status::InstallationStatus};

use super::Process;
use crate::{database, exit::Failure, flavour};

/// Between two looks for the flavour while the database is out of reach or still empty.
const FLAVOUR_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Looks for the flavour until it is found; a wrong setting ends the search, a missing database does not.
pub(super) async fn find_flavour(process: &Process) -> Result<Flavour, Failure> {
    let settings = &process.settings.database;
    if let Some(flavour) = flavour::named(&settings.schema).map_err(|reason| Failure::usage(anyhow!(reason)))? {
        return Ok(flavour);
    }
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
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Ends a task that would go on for ever.
pub(super) async fn until(shutdown: CancellationToken, task: impl Future<Output = ()>) {
    // Nobody asks whether it ended or was ended.
    let _ = shutdown.run_until_cancelled(task).await;
}

/// Reads the keys of L2, and again whenever their file changes; what is of no use then changes nothing.
pub(super) fn keys(process: &Process) -> Result<Option<KeyRing>, Failure> {
    let settings = &process.settings.redis;
    let keys = settings.key_ring().map_err(Failure::usage)?;
    if let (Some(keys), Some(path)) = (&keys, &settings.key_file) {
        let keys = keys.clone();
        let replace = move |contents: &[Vec<u8>]| {
            let text = std::str::from_utf8(&contents[0]).map_err(|error| error.to_string())?;
            keys.replace(&KeyRing::parse(text).map_err(|error| error.to_string())?);
            Ok(())
        };
        Watched::start("redis.keys", vec![path.clone()], replace, &process.tasks)
            .map_err(|error| Failure::usage(anyhow!(error)))?;
    }
    Ok(keys)
}

pub(super) fn feed(
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

pub(super) fn cache(
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
    let l1 = L1::new(&settings.l1, Arc::clone(metrics));
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

/// What the admin listener shows once the schema is known.
pub(super) fn shown(
    process: &Process,
    flavour: &Flavour,
    cache: &Arc<Cache>,
    survey: Option<Survey>,
    redis: Option<&Arc<Redis>>,
    is_l2_sealed: bool,
) -> Shown {
    let settings = &process.settings;
    let app_schema = settings.database.app_schema.clone();
    let installation = InstallationStatus {
        flavour: flavour.name.clone(),
        protocol: neverstale_installation::PROTOCOL as u32,
        specification: flavour.specification(&app_schema),
        app_schema,
        ..InstallationStatus::default()
    };
    Shown {
        cache: Arc::clone(cache),
        redis: redis.map(|redis| Redis::clone(redis)),
        is_l2_sealed,
        survey,
        l1_bytes_max: settings.l1.bytes_max,
        views: flavour
            .views
            .iter()
            .filter(|view| view.kept)
            .map(|view| view.name.clone())
            .collect(),
        installation,
    }
}

/// Starts the admin listener before anything that may have to wait, so that probes are answered and say why.
pub(super) async fn admin(process: &Process, shown: Arc<OnceLock<Shown>>) -> Result<AdminHandle, Failure> {
    let Process {
        settings,
        metrics,
        readiness,
        tasks,
        ..
    } = process;
    let parts = AdminParts {
        shown,
        readiness: readiness.clone(),
        metrics: Arc::clone(metrics),
        version: env!("CARGO_PKG_VERSION"),
        settings: settings.admin.clone(),
        drain: process.drain.clone(),
        quit: process.quit.clone(),
        shut: process.shut.clone(),
    };
    Admin::start(parts, tasks)
        .await
        .map_err(|error| Failure::of_listener(error, "admin.listen"))
}

/// Makes what knows callers, for the listeners together.
pub(super) fn identity(
    process: &Process,
    router: &Arc<Router>,
    cache: &Arc<Cache>,
    redis: Option<&Arc<Redis>>,
) -> Result<Arc<Identity>, Failure> {
    let (api, redis_settings) = (&process.settings.api, &process.settings.redis);
    let parts = IdentityParts {
        cache: Arc::clone(cache),
        router: Arc::clone(router),
        redis: redis.map(|redis| Redis::clone(redis)),
        app_key_prefix: redis_settings.app_key_prefix.clone(),
        session_secret: api.session_secret.clone(),
        session_secret_file: api.session_secret_file.clone(),
        session_revocation_checked: api.session_revocation_checked,
        clock: process.clock.clone(),
    };
    Identity::start(parts, &process.tasks).map_err(Failure::usage)
}

/// Starts the `api` listener.
pub(super) async fn api(
    process: &Process,
    router: Arc<Router>,
    cache: Arc<Cache>,
    identity: Arc<Identity>,
    decider: Option<Arc<Decider>>,
    auditor: Arc<Auditor>,
) -> Result<ApiHandle, Failure> {
    let Process {
        settings,
        metrics,
        tasks,
        ..
    } = process;
    let writer = Writer::new(
        database::target(&settings.database)?,
        settings.database.tls_ca_file.clone(),
        settings.database.connect_limit(),
        Arc::clone(router.flavour()),
        settings.database.app_schema.clone(),
    );
    let parts = ApiParts {
        cache,
        writer,
        router,
        identity,
        decider,
        auditor,
        settings: settings.api.clone(),
        metrics: Arc::clone(metrics),
        drain: process.drain.clone(),
    };
    Api::start(parts, tasks)
        .await
        .map_err(|error| Failure::of_listener(error, "api.listen"))
}

/// Reads the rules of the door, if there is to be one, or somebody who asks what it would do.
pub(super) fn guard(
    process: &Process,
    router: &Arc<Router>,
    cache: &Arc<Cache>,
    decider: Option<&Arc<Decider>>,
) -> Result<Guard, Failure> {
    let settings = &process.settings.guard;
    let is_asked = process.settings.ingress.listen.is_some() || process.settings.ext_authz.is_on();
    if !is_asked || settings.mode == "off" {
        return Ok(Guard::default());
    }
    let name = &router.flavour().name;
    let builtin = || Routes::builtin(name).map(str::to_owned);
    let text = match &settings.routes_file {
        Some(file) => Some(std::fs::read_to_string(file).map_err(Failure::usage)?),
        None => builtin(),
    };
    let (Some(text), Some(decider)) = (text, decider) else {
        let missing = "the flavour has no rules for the door: name a file in ingress.guard.routes_file";
        return Err(Failure::usage(anyhow::anyhow!("{missing} (flavour {name})")));
    };
    Ok(Guard::new(GuardParts {
        routes: Routes::parse(&text).map_err(Failure::usage)?,
        cache: Arc::clone(cache),
        router: Arc::clone(router),
        decider: Arc::clone(decider),
        settings,
        metrics: Arc::clone(&process.metrics),
    }))
}

/// Makes what finds out who asks, for the door and whoever asks what it would do.
pub(super) fn callers(process: &Process, identity: Arc<Identity>) -> Result<Callers, Failure> {
    let (settings, metrics) = (&process.settings.ingress, Arc::clone(&process.metrics));
    settings.callers(identity, metrics).map_err(Failure::usage)
}

/// Opens the door in front of the application, if there is to be one.
pub(super) async fn ingress(
    process: &Process,
    callers: Arc<Callers>,
    guard: Arc<Guard>,
) -> Result<Option<IngressHandle>, Failure> {
    let parts = IngressParts {
        callers,
        guard,
        settings: process.settings.ingress.clone(),
        metrics: Arc::clone(&process.metrics),
        drain: process.shut.clone(),
    };
    Box::pin(Ingress::start(parts, &process.tasks))
        .await
        .map_err(|error| Failure::of_listener(error, "ingress.listen"))
}

/// Starts the `ext_authz` listener, if there is to be one.
pub(super) async fn ext_authz(
    process: &Process,
    callers: Arc<Callers>,
    guard: Arc<Guard>,
) -> Result<Option<ExtAuthzHandle>, Failure> {
    let door = &process.settings.ingress;
    let parts = ExtAuthzParts {
        callers,
        guard,
        settings: process.settings.ext_authz.clone(),
        body_bytes_max: door.body_bytes_max,
        judged_bytes_max: door.judged_bytes_max.min(door.body_bytes_max),
        decision: Duration::from_millis(door.decision_ms),
        readiness: process.readiness.clone(),
        metrics: Arc::clone(&process.metrics),
        drain: process.shut.clone(),
    };
    ExtAuthz::start(parts, &process.tasks)
        .await
        .map_err(|error| Failure::of_listener(error, "ext_authz.listen"))
}
