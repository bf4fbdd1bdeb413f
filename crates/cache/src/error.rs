//! Why a read has no answer.

use std::sync::Arc;

use neverstale_changefeed::FeedError;
use neverstale_postgres::PostgresError;

/// A read that can't be answered at the level that it asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The read could not be entitled.
    #[error("the read can't be entitled")]
    Entitlement(#[from] FeedError),
    /// Postgres did not fill the entry.
    #[error("the fill failed")]
    Fill(#[source] Arc<PostgresError>),
    /// The deadline came first.
    #[error("the deadline passed during a fill")]
    Deadline,
}

impl ReadError {
    /// Says whether it was time that ran out, rather than Postgres that is away.
    pub fn is_deadline(&self) -> bool {
        matches!(self, Self::Deadline | Self::Entitlement(FeedError::Deadline))
    }
}
