//! The stage: one application's database with a primary that may fail over, two kinds of Redis, and four real sidecars, each behind links of its own.
//!
//! Sidecars 1 and 2 share a single Redis, 3 and 4 one that a Sentinel keeps. Every connection of a sidecar or writer to PostgreSQL goes through
//! a [`Link`], so that it can be cut, and led to another server when that one is promoted.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{
    Application, Database, Link, PgBouncer, Population, Postgres, PostgresVersion, Redis, RedisSentinel, Scratch,
    Sidecar, SidecarOptions, WallClock, run,
};
use tokio::sync::{Mutex as AsyncMutex, RwLock};
use tokio_postgres::{Client, NoTls};

use super::{
    client::Connection,
    registers::{GROUPS, Registers, USERS},
};

pub(crate) const SIDECARS: usize = 4;
/// The longest that the nemesis sets.
pub(crate) const LEASE: Duration = Duration::from_millis(50);
pub(crate) const STALENESS_BOUND: Duration = Duration::from_millis(500);
/// Few, so that the limit is soon reached.
const CONNECTIONS_MAX: &str = "90";

/// Where a sidecar answers now; it has other ports after a restart.
#[derive(Debug, Clone)]
struct Address {
    port: u16,
    socket: PathBuf,
}

/// A way to one sidecar, whichever process that is by now.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    address: Arc<Mutex<Address>>,
    by_socket: bool,
}

impl Door {
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let address = self.address.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if self.by_socket {
            Connection::to_socket(&address.socket).await
        } else {
            Connection::to_port(address.port).await
        }
    }

    pub(crate) fn shows_secrets(&self) -> bool {
        self.by_socket
    }
}

/// One sidecar and what leads to and from it.
pub(crate) struct Place {
    /// `None` while it is dead. Who kills it holds the lock until it is back.
    pub(crate) sidecar: AsyncMutex<Option<Sidecar>>,
    options: SidecarOptions,
    address: Arc<Mutex<Address>>,
    pub(crate) postgres_link: Link,
}

impl Place {
    fn start(options: SidecarOptions, postgres_link: Link) -> Result<Self> {
        let sidecar = Sidecar::launch(&options)?;
        let address = Arc::new(Mutex::new(address_of(&sidecar)));
        Ok(Self {
            sidecar: AsyncMutex::new(Some(sidecar)),
            options,
            address,
            postgres_link,
        })
    }

    /// Starts a new process in place of one that is dead.
    pub(crate) fn launch(&self) -> Result<Sidecar> {
        let sidecar = Sidecar::launch(&self.options)?;
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address_of(&sidecar);
        Ok(sidecar)
    }

    pub(crate) fn door(&self, by_socket: bool) -> Door {
        Door {
            address: Arc::clone(&self.address),
            by_socket,
        }
    }
}

fn address_of(sidecar: &Sidecar) -> Address {
    Address {
        port: sidecar.api_port(),
        socket: sidecar.socket(),
    }
}

/// Everything that runs.
pub(crate) struct Stage {
    // Dropped in this order: who leans on others before these.
    pub(crate) places: Vec<Place>,
    pooler: PgBouncer,
    /// Between the writers and the primary.
    pub(crate) writers_link: Link,
    database: Database,
    pub(crate) redis_link: Link,
    pub(crate) redis: Redis,
    pub(crate) sentinel: RedisSentinel,
    primary: Mutex<Arc<Postgres>>,
    pub(crate) wall_clock: WallClock,
    pub(crate) registers: Registers,
    /// Held shared by every write. Held alone where a limit that is told to users (L4) would make a read old by right.
    pub(crate) gate: RwLock<()>,
    /// The safeguards that are taken away, for a build that can do without.
    without: Option<String>,
    keys: Scratch,
}

impl Stage {
    /// Starts everything and waits until every sidecar is ready.
    pub(crate) async fn set(without: Option<&str>) -> Result<Self> {
        let wall_clock = WallClock::new()?;
        let settings = [
            ("fsync", "off"),
            ("max_connections", CONNECTIONS_MAX),
            ("max_wal_size", "4GB"),
        ];
        let primary = Postgres::start_by(&wall_clock, PostgresVersion::from_environment(), &settings).await?;
        let database = primary.fresh_database(Application::OpenWebUi012).await?;
        let client = database.connect().await?;
        let population = Population {
            users: USERS,
            groups: GROUPS,
            api_keys: USERS,
            ..Population::default()
        };
        Application::OpenWebUi012.populate(&client, population).await?;
        let registers = Registers::set_up(&client).await?;
        let redis = Redis::start().await?;
        let keys = Scratch::new()?;
        std::fs::write(keys.path().join("keys"), "5a".repeat(32)).context("write a key file")?;
        let writers_link = Link::to(primary.port()).await?;
        let mut stage = Self {
            places: Vec::new(),
            pooler: PgBouncer::start(writers_link.port(), "session").await?,
            writers_link,
            redis_link: Link::to(redis.port()).await?,
            redis,
            sentinel: RedisSentinel::start().await?,
            database,
            primary: Mutex::new(Arc::new(primary)),
            wall_clock,
            registers,
            gate: RwLock::new(()),
            without: without.map(str::to_owned),
            keys,
        };
        stage.install().await?;
        stage.start_sidecars().await?;
        Ok(stage)
    }

