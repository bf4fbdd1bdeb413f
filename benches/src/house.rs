//! What every scenario lives in: one Postgres, one Redis, the release binary, and how much of each there is to be.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{
    Application, Database, Population, Postgres, PostgresVersion, Redis, Scratch, Sidecar, SidecarOptions, run_binary,
};

use crate::{
    load::{Load, Outcome},
    pinning::{Apart, LOAD_CORE, Pinning, SERVER_CORE},
};

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Two minutes.
    Quick,
    /// Ten minutes.
    Full,
}

/// What every scenario lives in.
pub(crate) struct House {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) binary: PathBuf,
    pub(crate) pinning: Pinning,
    scale: Scale,
    keys: Scratch,
}

impl House {
    /// Starts the stores and finds or builds the binary.
    pub(crate) async fn open(scale: Scale) -> Result<Self> {
        ensure!(
            cfg!(not(debug_assertions)),
            "measure in release: cargo run --release -p neverstale-benches"
        );
        let binary = neverstale_testkit::neverstale()?;
        // No vacuum or checkpoint of its own in the middle of a round; commits are as durable as an application's.
        let settings = [
            ("autovacuum", "off"),
            ("checkpoint_timeout", "1h"),
            ("max_wal_size", "8GB"),
        ];
        let postgres = Postgres::start(PostgresVersion::from_environment(), &settings).await?;
        let keys = Scratch::new()?;
        std::fs::write(keys.path().join("keys"), "5a".repeat(32)).context("write a key file")?;
        Ok(Self {
            postgres,
            redis: Redis::start().await?,
            binary,
            pinning: Pinning::probe(),
            scale,
            keys,
        })
    }

    /// Chooses by the length of the run.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        match self.scale {
            Scale::Full => full,
            Scale::Quick => quick,
        }
    }

    /// Makes a database of Open WebUI 0.12 with some users, installed with a lease.
    pub(crate) async fn database(&self, users: u32, lease_ms: u32) -> Result<Database> {
        let database = self.bare_database(users).await?;
        self.neverstale(&database, &["install", "--lease-ms", &lease_ms.to_string()])
            .await?;
        Ok(database)
    }

    /// Makes the same database with nothing of ours in it.
    pub(crate) async fn bare_database(&self, users: u32) -> Result<Database> {
        let application = Application::OpenWebUi012;
        let database = self.postgres.fresh_database(application).await?;
        let population = Population {
            users,
            ..Population::default()
        };
        application.populate(&database.connect().await?, population).await?;
        Ok(database)
    }

    /// Runs a command of the binary against a database.
    pub(crate) async fn neverstale(&self, database: &Database, arguments: &[&str]) -> Result<()> {
        run_binary(&self.binary, arguments, &[("DATABASE_URL", database.url())]).await?;
        Ok(())
    }

    /// Options of a sidecar without Redis.
    pub(crate) fn alone(database: &Database) -> SidecarOptions {
        SidecarOptions::new(database.url()).with("NEVERSTALE_DATABASE__SCHEMA", Application::OpenWebUi012.name())
    }

    /// Options of a sidecar with Redis.
    pub(crate) fn with_redis(&self, database: &Database) -> SidecarOptions {
        Self::alone(database).with_redis(self.redis.url())
    }

    /// Options of a sidecar with Redis whose broadcasts carry the rows.
    pub(crate) fn with_broadcasts(&self, database: &Database) -> SidecarOptions {
        self.with_redis(database)
            .with("NEVERSTALE_REDIS__KEY_FILE", self.keys.path().join("keys").display())
    }

    /// Starts a sidecar and waits until it is ready.
    pub(crate) async fn sidecar(&self, options: &SidecarOptions) -> Result<Sidecar> {
        Sidecar::start_binary(&self.binary, options).await
    }

    /// Starts a sidecar on the core of servers.
    pub(crate) async fn pinned_sidecar(&self, options: &SidecarOptions) -> Result<Sidecar> {
        let sidecar = self.sidecar(options).await?;
        self.pinning.pin(process(&sidecar), SERVER_CORE);
        Ok(sidecar)
    }

    /// Holds the stores to the core of servers, before sidecars connect to them.
    pub(crate) async fn apart(&self) -> Result<Apart> {
        let client = self.postgres.connect("postgres").await?;
        let file: String = client
            .query_one("SELECT pg_catalog.pg_read_file('postmaster.pid')", &[])
            .await?
            .get(0);
        let postmaster = file
            .lines()
            .next()
            .unwrap_or_default()
            .parse()
            .context("read the postmaster's process id")?;
        let info = self.redis.command(&["INFO", "server"]).await?;
        let redis = info.lines().find_map(|line| line.trim().strip_prefix("process_id:"));
        let redis = redis.context("read Redis' process id")?.parse()?;
        Ok(Apart::new(self.pinning, vec![postmaster, redis]))
    }

    /// Loads a port from a process of its own, on the core of loads.
    pub(crate) async fn load(&self, load: &Load) -> Result<Outcome> {
        let mut command = self
            .pinning
            .command(LOAD_CORE, std::env::current_exe().context("find this program")?);
        command
            .arg("load")
            .args(load.to_arguments())
            .stderr(std::process::Stdio::inherit());
        let output = tokio::task::spawn_blocking(move || command.output())
            .await?
            .context("start the load")?;
        ensure!(output.status.success(), "the load failed: {}", output.status);
        serde_json::from_slice(&output.stdout).context("read what came of the load")
    }
}

/// The process id of a sidecar.
pub(crate) fn process(sidecar: &Sidecar) -> u32 {
    sidecar.pid().as_raw_nonzero().get().unsigned_abs()
}
