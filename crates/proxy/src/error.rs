//! Why the `api` listener can't be started.

use neverstale_lifecycle::FileError;
use neverstale_listener::ListenError;

/// The `api` listener can't be started.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is no place to listen, or a file can't be used.
    #[error("start the api listener")]
    Listen(#[from] ListenError),
    /// Two settings contradict each other.
    #[error("start the api listener: {0}")]
    Conflict(&'static str),
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> Self {
        Self::Listen(ListenError::File(error))
    }
}
