//! Why a listener can't be started.

use std::{io, path::PathBuf};

/// A file that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("read `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its contents can't be used; they are not repeated, because they are secrets.
    #[error("use `{path}`: {reason}")]
    Useless {
        /// The file, or the first of those that belong together.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A place where nothing can be listened for.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address can't be bound.
    #[error("listen on `{address}`")]
    Tcp {
        /// As the settings have it.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The Unix socket can't be bound.
    #[error("listen on the socket `{path}`")]
    Unix {
        /// As the settings have it.
        path: PathBuf,
        /// What the system says, or what is in the way.
        source: io::Error,
    },
    /// A file of certificates, keys or tokens can't be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The `api` listener can't be started.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is no place to listen, or a file can't be used.
    #[error("start the api listener")]
    Listen(#[from] ListenError),
    /// Two settings contradict each other.
    #[error("start the api listener: {0}")]
    Conflict(&'static str),
    /// The flavour's session rules ask for something that is not known here.
    #[error("start the api listener: the flavour's session algorithm `{0}` is none of HS256, HS384, HS512")]
    SessionAlgorithm(String),
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> Self {
        Self::Listen(ListenError::File(error))
    }
}
