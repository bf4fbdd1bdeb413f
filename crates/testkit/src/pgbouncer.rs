//! A throw-away PgBouncer in front of a throw-away PostgreSQL.

use std::{ffi::OsStr, fs, os::unix::fs::chown, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{
    ports::free_port,
    provision::pgbouncer,
    scratch::{Scratch, User},
    supervisor::{Recipe, Supervised},
};

const PATIENCE: Duration = Duration::from_secs(20);
/// A free port may be taken by somebody else before the server has it.
const ATTEMPTS: usize = 8;

/// A running PgBouncer. It ends when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    _process: Supervised,
    _home: Scratch,
}

impl PgBouncer {
    /// Starts one in front of a loopback port, in `session` or `transaction` mode.
    pub async fn start(postgres_port: u16, pool_mode: &str) -> Result<Self> {
        let program = pgbouncer()?.path;
        // It refuses to run as root.
        let user = User::for_servers()?;
        let home = Scratch::of(user)?;
        for _ in 0..ATTEMPTS {
            let port = free_port()?;
            let file = home.path().join("pgbouncer.ini");
            let text = format!(
                "[databases]\n* = host=127.0.0.1 port={postgres_port} user=postgres\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
                 pool_mode = {pool_mode}\ndefault_pool_size = 40\nmax_client_conn = 200\nserver_login_retry = 0.2\n"
            );
            fs::write(&file, text).context("write PgBouncer's file")?;
            if let Some(user) = user {
                chown(&file, Some(user.uid), Some(user.gid)).context("give PgBouncer its file")?;
            }
            let process = Supervised::start(&Recipe {
                user,
                ..Recipe::new(
                    &[program.as_os_str(), file.as_os_str()] as &[&OsStr],
                    home.path(),
                    "pgbouncer.log",
                )
            })?;
            match process.listens(port, PATIENCE).await {
                Ok(()) => {
                    return Ok(Self {
                        port,
                        _process: process,
                        _home: home,
                    });
                }
                Err(error) if !process.log().contains("in use") => return Err(error.context("start PgBouncer")),
                Err(_) => {}
            }
        }
        bail!("PgBouncer finds no free port")
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }
}
