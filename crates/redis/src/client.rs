//! The connections to Redis: made in the background, kept for the life of the process, shared by everything in this crate.
//!
//! The only file that sets up fred. Commands are sent once, never queued for a connection that is gone, and given up in time; a
//! connection that stays silent is replaced. What is sent over them stands in `values`, `keys`, `broadcast` and `probe`.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Client,
    interfaces::{ClientLike, EventInterface},
    types::{
        Builder,
        config::{
            ClusterDiscoveryPolicy, Config, ConnectionConfig, Options, PerformanceConfig, ReconnectPolicy, Server,
            ServerConfig, TcpConfig, TlsConfig, TlsHostMapping, UnresponsiveConfig,
        },
    },
};
use neverstale_lifecycle::{Backoff, Clock, Tasks};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::sync::{Semaphore, broadcast::error::RecvError};
use tracing::{info, warn};

use crate::{
    address::{Address, Host, Target},
    breaker::{Breaker, Phase},
    error::RedisError,
    settings::RedisSettings,
};

/// Reads of L2 and of revocation keys under way at once; more are misses.
const READS_MAX: usize = 512;
/// Writes to L2 under way at once; more are dropped, because the next fill of the key writes it again.
const WRITES_MAX: usize = 64;
/// How long a connection may take to stand, TLS and login included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that owes an answer for this long is replaced.
const SILENCE_MAX: Duration = Duration::from_secs(2);
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_millis(500);
/// Messages kept for a subscriber that is slow to take them; when more come it hears of a gap.
const MESSAGES_MAX: usize = 64;

/// Redis as this process uses it. Clones share their connections.
#[derive(Clone)]
pub struct Redis {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    clients: Vec<Client>,
    next: AtomicUsize,
    builder: Builder,
    target: Target,
    pub(crate) settings: RedisSettings,
    pub(crate) tasks: Tasks,
    pub(crate) clock: Clock,
    breaker: Mutex<Breaker>,
    pub(crate) reads: Semaphore,
    pub(crate) writes: Semaphore,
    #[cfg(feature = "simulation")]
    pub(crate) stand_in: Option<Arc<dyn crate::simulated::StandIn>>,
}

impl Shared {
    fn new(
        clients: Vec<Client>,
        builder: Builder,
        target: Target,
        settings: &RedisSettings,
        tasks: &Tasks,
        clock: &Clock,
    ) -> Self {
        Self {
            clients,
            next: AtomicUsize::new(0),
            builder,
            target,
            settings: settings.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
            breaker: Mutex::new(Breaker::new()),
            reads: Semaphore::new(READS_MAX),
            writes: Semaphore::new(WRITES_MAX),
            #[cfg(feature = "simulation")]
            stand_in: None,
        }
    }
}

/// Whether Redis is of use now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// A connection stands and commands are sent.
    Available,
    /// A connection stands, but Redis has failed so often that it is left alone, or has just been sent a probe.
    Avoided,
    /// No connection stands.
    Disconnected,
}

impl Redis {
    /// Sets up the connections and begins to make them in the background; returns at once, whether Redis is there or not.
    ///
    /// # Errors
    /// The settings name no usable Redis.
    pub fn connect(settings: &RedisSettings, tasks: &Tasks, clock: &Clock) -> Result<Self, RedisError> {
        let (target, builder) = builder(settings)?;
        let clients = (0..settings.connections.max(1))
            .map(|_| build(&builder, &target))
            .collect::<Result<Vec<_>, _>>()?;
        for client in &clients {
            tasks.spawn("redis.connection", keep_connected(client.clone(), tasks.clone()));
        }
        tasks.spawn(
            "redis.watch",
            tell_of_changes(clients[0].clone(), target.to_string(), tasks.clone()),
        );
        Ok(Self::of(Shared::new(clients, builder, target, settings, tasks, clock)))
    }

