//! Why a listener can't be started.

use std::{io, path::PathBuf};

use neverstale_lifecycle::FileError;

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
