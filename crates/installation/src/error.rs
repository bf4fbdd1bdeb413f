//! What can fail while an installation is read or changed, each with the next step.

use std::fmt;

use crate::verdict::Finding;

/// Why an installation could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// A statement failed.
    #[error("{operation}; its database error says why, and nothing of this step was kept")]
    Database {
        /// What was being done.
        operation: Operation,
        /// Answer of the server, or loss of the connection.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The role lacks a right.
    #[error("{operation}: the role lacks a right; connect as the role that owns the application's tables")]
    Rights {
        /// What was being done.
        operation: Operation,
        /// Answer of the server.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A lock could not be had within the lock timeout, however often it was tried.
    #[error(
        "{operation}: no lock after {attempts} attempts; end long transactions on that table, or choose a quieter hour"
    )]
    Locked {
        /// What was being done.
        operation: Operation,
        /// How often it was tried.
        attempts: u32,
        /// The last refusal.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The application's schema, or another version's objects, do not allow what was asked.
    #[error("this database cannot be installed into: {}", list(.findings))]
    Refused {
        /// What stands in the way.
        findings: Vec<Finding>,
    },
    /// There is no installation.
    #[error("neverstale is not installed in this database; run neverstale install")]
    NotInstalled,
    /// The installation is suspended.
    #[error("the installation is suspended; run neverstale resume when the migration is done")]
    Suspended,
    /// Somebody else changed the lease, suspended or installed at the same time.
    #[error(
        "somebody else changed the lease or suspended the installation meanwhile; look at neverstale verify and try again"
    )]
    ChangedMeanwhile,
    /// The lease asked for is out of bounds.
    #[error("a lease of {lease_ms} ms is too long, each watched commit would wait for it; the longest is {max} ms", max = crate::LEASE_MS_MAX)]
    LeaseTooLong {
        /// What was asked for.
        lease_ms: u32,
    },
    /// The role to grant to does not exist.
    #[error("role {role} does not exist; create it first, with LOGIN and without further rights")]
    UnknownRole {
        /// Its name.
        role: String,
    },
    /// The server is a standby.
    #[error("this server is a standby; connect to the primary")]
    Standby,
    /// The server is older than what is needed.
    #[error("PostgreSQL {version} is too old; 14 or newer is needed")]
    ServerTooOld {
        /// `server_version_num`.
        version: i32,
    },
    /// The state came back in a shape that this build does not know.
    #[error("read the state of the installation; it was made by another version, see which build installed it")]
    Unreadable {
        /// Where the reading stopped.
        #[source]
        source: serde_json::Error,
    },
}

/// What was being done when the database refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Reading catalogs and our rows.
    Inspect,
    /// Performing one step of a plan.
    Step(String),
    /// Waiting for all commits that may have read the old commit wait.
    Drain,
    /// Changing the lease or the commit wait.
    Lease,
    /// Removing old positions.
    Prune,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inspect => f.write_str("inspect the installation"),
            Self::Step(title) => f.write_str(title),
            Self::Drain => f.write_str("wait for the commits under way"),
            Self::Lease => f.write_str("change the lease"),
            Self::Prune => f.write_str("prune the log"),
        }
    }
}

impl Operation {
    /// The error of this operation.
    pub(crate) fn failed(self, source: tokio_postgres::Error) -> InstallationError {
        if source.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) {
            InstallationError::Rights {
                operation: self,
                source,
            }
        } else {
            InstallationError::Database {
                operation: self,
                source,
            }
        }
    }
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("; ")
}
