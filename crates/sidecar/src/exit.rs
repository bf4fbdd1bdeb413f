//! How the process ends: the exit codes that scripts rely on, and which failure gives which.

use std::{
    io::{self, ErrorKind},
    process::ExitCode,
};

use anyhow::anyhow;
use neverstale_installation::InstallationError;
use neverstale_lifecycle::FileError;
use neverstale_postgres::PostgresError;
use neverstale_settings::Problems;

/// The exit codes; part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Not done.
    Failed = 1,
    /// The command line or the settings are wrong.
    Usage = 2,
    /// Done, and something was found that needs a person.
    Findings = 3,
    /// A store that the command needs can't be reached.
    Unavailable = 4,
}

/// What `--help` says about them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; serve: also when an address to listen on is taken
  2  the command line or the settings are wrong
  3  findings: verify, rbac verify, doctor, audit or top --once found something that needs a person
  4  unavailable: the database can't be reached";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that could not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }

    /// A listener that did not start: its settings are wrong, or the machine does not let it have its address.
    pub(crate) fn of_listener(error: impl Into<anyhow::Error>, setting: &str) -> Self {
        let error = error.into();
        let refused = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
        let is_file = error.chain().any(<dyn std::error::Error>::is::<FileError>);
        match refused.map(io::Error::kind) {
            Some(kind) if !is_file && kind != ErrorKind::InvalidInput => Self {
                exit: Exit::Failed,
                error: match kind {
                    ErrorKind::AddrInUse => anyhow!("{error:#}: end whoever has it, or choose another by {setting}"),
                    _ => error,
                },
            },
            _ => Self::usage(error),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            exit: Exit::Failed,
            error,
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::usage(problems)
    }
}

impl From<PostgresError> for Failure {
    fn from(error: PostgresError) -> Self {
        let exit = if error.is_disconnect() {
            Exit::Unavailable
        } else {
            Exit::Failed
        };
        Self {
            exit,
            error: error.into(),
        }
    }
}

impl From<InstallationError> for Failure {
    fn from(error: InstallationError) -> Self {
        let is_closed = |source: &tokio_postgres::Error| source.is_closed();
        let exit = match &error {
            InstallationError::Database { source, .. } if is_closed(source) => Exit::Unavailable,
            InstallationError::NotInstalled | InstallationError::Refused { .. } => Exit::Findings,
            InstallationError::LeaseTooLong { .. } | InstallationError::UnknownRole { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Self {
            exit,
            error: error.into(),
        }
    }
}
