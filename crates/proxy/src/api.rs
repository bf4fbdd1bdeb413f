//! Starts the `api` listener from its parts.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use neverstale_cache::{Auditor, Cache};
use neverstale_flavour::{Router, SessionRules};
use neverstale_lifecycle::{CancellationToken, Clock, Tasks};
use neverstale_postgres::Writer;
use neverstale_redis::Redis;
use neverstale_telemetry::{Listener as Label, Metrics};
use tokio::sync::Semaphore;

use crate::{
    access::{Access, Tokens},
    error::{ApiError, ListenError},
    listener::{Activity, Limits, Listener, Peer, ServerTls},
    openapi,
    service::ApiService,
    sessions::{Revocations, Sessions, Verifier},
    settings::ApiSettings,
    shared::Shared,
    watched::Watched,
};

/// While draining, a connection that is quiet for so long is closed.
const DRAIN_QUIET: Duration = Duration::from_secs(1);

/// Everything that the `api` listener is made of.
pub struct ApiParts {
    /// Answers reads.
    pub cache: Arc<Cache>,
    /// Writes what callers ask to, where that is allowed.
    pub writer: Writer,
    /// Finds the views.
    pub router: Arc<Router>,
    /// Is offered answers from cache.
    pub auditor: Arc<Auditor>,
    /// The application's Redis, for revoked sessions; none when no URL is set.
    pub redis: Option<Redis>,
    /// Begins the application's own keys in Redis: `redis.app_key_prefix`.
    pub app_key_prefix: String,
    /// The section `api`.
    pub settings: ApiSettings,
    /// Judges the times of sessions.
    pub clock: Clock,
    /// Where the numbers go.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the listener should drain while everything else goes on; the end of all tasks drains it too.
    pub drain: CancellationToken,
}

/// The `api` listener.
pub struct Api;

/// The `api` listener as it runs.
pub struct ApiHandle {
    /// The TCP address that was bound.
    pub local_addr: SocketAddr,
    listener: Listener,
}

impl ApiHandle {
    /// Waits until the listener has been drained: told to, and no connection is open any more.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn drained(&self) {
        self.listener.drained().await;
    }
}

impl Api {
    /// Binds TCP and, if one is set, the Unix socket, and begins to serve.
    ///
    /// # Errors
    /// A place to listen is taken, a file can't be used, or settings contradict each other.
    pub async fn start(parts: ApiParts, tasks: &Tasks) -> Result<ApiHandle, ApiError> {
        let settings = &parts.settings;
        if settings.is_contradictory() {
            return Err(ApiError::Conflict("api.socket_token_required needs api.token_file"));
        }
        let tokens = tokens(settings.token_file.as_deref(), tasks)?;
        let (cert, key) = (settings.tls_cert_file.as_ref(), settings.tls_key_file.as_ref());
        let tls = ServerTls::where_named("api.certificate", cert, key, tasks)?;
        let sessions = parts
            .router
            .flavour()
            .session
            .clone()
            .map(|rules| sessions(rules, &parts, tasks))
            .transpose()?;
        let limits = Limits {
            connections_max: settings.connections_max as usize,
            first_request: Duration::from_millis(settings.first_request_ms),
            idle: Duration::from_secs(settings.idle_seconds),
            drain_quiet: DRAIN_QUIET,
        };
        let listener = Listener::new("api.watch", limits, &parts.metrics, parts.drain, tasks);
        let shared = Arc::new(Shared {
            openapi: openapi::published(parts.router.flavour(), settings),
            access: Access {
                tokens,
                is_socket_token_required: settings.socket_token_required,
            },
            sessions,
            places: Semaphore::new(settings.requests_in_flight_max as usize),
            subscribers: Arc::new(Semaphore::new(settings.event_subscribers_max as usize)),
            is_draining: listener.is_draining(),
            drain: listener.drain_begun(),
            cache: parts.cache,
            writer: parts.writer,
            router: parts.router,
            auditor: parts.auditor,
            metrics: parts.metrics,
            settings: parts.settings,
        });
        let make = {
            let shared = Arc::clone(&shared);
            move |peer: Peer, activity: Arc<Activity>| ApiService {
                shared: Arc::clone(&shared),
                peer,
                activity,
            }
        };
        let local_addr = listener
            .tcp("api.tcp", Label::Api, &shared.settings.listen, tls, make.clone())
            .await?;
        tracing::info!(address = %local_addr, "the api listens");
        if let Some(path) = &shared.settings.socket {
            listener.unix("api.socket", Label::ApiSocket, path, make).await?;
            tracing::info!(path = %path.display(), "the api listens");
        }
        Ok(ApiHandle { local_addr, listener })
    }
}

impl ApiSettings {
    fn is_contradictory(&self) -> bool {
        self.socket_token_required && self.token_file.is_none()
    }
}

fn tokens(file: Option<&Path>, tasks: &Tasks) -> Result<Option<Watched<Tokens>>, ApiError> {
    let Some(file) = file else { return Ok(None) };
    let watched = Watched::start(
        "api.tokens",
        vec![file.to_owned()],
        |contents| Tokens::parse(&contents[0]),
        tasks,
    )?;
    Ok(Some(watched))
}

fn sessions(rules: SessionRules, parts: &ApiParts, tasks: &Tasks) -> Result<Sessions, ApiError> {
    let settings = &parts.settings;
    let algorithm = rules.algorithm.clone();
    let unusable = || ApiError::SessionAlgorithm(rules.algorithm.clone());
    Verifier::new(b"", &algorithm).ok_or_else(unusable)?;
    let verifier = match (&settings.session_secret, &settings.session_secret_file) {
        (Some(_), Some(_)) => {
            return Err(ApiError::Conflict(
                "set api.session_secret or api.session_secret_file, not both",
            ));
        }
        (Some(secret), None) => Some(Watched::fixed(
            Verifier::new(secret.expose().as_bytes(), &algorithm).ok_or_else(unusable)?,
        )),
        (None, Some(file)) => {
            let parse = move |contents: &[Vec<u8>]| {
                let secret = contents[0].trim_ascii();
                let verifier = if secret.is_empty() {
                    None
                } else {
                    Verifier::new(secret, &algorithm)
                };
                verifier.ok_or_else(|| "it is empty".to_owned())
            };
            Some(Watched::start("api.session_secret", vec![file.clone()], parse, tasks).map_err(ListenError::File)?)
        }
        (None, None) => None,
    };
    let is_revocable = rules.revocation && settings.session_revocation_checked;
    let revocations = is_revocable.then(|| Revocations {
        redis: parts.redis.clone(),
        key_prefix: parts.app_key_prefix.clone(),
    });
    Ok(Sessions {
        rules,
        verifier,
        revocations,
        clock: parts.clock.clone(),
    })
}
