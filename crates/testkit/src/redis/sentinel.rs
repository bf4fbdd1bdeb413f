//! A Redis primary with a replica, and Sentinels that promote it: all on loopback.

use std::{
    ffi::OsStr,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{ATTEMPTS, PATIENCE, Redis, ask};
use crate::{
    ports::free_port,
    provision::redis_server,
    scratch::Scratch,
    supervisor::{Recipe, Supervised},
};

/// What the Sentinels call it.
const SERVICE: &str = "mymaster";
/// More than half of them agree.
const SENTINELS: usize = 3;

/// Two servers and three Sentinels. They end when dropped.
#[derive(Debug)]
pub struct RedisSentinel {
    sentinels: Vec<(u16, Supervised, Scratch)>,
    servers: [Redis; 2],
}

impl RedisSentinel {
    /// Starts them, and waits until the Sentinels know each other and the replica.
    pub async fn start() -> Result<Self> {
        let primary = Redis::start().await?;
        let port = primary.port().to_string();
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await?;
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            sentinels.push(sentinel(primary.port()).await?);
        }
        let deadline = Instant::now() + PATIENCE;
        for (port, ..) in &sentinels {
            loop {
                let told = ask(*port, &["SENTINEL", "MASTER", SERVICE]).await?;
                let told: Vec<&str> = told.lines().collect();
                let of = |name: &str| told.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
                if (of("num-slaves"), of("num-other-sentinels")) == (Some("1"), Some("2")) {
                    break;
                }
                ensure!(
                    Instant::now() < deadline,
                    "the Sentinels do not find each other: {told:?}"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(Self {
            sentinels,
            servers: [primary, replica],
        })
    }

    /// The URL, as applications write it.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self
            .sentinels
            .iter()
            .map(|(port, ..)| format!("127.0.0.1:{port}"))
            .collect();
        format!("redis-sentinel://{}/{SERVICE}/0", hosts.join(","))
    }

    /// The server that the Sentinels say is the primary.
    pub async fn primary(&self) -> Result<&Redis> {
        let (port, ..) = self.sentinels.first().context("there are Sentinels")?;
        let told = ask(*port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await?;
        let port = told.lines().last().and_then(|port| port.parse::<u16>().ok());
        let server = self.servers.iter().find(|server| Some(server.port()) == port);
        server.with_context(|| format!("find the primary that Sentinel names: {told}"))
    }

    /// Starts the server that was killed again, as the replica of the one that is the primary now.
    pub async fn bring_back(&self) -> Result<()> {
        let primary = self.primary().await?.port();
        for server in &self.servers {
            if server.port() != primary {
                server.start_again().await?;
                server
                    .command(&["REPLICAOF", "127.0.0.1", &primary.to_string()])
                    .await?;
            }
        }
        Ok(())
    }

    /// Kills the primary, and waits until the Sentinels have promoted the other server.
    pub async fn fail_over(&self) -> Result<&Redis> {
        let old = self.primary().await?;
        old.kill_nine().await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let new = self.primary().await?;
            if new.port() != old.port() && new.command(&["ROLE"]).await?.starts_with("master") {
                return Ok(new);
            }
            ensure!(Instant::now() < deadline, "the Sentinels promote nobody");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn sentinel(primary: u16) -> Result<(u16, Supervised, Scratch)> {
    let server = redis_server()?.path;
    let home = Scratch::new()?;
    for _ in 0..ATTEMPTS {
        let port = free_port()?;
        let file = home.path().join("sentinel.conf");
        // It writes into its file what it learns.
        let text = format!(
            "port {port}\nbind 127.0.0.1\nprotected-mode no\nsentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {SERVICE} 300\nsentinel failover-timeout {SERVICE} 3000\n"
        );
        fs::write(&file, text).context("write a Sentinel's file")?;
        let process = Supervised::start(&Recipe::new(
            &[server.as_os_str(), file.as_os_str(), OsStr::new("--sentinel")],
            home.path(),
            "sentinel.log",
        ))?;
        let deadline = Instant::now() + PATIENCE;
        while ask(port, &["PING"]).await.is_err() && !process.has_exited() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if !process.has_exited() {
            return Ok((port, process, home));
        }
    }
    anyhow::bail!("no Sentinel could be started")
}
