//! A throw-away PostgreSQL that the tests of a whole command share; a test that breaks its server starts one of its own.

use std::process::Command;

use anyhow::{Context, Result};
use neverstale_testkit::{Postgres, PostgresVersion};
use tokio::runtime::Runtime;

/// Ends when it is dropped.
pub(crate) struct Server {
    version: PostgresVersion,
    postgres: Postgres,
    _runtime: Runtime,
}

impl Server {
    pub(crate) fn start(version: PostgresVersion) -> Result<Self> {
        let runtime = Runtime::new().context("start a runtime")?;
        let postgres = runtime.block_on(Postgres::start(version, &[("fsync", "off")]))?;
        Ok(Self {
            version,
            postgres,
            _runtime: runtime,
        })
    }

    /// Tells a command's tests to use it.
    pub(crate) fn lend_to<'command>(&self, command: &'command mut Command) -> &'command mut Command {
        command
            .env("NEVERSTALE_TEST_POSTGRES", self.version.as_str())
            .env("NEVERSTALE_TEST_POSTGRES_PORT", self.postgres.port().to_string())
    }
}
