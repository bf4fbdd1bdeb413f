//! Why a read can't be entitled now.

use std::{sync::Arc, time::Duration};

use neverstale_postgres::PostgresError;

/// A fence that was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FeedError {
    /// Postgres did not answer the feed.
    #[error("the primary does not answer")]
    Unreachable(#[source] Arc<PostgresError>),
    /// A question to Postgres has been open for longer than the primary ever takes.
    #[error("the primary has not answered for {0:?}")]
    Silent(Duration),
    /// The installation could not be verified.
    #[error("the installation could not be verified: {0}")]
    Verification(String),
    /// No incarnation has been read yet.
    #[error("the first fence has not been answered yet")]
    Starting,
    /// The deadline came first.
    #[error("the deadline passed while waiting for a fence")]
    Deadline,
    /// The log is still behind the token that the caller holds, after a fence.
    #[error("the token lies ahead of every commit that the primary has shown: it is of another time line, or made up")]
    TokenAhead,
    /// Nobody follows the database any more: the process is ending, or a part of it has failed.
    #[error("the feed has ended: the sidecar is shutting down, or has to be restarted")]
    Ended,
}
