//! A throw-away PostgreSQL on a loopback port: started, paused, killed, restarted, promoted, followed by a standby.
//!
//! The data directory is copied from a cluster that `initdb` made once per version, so that a server is there in a fraction of a second.
//! Everybody is trusted on loopback, and the superuser is `postgres`.

mod cluster;
mod database;
mod processes;
mod standby;
#[cfg(test)]
mod tests;

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

pub use database::Database;

use crate::{
    ports::free_port,
    provision::{PostgresVersion, postgres_binaries},
    scratch::{Scratch, User},
    supervisor::{Ending, Recipe, Supervised},
    wall_clock::WallClock,
};

const PATIENCE: Duration = Duration::from_mins(1);
/// A free port may be taken by somebody else before the server has it.
const ATTEMPTS: usize = 8;
/// Names the port of a server that `cargo xtask test` shares between all test processes.
pub(crate) const SHARED_PORT: &str = "NEVERSTALE_TEST_POSTGRES_PORT";

/// A running PostgreSQL. It ends when dropped.
#[derive(Debug)]
pub struct Postgres {
    version: PostgresVersion,
    binaries: PathBuf,
    port: u16,
    settings: Vec<(String, String)>,
    /// Of the server's processes; a standby has it too.
    environment: Vec<(String, String)>,
    user: Option<User>,
    process: Mutex<Option<Supervised>>,
    /// `None`: somebody else's server, which we must not stop.
    home: Option<Scratch>,
}

impl Postgres {
    /// Starts a server with further settings, such as `[("fsync", "off")]`; by default `fsync` is on and 200 clients may connect.
    pub async fn start(version: PostgresVersion, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_under(version, settings, &[]).await
    }

    /// Starts a server that lives by a clock of the test's, with its standbys.
    pub async fn start_by(clock: &WallClock, version: PostgresVersion, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_under(version, settings, &clock.environment()).await
    }

    async fn start_under(
        version: PostgresVersion,
        settings: &[(&str, &str)],
        environment: &[(String, String)],
    ) -> Result<Self> {
        let binaries = postgres_binaries(version)?.path;
        let user = User::for_servers()?;
        let home = Scratch::of(user)?;
        let binaries = cluster::reachable_binaries(&binaries, user)?;
        cluster::create(&binaries, user, &home.path().join("data"))?;
        Self::start_in(version, binaries, user, home, settings, environment).await
    }

