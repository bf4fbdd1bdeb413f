//! Starts the `api` listener from its parts.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use neverstale_cache::{Auditor, Cache};
use neverstale_flavour::Router;
use neverstale_identity::Identity;
use neverstale_lifecycle::{CancellationToken, Tasks, Watched};
use neverstale_listener::{Activity, Limits, Listener, Manner, Peer, ServerTls, Tokens};
use neverstale_postgres::Writer;
use neverstale_rbac::Decider;
use neverstale_telemetry::{Listener as Label, Metrics};
use tokio::sync::Semaphore;

use crate::{access::Access, error::ApiError, openapi, service::ApiService, settings::ApiSettings, shared::Shared};

/// While draining, a connection that is quiet for so long is closed.
const DRAIN_QUIET: Duration = Duration::from_secs(1);

/// Everything that the `api` listener is made of.
pub struct ApiParts {
    /// Answers reads.
    pub cache: Arc<Cache>,
    /// Decides who may do what; none where the flavour has no rules.
    pub decider: Option<Arc<Decider>>,
    /// Writes what callers ask to, where that is allowed.
    pub writer: Writer,
    /// Finds the views.
    pub router: Arc<Router>,
    /// Is offered answers from cache.
    pub auditor: Arc<Auditor>,
    /// Knows whose session or API key it is.
    pub identity: Arc<Identity>,
    /// The section `api`.
    pub settings: ApiSettings,
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
        let limits = Limits {
            connections_max: settings.connections_max as usize,
            first_request: Duration::from_millis(settings.first_request_ms),
            idle: Duration::from_secs(settings.idle_seconds),
            drain_quiet: DRAIN_QUIET,
        };
        let listener = Listener::new("api.watch", Manner::Own, limits, &parts.metrics, parts.drain, tasks);
        let shared = Arc::new(Shared {
            openapi: openapi::published(parts.router.flavour(), settings),
            access: Access {
                tokens,
                is_socket_token_required: settings.socket_token_required,
            },
            identity: parts.identity,
            places: Semaphore::new(settings.requests_in_flight_max as usize),
            subscribers: Arc::new(Semaphore::new(settings.event_subscribers_max as usize)),
            is_draining: listener.is_draining(),
            drain: listener.drain_begun(),
            cache: parts.cache,
            decider: parts.decider,
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
