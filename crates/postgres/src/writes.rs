//! Writes: one value changed in one transaction, under a row lock, if it still is what its writer has read.
//!
//! Lock, look, judge, change, look, commit, on a connection of the write's own. Knows nothing of HTTP or ETags: the caller judges.
//! Until COMMIT is sent a write that is given up leaves nothing behind; after that only an answer tells, and where none comes it is
//! said to be unknown. No value is ever in an error: what the server says of one stays here.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use neverstale_flavour::{Blocked, Flavour, Read, Write, WriteParam, WriteTarget, with_value};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_postgres::{
    error::{Severity, SqlState},
    types::{ToSql, Type},
};

use crate::{Connection, PostgresError, Target};

/// Writes that run at once; more wait for one of them, until their deadlines.
const WRITES_MAX: usize = 4;

/// Tries where somebody else makes the row at the same moment.
const ATTEMPTS: usize = 3;

/// A value to be written.
#[derive(Clone, Copy)]
pub struct Change<'c> {
    /// Which write of the flavour, and the variables of its path.
    pub target: &'c WriteTarget<'c>,
    /// Gives the value as callers read it.
    pub read: &'c Read,
    /// The path of the value.
    pub path: &'c str,
    /// The new value, JSON.
    pub value: &'c str,
}

/// What is there once it is locked: the caller judges by it.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'s> {
    /// The value as callers read it, if there is one.
    pub value: Option<&'s [u8]>,
    /// The version of the row: 0 where there is none, and nothing where rows have no versions.
    pub version: Option<i64>,
}

/// What became of a write. Bodies are the answers of the view that gives the value; none where there is no value.
#[derive(Debug)]
pub enum Written {
    /// It is committed.
    Changed(Option<Bytes>),
    /// The caller has judged what is there; nothing was written. Also tells the version of what is there, if it has one.
    Refused(Option<Bytes>, Option<i64>),
    /// There is nothing that could hold the value; nothing was written.
    Nothing,
}

/// Why a write did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nothing was written: the deadline passed first.
    #[error("write a value: the deadline passed before it was committed")]
    Deadline,
    /// The deadline passed, or the connection was lost, between COMMIT and its answer.
    #[error("commit a value: no answer, so it may or may not have been written")]
    Unknown,
    /// Nothing was written: the path can't be in that document.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// Nothing was written: Postgres can't hold the value.
    #[error("{operation}: Postgres can't hold the value (SQLSTATE {code})")]
    Value {
        /// What was done.
        operation: &'static str,
        /// What the server says, as its code alone.
        code: String,
    },
    /// Nothing was written: the sidecar's role may not.
    #[error("{operation}: the role lacks a right ({said}); as the owner: {grant}")]
    MissingRight {
        /// What was done.
        operation: &'static str,
        /// What the server says: it names the table or sequence, and no value.
        said: String,
        /// The statement that gives it.
        grant: String,
    },
    /// Nothing was written: no connection.
    #[error("write a value")]
    Connect(#[source] PostgresError),
    /// Nothing was written: the server refused.
    #[error("{operation}: refused with SQLSTATE {code}")]
    Statement {
        /// What was done.
        operation: &'static str,
        /// What the server says, as its code alone: its words may hold the value.
        code: String,
    },
}

/// A row that was locked.
struct Locked {
    /// The document in it, where one is changed.
    document: Option<String>,
    /// Its version; 0 where rows have none.
    version: i64,
}

