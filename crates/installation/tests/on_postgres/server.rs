//! A throw-away PostgreSQL on a free loopback port, gone with the value.
//!
//! The server refuses to run as root; then it runs as user `postgres`.

use std::{
    net::TcpListener,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// A running server.
pub(crate) struct Server {
    child: Child,
    directory: TempDir,
    port: u16,
}

impl Server {
    /// Makes a cluster and starts it.
    pub(crate) async fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("neverstale-").tempdir()?;
        if let Some(uid) = other_user(directory.path())? {
            chown(directory.path(), Some(uid), Some(uid)).context("hand the directory to user postgres")?;
        }
        let data = directory.path().join("data");
        let made = command(directory.path(), "initdb")?
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--pgdata",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status()?;
        ensure!(made.success(), "initdb failed");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = spawn(directory.path(), port)?;
        let server = Self { child, directory, port };
        server.wait().await?;
        Ok(server)
    }

    /// Kills every process of the server and starts it again: crash recovery.
    pub(crate) async fn crash(&mut self) -> Result<()> {
        self.stop_immediately();
        self.child = spawn(self.directory.path(), self.port)?;
        self.wait().await
    }

    /// A connection as this role.
    pub(crate) async fn connect(&self, role: &str, database: &str) -> Result<Client> {
        let config = format!("host=127.0.0.1 port={} user={role} dbname={database}", self.port);
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = self.connect("postgres", "postgres").await {
            ensure!(Instant::now() < deadline, "the server does not start: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn stop_immediately(&mut self) {
        let stopped = command(self.directory.path(), "pg_ctl").and_then(|mut command| {
            let data = self.directory.path().join("data");
            Ok(command
                .args(["stop", "--mode=immediate", "--silent", "--pgdata"])
                .arg(data)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?)
        });
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_immediately();
    }
}

fn spawn(directory: &Path, port: u16) -> Result<Child> {
    let settings = [
        "fsync=off",
        "shared_buffers=16MB",
        "max_connections=40",
        "listen_addresses=127.0.0.1",
        "max_prepared_transactions=4",
    ];
    let log = std::fs::File::create(directory.join("log"))?;
    let mut command = command(directory, "postgres")?;
    command
        .arg("-D")
        .arg(directory.join("data"))
        .args(["-p", &port.to_string(), "-k", ""]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    Ok(command.stdout(Stdio::null()).stderr(log).spawn()?)
}

/// A program of the server, run by somebody the server accepts.
fn command(directory: &Path, program: &str) -> Result<Command> {
    let path = programs()?.join(program);
    let mut command = if other_user(directory)?.is_some() {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                "--pdeathsig=KILL",
                "--",
            ])
            .arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir(directory);
    Ok(command)
}

/// The user to run as, if we are root.
fn other_user(directory: &Path) -> Result<Option<u32>> {
    // The directory was made by us, or has been handed over already.
    let owner = std::fs::metadata(directory)?.uid();
    let answer = Command::new("id").args(["-u"]).output()?;
    if String::from_utf8_lossy(&answer.stdout).trim() != "0" {
        return Ok(None);
    }
    if owner != 0 {
        return Ok(Some(owner));
    }
    let answer = Command::new("id").args(["-u", "postgres"]).output()?;
    Ok(Some(
        String::from_utf8_lossy(&answer.stdout)
            .trim()
            .parse()
            .context("user postgres is needed, because the server refuses root")?,
    ))
}

/// Directory of the server's programs: as `NEVERSTALE_TEST_POSTGRES_BIN` says, or the newest installed.
fn programs() -> Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("NEVERSTALE_TEST_POSTGRES_BIN") {
        return Ok(chosen.into());
    }
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    found.sort();
    if let Some((_, path)) = found.pop() {
        return Ok(path);
    }
    let answer = Command::new("pg_config")
        .arg("--bindir")
        .output()
        .context("no PostgreSQL found")?;
    Ok(String::from_utf8_lossy(&answer.stdout).trim().into())
}
