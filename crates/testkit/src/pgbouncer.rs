//! A PgBouncer in session mode before a loopback port, where one is installed.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    scratch::{Scratch, User, free_port},
    supervisor::{Ending, Recipe, Supervised},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A running PgBouncer. It ends when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    _process: Supervised,
    _home: Scratch,
}

impl PgBouncer {
    /// Starts one that leads to a server's port and logs in as the superuser; `None` where it is not installed.
    pub async fn start(server_port: u16) -> Result<Option<Self>> {
        let Some(binary) = binary() else { return Ok(None) };
        let user = User::for_servers()?;
        let (home, port) = (Scratch::of(user)?, free_port()?);
        let file = home.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={server_port} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = session\n\
             default_pool_size = 8\nserver_login_retry = 0.2\nignore_startup_parameters = extra_float_digits\n"
        );
        fs::write(&file, settings).context("write PgBouncer's settings")?;
        let process = Supervised::start(&Recipe {
            command: &[binary.as_os_str(), OsStr::new("-q"), file.as_os_str()],
            environment: &[],
            bare: true,
            user,
            home: home.path(),
            log: "pgbouncer.log",
            end: Ending::Kill,
        })?;
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            process.must_live("pgbouncer")?;
            ensure!(Instant::now() < deadline, "PgBouncer does not listen on port {port}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Some(Self {
            port,
            _process: process,
            _home: home,
        }))
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn binary() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push(Path::new("/usr/sbin").to_owned());
    places
        .into_iter()
        .map(|place| place.join("pgbouncer"))
        .find(|binary| binary.exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Postgres;

    #[tokio::test]
    async fn a_session_goes_through_the_pooler() {
        let postgres = Postgres::shared().await.unwrap();
        // Where it can't be had, the jepsen run pools by itself and says so.
        let Some(pooler) = PgBouncer::start(postgres.port()).await.unwrap() else {
            return;
        };
        let (client, connection) =
            tokio_postgres::connect(&postgres.url_through(pooler.port(), "postgres"), tokio_postgres::NoTls)
                .await
                .unwrap();
        tokio::spawn(connection);
        let port: i32 = client.query_one("SELECT inet_server_port()", &[]).await.unwrap().get(0);
        assert_eq!(port, i32::from(postgres.port()));
    }
}