    /// Sends every command to `stand_in`, and connects to nothing.
    ///
    /// # Errors
    /// The settings name no usable Redis.
    #[cfg(feature = "simulation")]
    pub fn standing_in(
        stand_in: Arc<dyn crate::simulated::StandIn>,
        settings: &RedisSettings,
        tasks: &Tasks,
        clock: &Clock,
    ) -> Result<Self, RedisError> {
        let (target, builder) = builder(settings)?;
        let mut shared = Shared::new(Vec::new(), builder, target, settings, tasks, clock);
        shared.stand_in = Some(stand_in);
        Ok(Self::of(shared))
    }

    fn of(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Says where Redis is and of which kind, without credentials.
    pub fn target(&self) -> &Target {
        &self.shared.target
    }

    /// Says whether Redis is of use now: the gauge of L2.
    pub fn availability(&self) -> Availability {
        if !self.is_connected() {
            Availability::Disconnected
        } else if self.phase() == Phase::Closed {
            Availability::Available
        } else {
            Availability::Avoided
        }
    }

    /// Says what the breaker of L2 does now.
    pub fn phase(&self) -> Phase {
        self.breaker().phase()
    }

    /// Says whether any connection stands.
    pub fn is_connected(&self) -> bool {
        self.shared.clients.iter().any(ClientLike::is_connected)
    }

    /// Gives a connection that stands, a different one each time.
    pub(crate) fn client(&self) -> Option<&Client> {
        let clients = &self.shared.clients;
        let start = self.shared.next.fetch_add(1, Ordering::Relaxed);
        (0..clients.len())
            .map(|offset| &clients[start.wrapping_add(offset) % clients.len()])
            .find(|client| client.is_connected())
    }

    /// Makes one more connection, kept like the others, for a subscription.
    pub(crate) fn new_client(&self) -> Result<Client, RedisError> {
        let client = build(&self.shared.builder, &self.shared.target)?;
        #[cfg(feature = "simulation")]
        if self.shared.stand_in.is_some() {
            return Ok(client);
        }
        self.shared.tasks.spawn(
            "redis.subscription",
            keep_connected(client.clone(), self.shared.tasks.clone()),
        );
        Ok(client)
    }

    pub(crate) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.shared.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Redis {
    /// Leaves out what the client was built from: there is a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({}, {:?})", self.shared.target, self.availability())
    }
}

/// Options of a command that is sent once, to a connection that stands, and given up after `timeout`.
pub(crate) fn once_within(timeout: Duration) -> Options {
    Options {
        max_attempts: Some(1),
        timeout: Some(timeout),
        fail_fast: true,
        ..Options::default()
    }
}

/// Turns settings into what makes clients.
pub(crate) fn builder(settings: &RedisSettings) -> Result<(Target, Builder), RedisError> {
    let url = settings.url.as_ref().ok_or(RedisError::NoUrl)?;
    let address = Address::parse(url.expose()).map_err(|reason| RedisError::Url { reason })?;
    let is_cluster = matches!(address.target, Target::Cluster(_));
    let authorities = settings.tls_ca_file.as_deref().or(address.tls_ca_file.as_deref());
    let secret = |secret: &neverstale_settings::Secret| secret.expose().to_owned();
    let sentinel_username = settings.sentinel_username.clone().or(address.sentinel_username);
    let sentinel_password = settings
        .sentinel_password
        .as_ref()
        .or(address.sentinel_password.as_ref())
        .map(secret);
    let config = Config {
        // The first failure ends the client's own loop; ours starts it again without its pause before the first attempt.
        fail_fast: true,
        username: address.username,
        password: address.password.as_ref().map(secret),
        server: match &address.target {
            Target::Host(host) => ServerConfig::Centralized { server: server(host) },
            Target::Socket(path) => ServerConfig::Unix { path: path.clone() },
            Target::Sentinel { hosts, service } => ServerConfig::Sentinel {
                hosts: hosts.iter().map(server).collect(),
                service_name: service.clone(),
                username: sentinel_username,
                password: sentinel_password,
            },
            Target::Cluster(hosts) => ServerConfig::Clustered {
                hosts: hosts.iter().map(server).collect(),
                policy: ClusterDiscoveryPolicy::UseCache,
            },
        },
        database: (address.database != 0 && !is_cluster).then_some(address.database),
        tls: if address.tls {
            Some(tls(authorities, is_cluster)?)
        } else {
            None
        },
        ..Config::default()
    };
    let mut builder = Builder::from_config(config);
    builder.set_connection_config(ConnectionConfig {
        connection_timeout: CONNECT_TIMEOUT,
        internal_command_timeout: CONNECT_TIMEOUT,
        max_command_attempts: 1,
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(SILENCE_MAX),
            interval: SILENCE_MAX / 4,
        },
        reconnect_on_auth_error: true,
        tcp: TcpConfig {
            nodelay: Some(true),
            ..TcpConfig::default()
        },
        ..ConnectionConfig::default()
    });
    builder.set_performance_config(PerformanceConfig {
        broadcast_channel_capacity: MESSAGES_MAX,
        ..PerformanceConfig::default()
    });
    let mut policy =
        ReconnectPolicy::new_exponential(0, RECONNECT_MIN.as_millis() as u32, RECONNECT_MAX.as_millis() as u32, 2);
    policy.set_jitter(RECONNECT_MIN.as_millis() as u32);
    builder.set_policy(policy);
    Ok((address.target, builder))
}

