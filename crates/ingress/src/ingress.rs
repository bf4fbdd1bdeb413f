//! Opens the door from its parts.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use neverstale_guard::callers::Callers;
use neverstale_lifecycle::{CancellationToken, Tasks};
use neverstale_listener::{Activity, Limits, Listener, Manner, Peer, ServerTls};
use neverstale_telemetry::{Listener as Label, Metrics};

use crate::{
    IngressError, IngressSettings,
    guard::Guard,
    service::DoorService,
    shared::{Rules, Shared},
    upstream::{self, Upstream},
    whole::Room,
};

/// While draining, a connection that is quiet for so long is closed.
const DRAIN_QUIET: Duration = Duration::from_secs(1);

/// Everything that the door is made of.
pub struct IngressParts {
    /// Finds out who asks.
    pub callers: Arc<Callers>,
    /// Decides.
    pub guard: Arc<Guard>,
    /// The section `ingress`.
    pub settings: IngressSettings,
    /// Where the numbers go.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the door should drain while everything behind it goes on.
    pub drain: CancellationToken,
}

/// The `ingress` listener.
pub struct Ingress;

/// The `ingress` listener as it runs.
pub struct IngressHandle {
    /// The address that was bound.
    pub local_addr: SocketAddr,
    listener: Listener,
}

impl IngressHandle {
    /// Waits until the door has been drained: told to, and no connection or tunnel is open any more.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn drained(&self) {
        self.listener.drained().await;
    }
}

impl Ingress {
    /// Binds the address and begins to pass requests on. Without an address there is no door.
    ///
    /// # Errors
    /// The address is taken, a file can't be used, or a setting can't be understood.
    pub async fn start(parts: IngressParts, tasks: &Tasks) -> Result<Option<IngressHandle>, IngressError> {
        let settings = &parts.settings;
        let Some(listen) = settings.listen.clone() else {
            return Ok(None);
        };
        let rules = Rules::read(settings)?;
        let upstream = Upstream::new(settings, tasks).map_err(upstream::wrong)?;
        let (cert, key) = (settings.tls_cert_file.as_ref(), settings.tls_key_file.as_ref());
        let tls = ServerTls::where_named("ingress.certificate", cert, key, tasks)?;
        let limits = Limits {
            connections_max: settings.connections_max as usize,
            first_request: Duration::from_millis(settings.first_request_ms),
            idle: Duration::from_secs(settings.keep_alive_seconds),
            drain_quiet: DRAIN_QUIET,
        };
        let listener = Listener::new(
            "ingress.watch",
            Manner::PassedOn,
            limits,
            &parts.metrics,
            parts.drain,
            tasks,
        );
        let shared = Arc::new(Shared {
            guard: parts.guard,
            callers: parts.callers,
            upstream,
            metrics: parts.metrics,
            tasks: tasks.clone(),
            clients: Arc::default(),
            rules,
            room: Room::new(&parts.settings),
            is_draining: listener.is_draining(),
            drain: listener.drain_begun(),
        });
        let make = move |peer: Peer, activity: Arc<Activity>| DoorService::new(&shared, peer, activity);
        let local_addr = listener.tcp("ingress.tcp", Label::Ingress, &listen, tls, make).await?;
        tracing::info!(address = %local_addr, upstream = parts.settings.upstream, "the ingress listens");
        Ok(Some(IngressHandle { local_addr, listener }))
    }
}
