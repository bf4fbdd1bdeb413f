//! Why there is no decision. Whoever gets one of these refuses.

use neverstale_cache::ReadError;
use neverstale_flavour::RouteError;
use neverstale_wire::{Problem, ProblemKind};

/// A question that can't be decided.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DecideError {
    /// The facts can't be read as fresh as they must be.
    #[error("the facts of a decision can't be read")]
    Facts(#[from] ReadError),
    /// The id of a subject or a resource can't be one.
    #[error("this can't be an id: {0}")]
    Malformed(#[source] RouteError),
    /// The flavour has no rules for this type of resources.
    #[error("this schema flavour has no rules for resources of this type")]
    NotInThisSchema,
    /// A view answered what the rules can't be applied to.
    #[error("the facts of a decision can't be understood")]
    Unreadable,
}

impl DecideError {
    /// What a caller may know of it.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Facts(error) => error.problem(),
            Self::Malformed(RouteError::Malformed(reason)) => Problem::new(ProblemKind::Malformed, reason.clone()),
            Self::Malformed(_) | Self::NotInThisSchema => ProblemKind::NotInThisSchema.into(),
            Self::Unreadable => ProblemKind::Internal.into(),
        }
    }

    /// Says whether it is a fault of ours, or of the flavour's, of which nobody else will ever tell.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Facts(error) => error.is_ours(),
            Self::Unreadable => true,
            Self::Malformed(_) | Self::NotInThisSchema => false,
        }
    }
}
