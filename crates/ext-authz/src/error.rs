//! Why Envoy can't be answered.

use neverstale_listener::ListenError;

/// The `ext_authz` listener can't be started.
#[derive(Debug, thiserror::Error)]
pub enum ExtAuthzError {
    /// There is no place to listen.
    #[error("start the ext_authz listener")]
    Listen(#[from] ListenError),
}