    async fn start_sidecars(&mut self) -> Result<()> {
        for number in 0..SIDECARS {
            let link = Link::to(self.primary().port()).await?;
            let redis = if number < SIDECARS / 2 {
                self.redis.url_through(self.redis_link.port())
            } else {
                self.sentinel.url()
            };
            let mut options = SidecarOptions::new(self.database.url_through(link.port()))
                .with_redis(redis)
                .with("NEVERSTALE_REDIS__KEY_FILE", self.keys.path().join("keys").display())
                .with("NEVERSTALE_REDIS__BUDGET_MS", 50)
                .with("NEVERSTALE_API__SESSION_REVOCATION_CHECKED", false)
                .with("NEVERSTALE_FEED__RELAY_RETRY_MS", 200)
                .with("NEVERSTALE_FEED__STALENESS_BOUND_MS", STALENESS_BOUND.as_millis())
                .with("NEVERSTALE_FEED__LOG_ROWS_KEPT", 200)
                .with("NEVERSTALE_FEED__PRUNE_SECONDS", 5)
                .with("NEVERSTALE_AUDIT__INTERVAL_MS", 200);
            if let Some(without) = &self.without {
                options = options.with("NEVERSTALE_WITHOUT", without);
            }
            self.places.push(Place::start(options, link)?);
        }
        for place in &self.places {
            let sidecar = place.sidecar.lock().await;
            sidecar
                .as_ref()
                .context("a sidecar was started")?
                .ready(Duration::from_secs(30))
                .await?;
        }
        Ok(())
    }

    /// Brings triggers and functions to what they should be, as an operator does.
    pub(crate) async fn install(&self) -> Result<()> {
        self.neverstale(&["install", "--lease-ms", &LEASE.as_millis().to_string()])
            .await
    }

    /// Changes the lease, as an operator does.
    pub(crate) async fn set_lease(&self, lease_ms: u128) -> Result<()> {
        self.neverstale(&["lease", &lease_ms.to_string()]).await
    }

    async fn neverstale(&self, arguments: &[&str]) -> Result<()> {
        let url = self.primary().url(self.database.name());
        let mut environment = vec![("DATABASE_URL", url.as_str())];
        environment.extend(self.without.as_deref().map(|without| ("NEVERSTALE_WITHOUT", without)));
        run(arguments, &environment).await.map(drop)
    }

    pub(crate) fn primary(&self) -> Arc<Postgres> {
        Arc::clone(&self.primary.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leads everybody to another primary; the old one ends.
    pub(crate) fn follow(&self, primary: Postgres) {
        for link in self.postgres_links() {
            link.lead_to(primary.port());
        }
        *self.primary.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(primary);
    }

    /// All ways to PostgreSQL.
    pub(crate) fn postgres_links(&self) -> impl Iterator<Item = &Link> {
        self.places
            .iter()
            .map(|place| &place.postgres_link)
            .chain([&self.writers_link])
    }

    /// A session of the nemesis: straight to the primary, and impatient.
    pub(crate) async fn admin(&self) -> Result<Client> {
        let client = self.primary().connect(self.database.name()).await?;
        client
            .batch_execute("SET lock_timeout = '3s'; SET statement_timeout = '10s'")
            .await?;
        Ok(client)
    }

    /// A writer's own session.
    pub(crate) async fn writer(&self) -> Result<Client> {
        self.connect(self.writers_link.port()).await
    }

    /// A session through the pooler.
    pub(crate) async fn pooled_writer(&self) -> Result<Client> {
        self.connect(self.pooler.port()).await
    }

    async fn connect(&self, port: u16) -> Result<Client> {
        let url = format!("{}?connect_timeout=3", self.database.url_through(port));
        let connecting = tokio_postgres::connect(&url, NoTls);
        let (client, connection) = tokio::time::timeout(Duration::from_secs(4), connecting)
            .await
            .context("connect a writer")??;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Ends every fault that may still be on.
    pub(crate) async fn heal(&self) -> Result<()> {
        for link in self.postgres_links().chain([&self.redis_link]) {
            link.delay(Duration::ZERO);
            link.restore();
        }
        self.install().await?;
        for (number, place) in self.places.iter().enumerate() {
            let mut sidecar = place.sidecar.lock().await;
            if sidecar.is_none() {
                *sidecar = Some(place.launch()?);
            }
            let sidecar = sidecar.as_ref().context("it runs now")?;
            sidecar.resume()?;
            let ended = sidecar.exited(Duration::ZERO).await;
            ensure!(
                ended.is_err(),
                "sidecar {} ended by itself: {ended:?}\n{}",
                number + 1,
                sidecar.log()
            );
        }
        Ok(())
    }
}
