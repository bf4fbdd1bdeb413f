//! Why there is no decision. Whoever gets one of these refuses.

use neverstale_cache::ReadError;
use neverstale_flavour::RouteError;

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
