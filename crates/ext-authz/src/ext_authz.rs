//! Starts the `ext_authz` listener from its parts.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use neverstale_guard::{callers::Callers, guard::Guard};
use neverstale_lifecycle::{CancellationToken, Readiness, Tasks};
use neverstale_listener::{Activity, Limits, Listener, Manner, Peer};
use neverstale_telemetry::{Listener as Label, Metrics};
use tonic_health::server::HealthReporter;

use crate::{
    ExtAuthzError, ExtAuthzSettings,
    check::{Bounds, Checker},
    health,
    proto::authorization_server::AuthorizationServer,
    service::GrpcService,
};

/// A new connection has so long for its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Longer than Envoy keeps an idle connection by default (an hour), so that it is Envoy who closes it, and no request is lost.
const IDLE: Duration = Duration::from_hours(2);
/// While draining, a connection of HTTP/1 that is quiet for so long is closed.
const DRAIN_QUIET: Duration = Duration::from_secs(1);
/// What a message takes beside the body: the head, its names twice, and what Envoy tells of the connection.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// Everything that the `ext_authz` listener is made of.
pub struct ExtAuthzParts {
    /// Finds out who asks.
    pub callers: Arc<Callers>,
    /// Decides.
    pub guard: Arc<Guard>,
    /// The section `ext_authz`.
    pub settings: ExtAuthzSettings,
    /// Limits the body of a request (`ingress.body_bytes_max`).
    pub body_bytes_max: u64,
    /// Limits a body that is judged (`ingress.judged_bytes_max`).
    pub judged_bytes_max: u64,
    /// How long a decision may wait for its facts (`ingress.decision_ms`).
    pub decision: Duration,
    /// What the health service tells.
    pub readiness: Readiness,
    /// Where the numbers go.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the listener should drain while everything behind it goes on.
    pub drain: CancellationToken,
}

/// The `ext_authz` listener.
pub struct ExtAuthz;

/// The `ext_authz` listener as it runs.
pub struct ExtAuthzHandle {
    /// The TCP address that was bound, if it listens there.
    pub local_addr: Option<SocketAddr>,
    listener: Listener,
}

impl ExtAuthzHandle {
    /// Waits until the listener has been drained: told to, and no connection is open any more.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn drained(&self) {
        self.listener.drained().await;
    }
}

impl ExtAuthz {
    /// Binds what is set and begins to answer. Without a place to listen there is nothing to do.
    ///
    /// # Errors
    /// The address or the socket is taken.
    pub async fn start(parts: ExtAuthzParts, tasks: &Tasks) -> Result<Option<ExtAuthzHandle>, ExtAuthzError> {
        let settings = parts.settings;
        if !settings.is_on() {
            return Ok(None);
        }
        let limits = Limits {
            connections_max: settings.connections_max as usize,
            first_request: FIRST_REQUEST,
            idle: IDLE,
            drain_quiet: DRAIN_QUIET,
        };
        let listener = Listener::new(
            "ext_authz.watch",
            Manner::Own,
            limits,
            &parts.metrics,
            parts.drain,
            tasks,
        );
        let reporter = HealthReporter::new();
        let health = health::service(&reporter);
        tasks.spawn(
            "ext_authz.health",
            health::report(reporter, parts.readiness, listener.drain_begun(), tasks.shutdown()),
        );
        let message_bytes_max = parts.judged_bytes_max as usize + HEAD_BYTES_MAX;
        let checker = Checker {
            callers: parts.callers,
            guard: parts.guard,
            metrics: Arc::clone(&parts.metrics),
            bounds: Bounds {
                body_bytes_max: parts.body_bytes_max,
                judged_bytes_max: parts.judged_bytes_max,
                decision: parts.decision,
            },
            unchanged_allowed: settings.unchanged_allowed,
            identity_headers_trusted: settings.identity_headers_trusted,
        };
        let authorization = AuthorizationServer::new(checker).max_decoding_message_size(message_bytes_max);
        let metrics = parts.metrics;
        let make = move |_: Peer, activity: Arc<Activity>| GrpcService {
            authorization: authorization.clone(),
            health: health.clone(),
            metrics: Arc::clone(&metrics),
            activity,
        };
        let mut local_addr = None;
        if let Some(listen) = &settings.listen {
            let address = listener
                .tcp("ext_authz.tcp", Label::ExtAuthz, listen, None, make.clone())
                .await?;
            tracing::info!(%address, "ext_authz listens");
            local_addr = Some(address);
        }
        if let Some(path) = &settings.socket {
            listener.unix("ext_authz.socket", Label::ExtAuthz, path, make).await?;
            tracing::info!(path = %path.display(), "ext_authz listens");
        }
        Ok(Some(ExtAuthzHandle { local_addr, listener }))
    }
}

impl ExtAuthzSettings {
    /// Says whether there is a place to listen.
    pub fn is_on(&self) -> bool {
        self.listen.is_some() || self.socket.is_some()
    }
}
