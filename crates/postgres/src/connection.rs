//! One connection to the primary, with the session settings that every statement of ours relies on.
//!
//! A statement that is not answered in time costs the connection: its answer could arrive later and be taken for another's.

use std::{future::Future, path::Path, pin::Pin, task::Context, time::Duration};

use tokio::{sync::mpsc, task::AbortHandle, time::timeout};
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage, Statement, types::Type};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{PostgresError, Target, tls};

/// What a session must have set; [`crate::Statements`] checks it again inside every statement.
const SESSION: &str = "\
    SET default_transaction_isolation = 'read committed'; SET row_security = off; SET search_path = pg_catalog; \
    SET jit = off; SET plan_cache_mode = force_generic_plan; \
    SET client_min_messages = warning;";

/// Bells that may wait unread; more of them say nothing more.
const BELLS_MAX: usize = 64;

/// The payloads of notifications; closed when the connection is.
pub type Notifications = mpsc::Receiver<String>;

/// A connection whose driver runs in a task of its own and ends with it.
pub struct Connection {
    client: Client,
    driver: AbortHandle,
    limit: Duration,
    /// The server's process behind it, as its log and `pg_stat_activity` name it.
    backend_pid: u64,
}

impl Connection {
    /// Connects and sets the session up.
    ///
    /// # Errors
    ///
    /// When the server can't be reached, refuses, or does not answer within `connect_limit`.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes what was opened.
    pub async fn open(
        target: &Target,
        ca_file: Option<&Path>,
        connect_limit: Duration,
        statement_limit: Duration,
    ) -> Result<(Self, Notifications), PostgresError> {
        let mut target = target.clone();
        if ca_file.is_some() {
            target.verify();
        }
        let connector = tls::connector(target.verification, ca_file)?;
        let connecting = async {
            let (bell, bells) = mpsc::channel(BELLS_MAX);
            let (client, driver) = dial(&target, connector, bell).await?;
            let mut connection = Self {
                client,
                driver,
                limit: statement_limit,
                backend_pid: 0,
            };
            let timeout_ms = statement_limit.as_millis();
            let setup = format!("{SESSION} SET statement_timeout = {timeout_ms}; SELECT pg_backend_pid()");
            let answer = connection.client.simple_query(&setup).await?;
            connection.backend_pid = backend_pid(&answer);
            Ok((connection, bells))
        };
        match timeout(connect_limit, connecting).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(source)) => Err(PostgresError::Connect {
                target: target.to_string(),
                source,
            }),
            Err(_) => Err(PostgresError::ConnectTimeout {
                target: target.to_string(),
                limit: connect_limit,
            }),
        }
    }

    /// The driver's client, for statements that need neither a limit nor a name.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Names the server's process to the span of whoever asks now, if that is traced.
    pub(crate) fn name_backend(&self) {
        tracing::Span::current().record("db.postgresql.backend_pid", self.backend_pid);
    }

    /// Says whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Prunes the log down to its newest `keep` commits.
    ///
    /// # Errors
    ///
    /// Whatever the server says; nothing is pruned then.
    pub async fn prune(&self, keep: i64) -> Result<(), PostgresError> {
        self.within(
            "prune the log",
            self.client.query("SELECT neverstale.prune($1)", &[&keep]),
        )
        .await
        .map(drop)
    }

    /// Ends the connection: what was set on its session is lost, so that no answer of it can be used.
    pub(crate) fn close(&self) {
        self.driver.abort();
    }

    /// Prepares a statement whose parameters have these types.
    pub(crate) async fn prepare(&self, operation: &str, sql: &str, types: &[Type]) -> Result<Statement, PostgresError> {
        self.within(operation, self.client.prepare_typed(sql, types)).await
    }

    /// Waits for an answer, within the limit of a statement.
    pub(crate) async fn within<T>(
        &self,
        operation: &str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PostgresError> {
        // The server gives up first, so that the usual slow statement ends with a word of its own.
        match timeout(self.limit + Duration::from_millis(250), answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(PostgresError::of_statement(operation, source)),
            Err(_) => {
                self.driver.abort();
                Err(PostgresError::Timeout {
                    operation: operation.to_owned(),
                    limit: self.limit,
                })
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The answer to `SELECT pg_backend_pid()`; 0 where a pooler gives none.
fn backend_pid(answer: &[SimpleQueryMessage]) -> u64 {
    let pid = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    };
    answer.iter().find_map(pid).unwrap_or_default()
}

/// Connects over the network, or what a simulation puts in its place.
async fn dial(
    target: &Target,
    connector: MakeRustlsConnect,
    bell: mpsc::Sender<String>,
) -> Result<(Client, AbortHandle), tokio_postgres::Error> {
    #[cfg(feature = "simulation")]
    if let Some(dialer) = &target.dialer {
        let stream = dialer.dial().await;
        let (client, connection) = target.config.connect_raw(stream, tokio_postgres::NoTls).await?;
        return Ok((client, drive(Driver { connection, bell })));
    }
    let (client, connection) = target.config.connect(connector).await?;
    Ok((client, drive(Driver { connection, bell })))
}

fn drive(driver: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    #[expect(
        clippy::disallowed_methods,
        reason = "the connection owns its driver: it ends when that is dropped, and is_closed tells of an early end"
    )]
    tokio::spawn(driver).abort_handle()
}

/// Moves bytes, and passes on notifications without ever waiting for whoever reads them.
struct Driver<S, T> {
    connection: tokio_postgres::Connection<S, T>,
    bell: mpsc::Sender<String>,
}

impl<S, T> Future for Driver<S, T>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> std::task::Poll<()> {
        while let Some(message) = std::task::ready!(self.connection.poll_message(context)) {
            match message {
                // A full channel already holds a reason to look.
                Ok(AsyncMessage::Notification(note)) => drop(self.bell.try_send(note.payload().to_owned())),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(error = %error, "the connection to Postgres ended");
                    break;
                }
            }
        }
        std::task::Poll::Ready(())
    }
}
