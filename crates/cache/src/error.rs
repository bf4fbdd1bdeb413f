//! Why a read has no answer.

use std::sync::Arc;

use neverstale_changefeed::FeedError;
use neverstale_postgres::PostgresError;
use neverstale_wire::{Problem, ProblemKind};

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

    /// Says whether the view itself fails, of which nobody but us will ever tell.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Fill(cause) if !cause.is_disconnect())
    }

    /// What a caller may know of it.
    pub fn problem(&self) -> Problem {
        let detail = match self {
            _ if self.is_deadline() => return ProblemKind::DeadlineExceeded.into(),
            Self::Entitlement(FeedError::TokenAhead) => {
                "the token lies ahead of the primary: it is of another time line, or made up"
            }
            Self::Entitlement(FeedError::Starting) => "the sidecar is starting",
            Self::Entitlement(FeedError::Ended) => {
                "the sidecar is shutting down or has to be restarted; /livez says which"
            }
            Self::Entitlement(FeedError::Verification(_)) => "the installation could not be verified; /readyz says why",
            Self::Entitlement(_) => "the primary does not answer",
            Self::Fill(cause) if matches!(**cause, PostgresError::NotInstalled) => {
                "Neverstale is not installed, or not whole: run `neverstale install`"
            }
            Self::Fill(cause) if cause.is_disconnect() => "the primary does not answer",
            Self::Fill(_) => "the view could not be read; the log says why",
            Self::Deadline => unreachable!("is_deadline says so"),
        };
        Problem::new(ProblemKind::Unavailable, detail)
    }
}
