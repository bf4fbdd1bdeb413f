//! Fills: one SQL statement that gives value, tags, `as_of`, `not_after` and incarnation in one snapshot.
//!
//! A few connections, used in turn and pipelined. Knows nothing of tiers, joins or validity; what it returns is what
//! Postgres said after it was asked.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use neverstale_coherence::{Incarnation, Position, Safeguard, Tag, safeguard::stands};
use neverstale_flavour::{Flavour, ViewId};
use tokio::sync::Mutex;
use tokio_postgres::{
    Row, Statement,
    types::{ToSql, Type},
};

use crate::{Connection, PostgresError, Statements, Target, tag_of};

/// Attempts of one fill: every connection may have died unnoticed while the server was away.
const ATTEMPTS: usize = 6;

/// What a fill brought.
#[derive(Clone, Debug)]
pub struct Filled {
    /// Who answered.
    pub incarnation: Incarnation,
    /// The state that the value shows.
    pub as_of: Position,
    /// The finished JSON; none where there is nothing of that name.
    pub body: Option<Bytes>,
    /// Everything that can change the value, table-wide tags included.
    pub tags: Box<[Tag]>,
    /// How long, counted from before the statement was sent, the answer stays true if nothing is written.
    pub remaining: Option<Duration>,
}

/// The connections on which entries are filled.
pub struct FillPool {
    target: Target,
    ca_file: Option<PathBuf>,
    connect_limit: Duration,
    statement_limit: Duration,
    table_tags: Vec<Box<[Tag]>>,
    places: Vec<Mutex<Option<Arc<FillConnection>>>>,
    turn: AtomicUsize,
}

struct FillConnection {
    connection: Connection,
    statements: Arc<Statements>,
    prepared: Mutex<HashMap<ViewId, Statement>>,
}

