//! The connection on which a sidecar asks how far the world is: outset, fence, settlement, log.
//!
//! Used by one task, one question at a time, so that the order of questions is the order of answers.

use std::time::Duration;

use neverstale_coherence::{
    FenceAnswer, Incarnation, Intent, Mark, Moment, OutstandingMarks, PageHead, Position, SettleAnswer,
};
use neverstale_flavour::Flavour;
use tokio_postgres::{
    Row, Statement,
    types::{FromSql, Type},
};

use crate::{Connection, PostgresError, Statements, sql::FoundTable};

/// Whoever holds it is the relay.
const RELAY_LOCK: &str = "SELECT pg_catalog.pg_try_advisory_lock($1, 2)";

/// Where a world may begin.
#[derive(Clone, Copy, Debug)]
pub struct Outset {
    /// Whose positions these are.
    pub incarnation: Incarnation,
    /// The log is complete above this position.
    pub pruned_to: Position,
    /// The newest visible position.
    pub newest: Position,
    /// The class of our advisory locks.
    pub lock_class: i32,
    /// The operator has taken the triggers off for a while.
    pub suspended: bool,
}

/// One watched commit, with the text of its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Its place in the order of visibility.
    pub position: Position,
    /// The intent that announced it.
    pub intent: Option<Intent>,
    /// What it invalidated.
    pub tags: Vec<String>,
}

/// Rows of the log, from one snapshot.
#[derive(Clone, Debug)]
pub struct LogPage {
    /// Who answered, and how far the log reaches.
    pub head: PageHead,
    /// The rows, by position.
    pub rows: Vec<LogRow>,
}

/// A connection with the feed's statements prepared.
pub struct FeedConnection {
    connection: Connection,
    fence: Statement,
    newest_intent: Statement,
    outstanding: Statement,
    log_page: Statement,
    outset: Statement,
    relay: Statement,
}

