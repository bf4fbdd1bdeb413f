//! Starts the `admin` listener from its parts.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use neverstale_cache::Cache;
use neverstale_lifecycle::{CancellationToken, FileError, Readiness, Tasks, Watched};
use neverstale_listener::{Activity, Limits, ListenError, Listener, Manner, Peer, ServerTls, Tokens};
use neverstale_rbac::Survey;
use neverstale_redis::Redis;
use neverstale_telemetry::{Listener as Label, Metrics};
use neverstale_wire::status::InstallationStatus;
use tokio::time::Instant;

use crate::{service::AdminService, settings::AdminSettings};

/// A probe or a scrape comes at once, or not at all.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Scrapers keep their connections between scrapes.
const IDLE: Duration = Duration::from_mins(3);

/// Everything that the `admin` listener is made of.
pub struct AdminParts {
    /// What is shown, from the moment on when the schema is known; probes answer before.
    pub shown: Arc<OnceLock<Shown>>,
    /// Why the process is not ready.
    pub readiness: Readiness,
    /// All numbers.
    pub metrics: Arc<Metrics>,
    /// The version of the program.
    pub version: &'static str,
    /// The section `admin`.
    pub settings: AdminSettings,
    /// Cancelled when the process is to drain: readiness ends then, this listener does not.
    pub drain: CancellationToken,
    /// Cancelled by `POST /quitquitquit`.
    pub quit: CancellationToken,
    /// Cancelled by `POST /drain`: the door drains, and everything else goes on.
    pub shut: CancellationToken,
}

/// What reads are answered with.
pub struct Shown {
    /// Shows what it knows.
    pub cache: Arc<Cache>,
    /// L2's connections; none when no URL is set.
    pub redis: Option<Redis>,
    /// Whether values in L2 are sealed.
    pub is_l2_sealed: bool,
    /// Looks up who may do what; none where the flavour has no views for that.
    pub survey: Option<Survey>,
    /// The bound of L1: `cache.l1.bytes_max`.
    pub l1_bytes_max: u64,
    /// The views that are served, by name.
    pub views: Vec<String>,
    /// What is installed, as far as it was known at the start; whether it is sound now is seen by the feed.
    pub installation: InstallationStatus,
}

/// The `admin` listener can't be started.
#[derive(Debug, thiserror::Error)]
#[error("start the admin listener")]
pub struct AdminError(#[from] ListenError);

impl From<FileError> for AdminError {
    fn from(error: FileError) -> Self {
        Self(error.into())
    }
}

/// The `admin` listener.
pub struct Admin;

/// The `admin` listener as it runs.
pub struct AdminHandle {
    /// The address that was bound.
    pub local_addr: SocketAddr,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) parts: AdminParts,
    /// Whose end means that the process is not live.
    pub(crate) tasks: Tasks,
    pub(crate) tokens: Option<Watched<Tokens>>,
    /// Ready once, started for ever.
    pub(crate) has_started: Arc<AtomicBool>,
    pub(crate) started_at: Instant,
}

impl Admin {
    /// Binds the address and begins to serve. Until shutdown; readiness ends as soon as the process is to drain.
    ///
    /// # Errors
    /// The address is taken, or the token file can't be used.
    pub async fn start(parts: AdminParts, tasks: &Tasks) -> Result<AdminHandle, AdminError> {
        let tokens = match &parts.settings.token_file {
            Some(file) => Some(Watched::start(
                "admin.tokens",
                vec![file.clone()],
                |contents| Tokens::parse(&contents[0]),
                tasks,
            )?),
            None => None,
        };
        let has_started = Arc::<AtomicBool>::default();
        let watching = watch_readiness(
            parts.readiness.clone(),
            Arc::clone(&has_started),
            parts.drain.clone(),
            tasks.shutdown(),
        );
        tasks.spawn("admin.readiness", watching);
        let (cert, key) = (
            parts.settings.tls_cert_file.as_ref(),
            parts.settings.tls_key_file.as_ref(),
        );
        let tls = ServerTls::where_named("admin.certificate", cert, key, tasks)?;
        let limits = Limits {
            connections_max: parts.settings.connections_max as usize,
            first_request: FIRST_REQUEST,
            idle: IDLE,
            drain_quiet: Duration::ZERO,
        };
        let listener = Listener::new(
            "admin.watch",
            Manner::Own,
            limits,
            &parts.metrics,
            tasks.shutdown(),
            tasks,
        );
        let shared = Arc::new(Shared {
            parts,
            tasks: tasks.clone(),
            tokens,
            has_started,
            started_at: Instant::now(),
        });
        let make = {
            let shared = Arc::clone(&shared);
            move |peer: Peer, activity: Arc<Activity>| AdminService {
                shared: Arc::clone(&shared),
                peer,
                activity,
            }
        };
        let local_addr = listener
            .tcp("admin.tcp", Label::Admin, &shared.parts.settings.listen, tls, make)
            .await?;
        tracing::info!(address = %local_addr, "the admin listens");
        Ok(AdminHandle { local_addr })
    }
}

/// Notes the first time that the process is ready, and ends readiness when it is to drain.
async fn watch_readiness(
    readiness: Readiness,
    has_started: Arc<AtomicBool>,
    drain: CancellationToken,
    shutdown: CancellationToken,
) {
    let starting = async {
        readiness.ready().await;
        has_started.store(true, Ordering::Relaxed);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased; // The end comes first.
        () = drain.cancelled() => {}
        () = shutdown.cancelled() => {}
        () = starting => {}
    }
    readiness.set("shutdown", Some("the process is shutting down".to_owned()));
    shutdown.cancelled().await;
}