/// Makes a client that does not connect yet.
pub(crate) fn build(builder: &Builder, target: &Target) -> Result<Client, RedisError> {
    builder.build().map_err(|source| RedisError::Client {
        target: target.to_string(),
        source,
    })
}

fn server(host: &Host) -> Server {
    Server::new(host.name.as_str(), host.port)
}

fn tls(authorities: Option<&Path>, is_cluster: bool) -> Result<TlsConfig, RedisError> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = authorities {
        let read = |source| RedisError::ReadAuthorities {
            path: path.to_owned(),
            source,
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
            roots.add(certificate.map_err(read)?).map_err(RedisError::Tls)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err(RedisError::NoAuthorities);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(RedisError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A Cluster tells its nodes by IP address, while certificates carry the name that we were given.
    let hostnames = if is_cluster {
        TlsHostMapping::DefaultHost
    } else {
        TlsHostMapping::None
    };
    Ok(TlsConfig {
        connector: config.into(),
        hostnames,
    })
}

/// Keeps one client connected until shutdown.
///
/// The client itself reconnects after it was connected once; it gives up after a first failure, and after errors that it
/// takes for our mistakes, such as a wrong password, which an operator may mend on the server.
async fn keep_connected(client: Client, tasks: Tasks) {
    let shutdown = tasks.shutdown();
    let mut backoff = Backoff::new(RECONNECT_MIN, RECONNECT_MAX);
    let keep = async {
        loop {
            let was_connected = matches!(client.connect().await, Ok(Ok(())));
            if was_connected {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    };
    shutdown.run_until_cancelled(keep).await;
}

/// Logs when Redis goes and when it comes back, once each.
async fn tell_of_changes(client: Client, target: String, tasks: Tasks) {
    let mut errors = client.error_rx();
    let mut connections = client.reconnect_rx();
    let mut told_connected = None;
    let tell = async {
        loop {
            tokio::select! {
                connected = connections.recv() => {
                    if connected == Err(RecvError::Closed) {
                        return;
                    }
                    if told_connected == Some(true) {
                        continue;
                    }
                    told_connected = Some(true);
                    info!(redis.target = target, "connected to Redis");
                }
                error = errors.recv() => {
                    let Ok((error, _)) = error else { continue };
                    if told_connected == Some(false) || client.is_connected() {
                        continue;
                    }
                    told_connected = Some(false);
                    warn!(redis.target = target, error = %error, "Redis is out of reach: reads go on without L2");
                }
            }
        }
    };
    tasks.shutdown().run_until_cancelled(tell).await;
}