/// Writes values, on connections of its own to the primary.
pub struct Writer {
    target: Target,
    ca_file: Option<PathBuf>,
    connect_limit: Duration,
    flavour: Arc<Flavour>,
    app_schema: String,
    places: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Writer {
    /// Makes a writer; nothing is opened before the first write.
    pub fn new(
        target: Target,
        ca_file: Option<PathBuf>,
        connect_limit: Duration,
        flavour: Arc<Flavour>,
        app_schema: String,
    ) -> Self {
        Self {
            target,
            ca_file,
            connect_limit,
            flavour,
            app_schema,
            places: Semaphore::new(WRITES_MAX),
            idle: Mutex::default(),
        }
    }

    /// Changes a value, if `may` says yes to what is there once it is locked.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; only with [`WriteError::Unknown`] something may have been written.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before COMMIT is sent writes nothing; after that it may or may not be written.
    pub async fn write(
        &self,
        change: Change<'_>,
        may: &(dyn Fn(Standing<'_>) -> bool + Sync),
        deadline: Instant,
    ) -> Result<Written, WriteError> {
        let _place = timeout_at(deadline, self.places.acquire())
            .await
            .map_err(|_| WriteError::Deadline)?;
        let changing = timeout_at(deadline, self.change(change, may, deadline));
        let (connection, written) = changing.await.map_err(|_| WriteError::Deadline)??;
        let Written::Changed(_) = written else {
            // Nothing is lost where that takes too long: the connection ends, and the transaction with it.
            let rolled_back = timeout_at(deadline, connection.client().batch_execute("ROLLBACK")).await;
            if let Ok(Ok(())) = rolled_back {
                self.keep(connection).await;
            }
            return Ok(written);
        };
        match timeout_at(deadline, connection.client().batch_execute("COMMIT")).await {
            Ok(Ok(())) => {
                self.keep(connection).await;
                Ok(written)
            }
            // Whatever else ends a COMMIT may have come after the commit itself.
            Ok(Err(error)) if is_error(&error) => Err(self.refused("commit a value", change.target.write, &error)),
            Ok(Err(_)) | Err(_) => Err(WriteError::Unknown),
        }
    }

    /// Does everything but the commit.
    async fn change(
        &self,
        change: Change<'_>,
        may: &(dyn Fn(Standing<'_>) -> bool + Sync),
        deadline: Instant,
    ) -> Result<(Connection, Written), WriteError> {
        let connection = self.begin(deadline).await?;
        let write = change.target.write.in_schema(&self.app_schema);
        for _ in 0..ATTEMPTS {
            let locked = self.lock(&connection, &write, change).await?;
            if locked.is_none() && write.insert.is_none() {
                break;
            }
            let current = self.look(&connection, &write, change.read).await?;
            let version = write
                .versioned
                .then(|| locked.as_ref().map_or(0, |locked| locked.version));
            let standing = Standing {
                value: current.as_deref(),
                version,
            };
            if !may(standing) {
                return Ok((connection, Written::Refused(current, version)));
            }
            let document = write
                .is_of_document()
                .then(|| with_value(document(locked.as_ref()), change.path, change.value))
                .transpose()?;
            let (operation, sql) = match (&locked, &write.insert) {
                (None, Some(insert)) => ("insert a value", insert),
                _ => ("update a value", &write.update),
            };
            let bound = bound(&write, change, document.as_deref());
            let rows = connection.client().execute_typed(sql, &typed(&bound)).await;
            // None where somebody else was faster: what is there now has to be judged again.
            if rows.map_err(|error| self.refused(operation, &write, &error))? > 0 {
                let new = self.look(&connection, &write, change.read).await?;
                return Ok((connection, Written::Changed(new)));
            }
        }
        Ok((connection, Written::Nothing))
    }

    /// Begins a transaction, on a connection that lives.
    async fn begin(&self, deadline: Instant) -> Result<Connection, WriteError> {
        // The server gives up by itself, so that a write nobody waits for holds no lock. Other people's triggers may count on the schema.
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {}; SET LOCAL search_path = \"{}\"",
            (deadline - Instant::now()).as_millis().max(1),
            self.app_schema.replace('"', "\"\""),
        );
        while let Some(connection) = self.idle.lock().await.pop() {
            if connection.client().batch_execute(&begin).await.is_ok() {
                return Ok(connection);
            }
        }
        let limit = self.connect_limit;
        let opening = Connection::open(&self.target, self.ca_file.as_deref(), limit, limit);
        let (connection, _) = opening.await.map_err(WriteError::Connect)?;
        let begun = connection.client().batch_execute(&begin).await;
        begun.map_err(|error| WriteError::Connect(PostgresError::of_statement("begin a write", error)))?;
        Ok(connection)
    }

    async fn keep(&self, connection: Connection) {
        self.idle.lock().await.push(connection);
    }

    /// Locks the row, if there is one, and gives what is in it.
    async fn lock(
        &self,
        connection: &Connection,
        write: &Write,
        change: Change<'_>,
    ) -> Result<Option<Locked>, WriteError> {
        const OPERATION: &str = "lock a value";
        let bound = bound(write, change, None);
        let rows = connection.client().query_typed(&write.lock, &typed(&bound)).await;
        let rows = rows.map_err(|error| self.refused(OPERATION, write, &error))?;
        let Some(row) = rows.first() else { return Ok(None) };
        let read = || {
            let document = if write.is_of_document() { row.try_get(0)? } else { None };
            let version = if write.versioned { row.try_get(1)? } else { 0 };
            Ok(Locked { document, version })
        };
        let locked = read();
        Ok(Some(locked.map_err(|error| self.refused(OPERATION, write, &error))?))
    }

    /// Asks for the value as callers read it, in this transaction.
    async fn look(&self, connection: &Connection, write: &Write, read: &Read) -> Result<Option<Bytes>, WriteError> {
        const OPERATION: &str = "read the value that is written";
        let view = self.flavour.view_sql(read.view, &self.app_schema);
        let sql = format!("SELECT v.body::text FROM ({view}) v");
        let params: Vec<Option<&str>> = read.params.iter().map(|param| Some(param.as_str())).collect();
        let row = connection.client().query_typed_one(&sql, &typed(&params)).await;
        let body: Option<String> = row
            .and_then(|row| row.try_get(0))
            .map_err(|error| self.refused(OPERATION, write, &error))?;
        Ok(body.map(Bytes::from))
    }

    fn refused(&self, operation: &'static str, write: &Write, error: &tokio_postgres::Error) -> WriteError {
        let Some(state) = error.code() else {
            return WriteError::Connect(PostgresError::SessionLost);
        };
        let code = state.code().to_owned();
        match state {
            &SqlState::QUERY_CANCELED => WriteError::Deadline,
            &SqlState::INSUFFICIENT_PRIVILEGE => WriteError::MissingRight {
                operation,
                said: error
                    .as_db_error()
                    .map(|error| error.message().to_owned())
                    .unwrap_or_default(),
                grant: self.grant(write),
            },
            // Data exceptions, and nesting beyond what the server's stack allows.
            state if state.code().starts_with("22") || *state == SqlState::STATEMENT_TOO_COMPLEX => {
                WriteError::Value { operation, code }
            }
            _ => WriteError::Statement { operation, code },
        }
    }

    fn grant(&self, write: &Write) -> String {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let insert = if write.insert.is_some() { ", INSERT" } else { "" };
        format!(
            "GRANT SELECT, UPDATE{insert} ON {}.{} TO {}",
            quoted(
                self.flavour
                    .table(&write.table)
                    .map_or(&self.app_schema, |table| table.schema(&self.app_schema))
            ),
            quoted(&write.table),
            quoted(self.target.user().unwrap_or("the sidecar's role")),
        )
    }
}

/// The document to change: one that is not there, or null, is empty.
fn document(locked: Option<&Locked>) -> &str {
    match locked.map(|locked| &locked.document) {
        Some(Some(document)) if document.trim() != "null" => document,
        _ => "{}",
    }
}

fn bound<'b>(write: &Write, change: Change<'b>, document: Option<&'b str>) -> Vec<Option<&'b str>> {
    let bind = |param: &WriteParam| match param {
        WriteParam::Variable(place) => Some(change.target.variables[*place].as_str()),
        WriteParam::Path => Some(change.path),
        WriteParam::Value => Some(change.value),
        WriteParam::Document => document,
    };
    write.params.iter().map(bind).collect()
}

fn typed<'t>(params: &'t [Option<&'t str>]) -> Vec<(&'t (dyn ToSql + Sync), Type)> {
    params
        .iter()
        .map(|param| (param as &(dyn ToSql + Sync), Type::TEXT))
        .collect()
}

/// Says whether the server refused in the midst of the session, so that the transaction is surely rolled back.
fn is_error(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|error| error.parsed_severity() == Some(Severity::Error))
}
