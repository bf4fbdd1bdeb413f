//! What can be wrong with a flavour: always a place, a reason and the next step.

use std::fmt;

/// A mistake in a flavour file, printed as `file:line: reason; next step`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FlavourError {
    /// File as the caller named it.
    pub file: String,
    /// Line, counted from 1; 0 when the file could not be read at all.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub next_step: String,
}

impl fmt::Display for FlavourError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            reason,
            next_step,
        } = self;
        write!(formatter, "{file}:{line}: {reason}; {next_step}")
    }
}

/// An operator set options that the flavour does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("flavour `{flavour}` has no option `{option}`; it has: {known}")]
pub struct UnknownOption {
    /// Name of the flavour.
    pub flavour: String,
    /// The option that was set.
    pub option: String,
    /// The options that exist, separated by commas.
    pub known: String,
}

/// Why a path is not a read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The path is part of the HTTP contract, or names a view, but this flavour lacks it.
    #[error("this schema flavour does not serve the path")]
    NotInThisSchema,
    /// The path is no part of the HTTP contract.
    #[error("no such path")]
    UnknownPath,
    /// The path is right but what fills it is not; says what.
    #[error("{0}")]
    Malformed(String),
}
