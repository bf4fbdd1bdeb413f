//! Two Redis servers, one the replica of the other, and a Sentinel that fails over between them.

use std::{
    ffi::OsStr,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    provision::redis_server,
    redis::{Redis, command_at},
    scratch::{Scratch, free_port},
    supervisor::{Ending, Recipe, Supervised},
};

const SERVICE: &str = "main";
const PATIENCE: Duration = Duration::from_secs(20);

/// The two servers and their Sentinel. They end when dropped.
#[derive(Debug)]
pub struct Sentinel {
    port: u16,
    _process: Supervised,
    servers: [Redis; 2],
    _home: Scratch,
}

impl Sentinel {
    /// Starts the servers and the Sentinel, and waits until it knows them.
    pub async fn start() -> Result<Self> {
        let first = Redis::start().await?;
        let port = first.port().to_string();
        let second = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await?;
        let (home, port) = (Scratch::new()?, free_port()?);
        let file = home.path().join("sentinel.conf");
        let primary = first.port();
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nprotected-mode no\nsentinel monitor {SERVICE} 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 2000\n"
        );
        fs::write(&file, settings).context("write a Sentinel's settings")?;
        let server = redis_server()?.path;
        let process = Supervised::start(&Recipe {
            command: &[server.as_os_str(), file.as_os_str(), OsStr::new("--sentinel")],
            environment: &[],
            bare: false,
            user: None,
            home: home.path(),
            log: "sentinel.log",
            end: Ending::Kill,
        })?;
        let sentinel = Self {
            port,
            _process: process,
            servers: [first, second],
            _home: home,
        };
        let deadline = Instant::now() + PATIENCE;
        while !sentinel.knows_the_replica().await {
            ensure!(Instant::now() < deadline, "the Sentinel does not find the replica");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(sentinel)
    }

    /// The URL by which applications ask the Sentinel for the primary.
    pub fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}/{SERVICE}", self.port)
    }

    /// The server that the Sentinel names.
    pub async fn primary(&self) -> Result<&Redis> {
        let answer = command_at(self.port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await?;
        let port = answer.lines().nth(1).and_then(|port| port.parse().ok());
        let server = self.servers.iter().find(|server| Some(server.port()) == port);
        server.with_context(|| format!("find the primary that the Sentinel names: {answer}"))
    }

    /// Kills the primary and waits until the other server is; then brings the dead one back as its replica.
    pub async fn fail_over(&self) -> Result<()> {
        let old = self.primary().await?;
        old.kill_nine().await?;
        let deadline = Instant::now() + PATIENCE;
        while !self.has_left(old).await && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let is_switched = self.has_left(old).await;
        old.start_again().await?;
        let new = self.primary().await?.port();
        if new != old.port() {
            old.command(&["REPLICAOF", "127.0.0.1", &new.to_string()]).await?;
        }
        ensure!(is_switched, "the Sentinel did not fail over within {PATIENCE:?}");
        Ok(())
    }

    async fn knows_the_replica(&self) -> bool {
        let replicas = command_at(self.port, &["SENTINEL", "REPLICAS", SERVICE]).await;
        replicas.is_ok_and(|replicas| replicas.contains("127.0.0.1"))
    }

    /// Whether another server is the primary, and knows it.
    async fn has_left(&self, old: &Redis) -> bool {
        let Ok(primary) = self.primary().await else {
            return false;
        };
        let role = primary.command(&["ROLE"]).await.unwrap_or_default();
        primary.port() != old.port() && role.starts_with("master")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_killed_primary_is_replaced_by_its_replica_and_back() {
        let sentinel = Sentinel::start().await.unwrap();
        let first = sentinel.primary().await.unwrap().port();
        sentinel.fail_over().await.unwrap();
        let second = sentinel.primary().await.unwrap();
        assert_ne!(second.port(), first);
        assert_eq!(second.command(&["SET", "key", "value"]).await.unwrap(), "OK");
        sentinel.fail_over().await.unwrap();
        assert_eq!(sentinel.primary().await.unwrap().port(), first);
    }
}