    /// The server that this test process shares: `cargo xtask test` gives all processes one, otherwise it is started at the first call.
    ///
    /// It runs without `fsync` and must not be stopped, paused or restarted: whoever needs that starts a server.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start_or_borrow).await
    }

    async fn start_or_borrow() -> Result<Self> {
        let version = PostgresVersion::from_environment();
        let Some(port) = env::var(SHARED_PORT).ok().and_then(|port| port.parse().ok()) else {
            return Self::start(version, &[("fsync", "off")]).await;
        };
        let binaries = postgres_binaries(version)?.path;
        Ok(Self {
            version,
            binaries,
            port,
            settings: Vec::new(),
            environment: Vec::new(),
            user: None,
            process: Mutex::new(None),
            home: None,
        })
    }

    async fn start_in(
        version: PostgresVersion,
        binaries: PathBuf,
        user: Option<User>,
        home: Scratch,
        settings: &[(&str, &str)],
        environment: &[(String, String)],
    ) -> Result<Self> {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut postgres = Self {
            version,
            binaries,
            port: free_port()?,
            settings,
            environment: environment.to_vec(),
            user,
            process: Mutex::new(None),
            home: Some(home),
        };
        for _ in 0..ATTEMPTS {
            match postgres.launch().await {
                Err(error) if error.to_string().contains("could not bind") => postgres.port = free_port()?,
                launched => return launched.map(|()| postgres),
            }
        }
        postgres.launch().await?;
        Ok(postgres)
    }

    /// Which PostgreSQL this is.
    pub fn version(&self) -> PostgresVersion {
        self.version
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the server's programs, such as `psql` and `pg_dump`.
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// The URL of a database, as applications write it.
    pub fn url(&self, database: &str) -> String {
        self.url_through(self.port, database)
    }

    /// The URL of a database through another port, such as a [`Link`](crate::Link)'s.
    pub fn url_through(&self, port: u16, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{port}/{database}")
    }

    /// Connects as the superuser; the connection is driven by a task of the current runtime and ends with the client.
    pub async fn connect(&self, database: &str) -> Result<Client> {
        self.connect_as("postgres", database).await
    }

    /// Connects as any role.
    pub async fn connect_as(&self, role: &str, database: &str) -> Result<Client> {
        database::connect(self.port, role, database).await
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        self.with_process(|process| Ok(process.log())).unwrap_or_default()
    }

    /// Stops the server as an operator does (fast shutdown).
    pub async fn stop(&self) -> Result<()> {
        self.end(Signal::INT).await
    }

    /// Stops the server without a checkpoint, as a crash of all backends does (immediate shutdown): the next start recovers.
    pub async fn crash(&self) -> Result<()> {
        self.end(Signal::QUIT).await
    }

    /// Kills the postmaster with SIGKILL; its backends notice and end. The next start recovers.
    pub async fn kill_nine(&self) -> Result<()> {
        self.end(Signal::KILL).await
    }

    /// Kills one backend with SIGKILL, as the kernel does when memory is short: the postmaster ends all others, recovers, and goes on as itself.
    pub fn kill_backend(&self, pid: i32) -> Result<()> {
        ensure!(self.home.is_some(), "kill a backend of a server that is shared");
        let pid = Pid::from_raw(pid).context("read a process id")?;
        self.with_process(|process| {
            ensure!(
                processes::children_of(process.pid()).contains(&pid),
                "this is no backend of ours"
            );
            kill_process(pid, Signal::KILL).context("kill a backend")
        })
    }

    /// Whether the server was started, and neither stopped nor killed by us since.
    pub fn is_running(&self) -> bool {
        self.with_process(|process| Ok(!process.has_exited())).unwrap_or(false)
    }

    /// Starts a stopped or killed server again, on the same port.
    pub async fn start_again(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.launch().await {
                // Backends of a killed postmaster hold the shared memory for a moment.
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Stops the server in order and starts it again, on the same port.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    /// Stops the server and all its backends in their tracks (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// Lets a paused server go on.
    pub fn resume(&self) -> Result<()> {
        self.signal_all(Signal::CONT)
    }

    async fn end(&self, signal: Signal) -> Result<()> {
        ensure!(self.home.is_some(), "stop a server that is shared");
        let Some(process) = self
            .process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
        else {
            return Ok(());
        };
        process.signal(signal)?;
        process.exited(PATIENCE).await?;
        Ok(())
    }

    async fn launch(&self) -> Result<()> {
        let home = self.home.as_ref().context("start a server that is shared")?.path();
        let words = self.command_line(home);
        let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
        let mut environment = vec![("LC_ALL", "C")];
        environment.extend(
            self.environment
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let process = Supervised::start(&Recipe {
            environment: &environment,
            user: self.user,
            end: Ending::Quit,
            ..Recipe::new(&words, home, "postgres.log")
        })?;
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.connect("postgres").await {
            process.must_live("postgres")?;
            ensure!(
                Instant::now() < deadline,
                "PostgreSQL does not answer on port {}: {error:#}",
                self.port
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        process.must_live("postgres")?;
        self.process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .replace(process);
        Ok(())
    }

    fn command_line(&self, home: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![
            self.binaries.join("postgres").into(),
            "-D".into(),
            home.join("data").into(),
        ];
        let port = self.port.to_string();
        let directory = home.to_string_lossy();
        let fixed = [
            ("port", port.as_str()),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &directory),
            ("max_connections", "200"),
            ("max_wal_senders", "8"),
            ("shared_buffers", "64MB"),
            ("wal_level", "logical"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("logging_collector", "off"),
        ];
        let chosen = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in fixed.into_iter().chain(chosen) {
            words.push("-c".into());
            words.push(format!("{name}={value}").into());
        }
        words
    }

    fn signal_all(&self, signal: Signal) -> Result<()> {
        ensure!(self.home.is_some(), "signal a server that is shared");
        self.with_process(|process| {
            // The postmaster first, so that it has no further children while they are listed.
            process.signal(signal)?;
            for child in processes::children_of(process.pid()) {
                kill_process(child, signal).ok();
            }
            Ok(())
        })
    }

    fn with_process<T>(&self, act: impl FnOnce(&Supervised) -> Result<T>) -> Result<T> {
        let process = self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        act(process.as_ref().context("PostgreSQL does not run")?)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A paused backend would outlive its postmaster.
        self.resume().ok();
    }
}
