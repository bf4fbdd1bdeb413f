//! What can go wrong between us and Postgres, in the words of whoever has to mend it.

use std::time::Duration;

/// An operation on Postgres that failed.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No connection could be made.
    #[error("connect to {target}")]
    Connect {
        /// Host, port and database, without the password.
        target: String,
        /// What the driver says.
        #[source]
        source: tokio_postgres::Error,
    },
    /// No connection was made in time.
    #[error("connect to {target}: no answer within {limit:?}")]
    ConnectTimeout {
        /// Host, port and database, without the password.
        target: String,
        /// The limit that was set.
        limit: Duration,
    },
    /// A statement failed.
    #[error("{operation}")]
    Statement {
        /// What was asked, such as "take a fence" or "fill view `user`".
        operation: String,
        /// What the server says.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A statement was not answered in time; its connection is given up.
    #[error("{operation}: no answer within {limit:?}")]
    Timeout {
        /// What was asked.
        operation: String,
        /// The limit that was set.
        limit: Duration,
    },
    /// Nothing of ours is in that database.
    #[error("Neverstale is not installed in this database: run `neverstale install`")]
    NotInstalled,
    /// Our tables are there, and rows of theirs are missing.
    #[error("Neverstale's tables are incomplete: a restore is under way, or run `neverstale install`")]
    Incomplete,
    /// The server is a standby, which can't answer for the primary.
    #[error("{target} is a standby: point --database-url at the primary")]
    Standby {
        /// Host, port and database, without the password.
        target: String,
    },
    /// The connection lost what was set on it, as happens behind a pooler in transaction mode.
    #[error(
        "the session's settings were lost between statements: a pooler in transaction mode is in between; connect directly or through session pooling"
    )]
    SessionLost,
    /// A relation that the statement was written for is not there any more; another connection finds what there is.
    #[error("{operation}: a table of the application is gone")]
    TableGone {
        /// What was asked.
        operation: String,
        /// What the server says, with the table's name.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A view did not give exactly one row with the columns that it owes.
    #[error("view `{view}` broke its contract: {reason}")]
    View {
        /// The view's name.
        view: String,
        /// What is wrong with its answer.
        reason: String,
    },
    /// A certificate authority file could not be used.
    #[error("read certificates for TLS to Postgres: {0}")]
    Certificates(String),
}

impl PostgresError {
    /// Names a failed statement, and recognises the failures that have a next step of their own.
    pub(crate) fn of_statement(operation: impl Into<String>, source: tokio_postgres::Error) -> Self {
        use tokio_postgres::error::SqlState;
        match source.code() {
            Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME | &SqlState::UNDEFINED_FUNCTION)
                if source
                    .as_db_error()
                    .is_some_and(|error| error.message().contains("neverstale")) =>
            {
                Self::NotInstalled
            }
            Some(&SqlState::UNDEFINED_TABLE) => Self::TableGone {
                operation: operation.into(),
                source,
            },
            _ => Self::Statement {
                operation: operation.into(),
                source,
            },
        }
    }

    /// Says whether the server gave a statement up because it took too long; a smaller question may be answered.
    pub fn is_too_much(&self) -> bool {
        use tokio_postgres::error::SqlState;
        matches!(self, Self::Statement { source, .. } if source.code() == Some(&SqlState::QUERY_CANCELED))
    }

    /// Says whether the connection is of no more use.
    pub fn is_disconnect(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Timeout { .. }
            | Self::SessionLost
            | Self::TableGone { .. } => true,
            Self::Statement { source, .. } => {
                source.is_closed() || source.as_db_error().is_none() || is_shutdown(source)
            }
            _ => false,
        }
    }
}

fn is_shutdown(error: &tokio_postgres::Error) -> bool {
    // Class 57P: the operator or a crash ends the session. 25006/55000: the server became a standby under us.
    error.code().is_some_and(|state| state.code().starts_with("57P"))
}