impl FillPool {
    /// Makes a pool of `connections` connections, none of them open yet.
    pub fn new(
        target: Target,
        ca_file: Option<PathBuf>,
        connect_limit: Duration,
        statement_limit: Duration,
        connections: usize,
        flavour: &Flavour,
    ) -> Self {
        let wide = |tables: &[String]| tables.iter().map(|table| tag_of(&format!("{table}:*"))).collect();
        Self {
            target,
            ca_file,
            connect_limit,
            statement_limit,
            table_tags: flavour.views.iter().map(|view| wide(&view.tables)).collect(),
            places: (0..connections.max(1)).map(|_| Mutex::new(None)).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Fills one entry.
    ///
    /// # Errors
    ///
    /// Whatever keeps Postgres from answering. A connection that had died unnoticed is replaced and asked again, a few times;
    /// the caller has the deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping it wastes the answer and nothing else.
    pub async fn fill(
        &self,
        statements: &Arc<Statements>,
        view: ViewId,
        params: &[String],
    ) -> Result<Filled, PostgresError> {
        let mut attempt = 1;
        loop {
            let answer = match self.connection(statements).await {
                Ok(open) => open.give_up_if_lost(self.fill_on(&open, statements, view, params).await),
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.is_disconnect() && attempt < ATTEMPTS => attempt += 1,
                answer => return answer,
            }
        }
    }

    async fn fill_on(
        &self,
        open: &FillConnection,
        statements: &Statements,
        view: ViewId,
        params: &[String],
    ) -> Result<Filled, PostgresError> {
        open.connection.name_backend();
        let statement = open.statement(view, params.len()).await?;
        let operation = || format!("fill view `{}`", statements.view_name(view));
        let rows = open
            .connection
            .within(
                &operation(),
                open.connection.client().query(&statement, &arguments(params)),
            )
            .await?;
        let [row] = rows.as_slice() else {
            return Err(broken(
                statements,
                view,
                format!("gave {} rows instead of one", rows.len()),
            ));
        };
        self.filled(statements, view, row)
    }

    /// Fills several entries in one snapshot.
    ///
    /// # Errors
    ///
    /// As [`FillPool::fill`]; one that fails fails all.
    pub async fn fill_many(
        &self,
        statements: &Arc<Statements>,
        reads: &[(ViewId, &[String])],
    ) -> Result<Vec<Filled>, PostgresError> {
        let mut attempt = 1;
        loop {
            let answer = match self.connection(statements).await {
                Ok(open) => open.give_up_if_lost(self.fill_many_on(&open, statements, reads).await),
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.is_disconnect() && attempt < ATTEMPTS => attempt += 1,
                answer => return answer,
            }
        }
    }

    async fn fill_many_on(
        &self,
        open: &FillConnection,
        statements: &Statements,
        reads: &[(ViewId, &[String])],
    ) -> Result<Vec<Filled>, PostgresError> {
        open.connection.name_backend();
        let params: Vec<String> = reads.iter().flat_map(|(_, params)| params.iter().cloned()).collect();
        let sql = statements.fill_many(reads.iter().map(|(view, params)| (*view, params.len())));
        let statement = open
            .connection
            .prepare("prepare a batch", &sql, &vec![Type::TEXT; params.len()])
            .await?;
        let rows = open
            .connection
            .within(
                "fill a batch",
                open.connection.client().query(&statement, &arguments(&params)),
            )
            .await?;
        let places: Vec<i32> = rows.iter().map(|row| row.try_get(0).unwrap_or(-1)).collect();
        if !places.iter().copied().eq((0..).take(reads.len())) {
            return Err(PostgresError::View {
                view: "batch".to_owned(),
                reason: format!(
                    "gave rows for reads {places:?} of {}, instead of one for each",
                    reads.len()
                ),
            });
        }
        rows.iter()
            .zip(reads)
            .map(|(row, (view, _))| self.filled(statements, *view, row))
            .collect()
    }

    async fn connection(&self, statements: &Arc<Statements>) -> Result<Arc<FillConnection>, PostgresError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.places.len();
        let mut place = self.places[turn].lock().await;
        if let Some(open) = place.as_ref()
            && !open.connection.is_closed()
            && (Arc::ptr_eq(&open.statements, statements) || open.statements == *statements)
        {
            return Ok(Arc::clone(open));
        }
        let (connection, _) = Connection::open(
            &self.target,
            self.ca_file.as_deref(),
            self.connect_limit,
            self.statement_limit,
        )
        .await?;
        let statements = Arc::clone(statements);
        let open = Arc::new(FillConnection {
            connection,
            statements,
            prepared: Mutex::default(),
        });
        *place = Some(Arc::clone(&open));
        Ok(open)
    }

    fn filled(&self, statements: &Statements, view: ViewId, row: &Row) -> Result<Filled, PostgresError> {
        let unreadable = |error: tokio_postgres::Error| broken(statements, view, error.to_string());
        let tags: Option<Vec<Option<&str>>> = row.try_get(4).map_err(unreadable)?;
        let Some(tags) = tags else {
            return Err(broken(statements, view, "its tags are NULL".to_owned()));
        };
        let wide = &self.table_tags[usize::from(view.0)];
        let mut tags: Vec<Tag> = tags
            .into_iter()
            .flatten()
            .map(tag_of)
            .chain(wide.iter().copied().filter(|_| stands(Safeguard::TableTag)))
            .collect();
        tags.sort_unstable();
        tags.dedup();
        let remaining: Option<i64> = row.try_get(5).map_err(unreadable)?;
        Ok(Filled {
            incarnation: incarnation(row.try_get(1).map_err(unreadable)?)?,
            as_of: Position(row.try_get::<_, i64>(2).map_err(unreadable)? as u64),
            body: row
                .try_get::<_, Option<&str>>(3)
                .map_err(unreadable)?
                .map(|text| Bytes::copy_from_slice(text.as_bytes())),
            tags: tags.into(),
            remaining: remaining.map(|ms| Duration::from_millis(ms.max(0) as u64)),
        })
    }
}

impl FillConnection {
    /// A session whose settings are lost has no more answers; the next fill opens another.
    fn give_up_if_lost<T>(&self, answer: Result<T, PostgresError>) -> Result<T, PostgresError> {
        if matches!(answer, Err(PostgresError::SessionLost)) {
            self.connection.close();
        }
        answer
    }

    async fn statement(&self, view: ViewId, params: usize) -> Result<Statement, PostgresError> {
        let mut prepared = self.prepared.lock().await;
        if let Some(statement) = prepared.get(&view) {
            return Ok(statement.clone());
        }
        let operation = format!("prepare view `{}`", self.statements.view_name(view));
        let statement = self
            .connection
            .prepare(&operation, &self.statements.fill(view), &vec![Type::TEXT; params])
            .await?;
        prepared.insert(view, statement.clone());
        Ok(statement)
    }
}

fn broken(statements: &Statements, view: ViewId, reason: String) -> PostgresError {
    PostgresError::View {
        view: statements.view_name(view).to_owned(),
        reason,
    }
}

fn arguments(params: &[String]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
}

/// Takes the incarnation out of an answer; an answer without one comes from a session that can't be relied on.
pub(crate) fn incarnation(bytes: Option<&[u8]>) -> Result<Incarnation, PostgresError> {
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map(Incarnation)
        .ok_or(PostgresError::SessionLost)
}