impl FeedConnection {
    /// Prepares the feed's statements on a fresh connection, for the tables as they are now.
    ///
    /// # Errors
    ///
    /// [`PostgresError::NotInstalled`] where the schema is missing, and whatever the server says.
    pub async fn prepare(
        connection: Connection,
        flavour: &Flavour,
        app_schema: &str,
    ) -> Result<(Self, Statements), PostgresError> {
        let names: Vec<&str> = flavour.tables.iter().map(|table| table.name.as_str()).collect();
        let client = connection.client();
        let found = connection
            .within(
                "look for the watched tables",
                client.query(Statements::FOUND, &[&app_schema, &names]),
            )
            .await?
            .iter()
            .map(|row| FoundTable {
                name: row.get(0),
                is_partitioned: row.get(1),
            })
            .collect::<Vec<_>>();
        let statements = Statements::new(flavour, app_schema, &found);
        let prepared = |operation, sql: String, types: &'static [Type]| {
            let connection = &connection;
            async move { connection.prepare(operation, &sql, types).await }
        };
        let (fence, newest_intent, outstanding, log_page, outset, relay) = tokio::try_join!(
            prepared("prepare the fence", statements.fence(), &[]),
            prepared("prepare a settlement", statements.newest_intent(), &[]),
            prepared("prepare a settlement", statements.outstanding(), &[Type::INT4]),
            prepared("prepare log pages", statements.log_page(), &[Type::INT8, Type::INT8]),
            prepared("prepare the outset", statements.outset(), &[]),
            prepared("prepare the relay's lock", RELAY_LOCK.to_owned(), &[Type::INT4]),
        )?;
        Ok((
            Self {
                connection,
                fence,
                newest_intent,
                outstanding,
                log_page,
                outset,
                relay,
            },
            statements,
        ))
    }

    /// The connection itself, for verification and housekeeping.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Asks where a world may begin, and names this boot if nobody has since Postgres started.
    pub async fn outset(&self) -> Result<Outset, PostgresError> {
        let mut row = self.one("ask for the outset", &self.outset).await?;
        if field::<Option<&[u8]>>(&row, 0)?.is_none() {
            self.connection
                .within(
                    "name the boot",
                    self.connection.client().batch_execute(Statements::BOOT),
                )
                .await?;
            row = self.one("ask for the outset", &self.outset).await?;
        }
        Ok(Outset {
            incarnation: incarnation(&row)?,
            pruned_to: position(&row, 1)?,
            newest: position(&row, 2)?,
            lock_class: field(&row, 3)?,
            suspended: field(&row, 4)?,
        })
    }

    /// Takes a fence.
    pub async fn fence(&self) -> Result<FenceAnswer, PostgresError> {
        let row = self.one("take a fence", &self.fence).await?;
        Ok(FenceAnswer {
            incarnation: incarnation(&row)?,
            intent: intent(&row, 1)?,
            lease: Duration::from_millis(field::<i32>(&row, 2)?.max(0) as u64),
            position: position(&row, 3)?,
        })
    }

    /// Asks which intents are outstanding: three statements, in the order that the rule demands [11]. `now` is read just
    /// before the second one is queued; `goes_on` is told of each answer but the last. Gives none when the incarnation changed
    /// on the way.
    pub async fn settle(
        &self,
        expected: Incarnation,
        lock_class: i32,
        now: impl Fn() -> Moment,
        goes_on: impl Fn(),
    ) -> Result<Option<(Moment, SettleAnswer)>, PostgresError> {
        let first = self.one("settle: read the newest intent", &self.newest_intent).await?;
        goes_on();
        let sent = now();
        let locks = self
            .connection
            .within(
                "settle: read the outstanding intents",
                self.connection.client().query_one(&self.outstanding, &[&lock_class]),
            )
            .await?;
        goes_on();
        let last = self.fence().await?;
        if incarnation(&first)? != expected || incarnation(&locks)? != expected || last.incarnation != expected {
            return Ok(None);
        }
        let marks: Vec<Mark> = field::<Vec<i64>>(&locks, 2)?
            .into_iter()
            .map(|mark| Mark(mark as u32 as i32))
            .collect();
        let answer = SettleAnswer {
            intent: intent(&first, 1)?,
            outstanding: field::<Vec<i64>>(&locks, 1)?
                .into_iter()
                .map(|low| low as u32)
                .collect(),
            has_unnamed: !field::<bool>(&locks, 3)?,
            marks: if marks.contains(&Mark(0)) {
                OutstandingMarks::Everything
            } else {
                OutstandingMarks::Some(marks)
            },
            position: last.position,
            lease: last.lease,
        };
        Ok(Some((sent, answer)))
    }

    /// Fetches at most `rows_max` commits of the log after `after`; each may have a thousand tags.
    pub async fn log_page(&self, after: Position, rows_max: u32) -> Result<LogPage, PostgresError> {
        let rows = self
            .connection
            .within(
                "fetch the log",
                self.connection
                    .client()
                    .query(&self.log_page, &[&(after.0 as i64), &i64::from(rows_max)]),
            )
            .await?;
        let head = rows.first().ok_or_else(|| PostgresError::View {
            view: "log".to_owned(),
            reason: "the page has no head".to_owned(),
        })?;
        let (incarnation, pruned_to, newest) = (incarnation(head)?, position(head, 1)?, position(head, 2)?);
        let is_full = rows.len() >= rows_max as usize;
        let rows: Vec<LogRow> = rows
            .iter()
            .filter_map(|row| log_row(row).transpose())
            .collect::<Result<_, _>>()?;
        let head = PageHead {
            incarnation,
            pruned_to,
            newest,
            cut_at: rows.last().filter(|_| is_full).map(|row| row.position),
        };
        Ok(LogPage { head, rows })
    }

    /// Has the database begin another incarnation, because this one's positions or intents went back [2].
    pub async fn begin_anew(&self) -> Result<(), PostgresError> {
        let client = self.connection.client();
        self.connection
            .within(
                "begin another incarnation",
                client.batch_execute(Statements::BEGIN_ANEW),
            )
            .await
    }

    /// Tries to become the relay: one session of a database holds this lock, for as long as it lives.
    pub async fn try_relay(&self, lock_class: i32) -> Result<bool, PostgresError> {
        let client = self.connection.client();
        let row = self
            .connection
            .within(
                "ask for the relay's lock",
                client.query_one(&self.relay, &[&lock_class]),
            )
            .await?;
        Ok(row.get(0))
    }

    async fn one(&self, operation: &str, statement: &Statement) -> Result<Row, PostgresError> {
        self.connection
            .within(operation, self.connection.client().query_one(statement, &[]))
            .await
    }
}

fn log_row(row: &Row) -> Result<Option<LogRow>, PostgresError> {
    let Some(position) = field::<Option<i64>>(row, 3)? else {
        return Ok(None);
    };
    Ok(Some(LogRow {
        position: Position(position as u64),
        intent: field::<Option<i64>>(row, 4)?.map(|intent| Intent(intent as u64)),
        tags: field::<Option<Vec<String>>>(row, 5)?.unwrap_or_default(),
    }))
}

fn incarnation(row: &Row) -> Result<Incarnation, PostgresError> {
    crate::fills::incarnation(field(row, 0)?)
}

fn position(row: &Row, column: usize) -> Result<Position, PostgresError> {
    field::<i64>(row, column).map(|position| Position(position as u64))
}

fn intent(row: &Row, column: usize) -> Result<Intent, PostgresError> {
    field::<i64>(row, column).map(|intent| Intent(intent as u64))
}

/// Reads a field that is NULL only while our tables are being restored or taken away under us.
fn field<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, PostgresError> {
    row.try_get(column).map_err(|_| PostgresError::Incomplete)
}
