//! Why the door can't be opened.

use neverstale_listener::ListenError;

/// The `ingress` listener can't be started.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// There is no place to listen, or a file can't be used.
    #[error("start the ingress listener")]
    Listen(#[from] ListenError),
    /// A setting is not what it should be.
    #[error("start the ingress listener: {setting}: {reason}")]
    Setting {
        /// Its path.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}
