//! A streaming standby, made by a base backup, and its promotion.

use std::process::Command;

use anyhow::{Result, ensure};

use super::{Postgres, cluster};
use crate::scratch::Scratch;

impl Postgres {
    /// Makes a streaming standby of this server, on a port of its own, and waits until it answers.
    pub async fn standby(&self) -> Result<Self> {
        let home = Scratch::of(self.user)?;
        let data = home.path().join("data");
        let mut command = Command::new(self.binaries.join("pg_basebackup"));
        command.arg("--pgdata").arg(&data).args([
            "--host",
            "127.0.0.1",
            "--username",
            "postgres",
            "--wal-method",
            "stream",
        ]);
        command.args([
            "--write-recovery-conf",
            "--checkpoint",
            "fast",
            "--no-sync",
            "--port",
            &self.port.to_string(),
        ]);
        cluster::run(&mut command, self.user, home.path())?;
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let environment = &self.environment;
        Self::start_in(
            self.version,
            self.binaries.clone(),
            self.user,
            home,
            &settings,
            environment,
        )
        .await
    }

    /// Promotes a standby and waits until it takes writes.
    pub async fn promote(&self) -> Result<()> {
        let client = self.connect("postgres").await?;
        let promoted: bool = client
            .query_one("SELECT pg_catalog.pg_promote(true, 60)", &[])
            .await?
            .get(0);
        ensure!(promoted, "the standby was not promoted within a minute");
        Ok(())
    }
}
