//! Why a caller is not known, and why none ever will be.

use neverstale_cache::ReadError;
use neverstale_lifecycle::FileError;

/// A token or key that names nobody, or of which it can't be known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IdentityError {
    /// It is no valid session: forged, expired, revoked, or of nobody. Which of them is nobody's business.
    #[error("this is no valid session")]
    NoSession,
    /// It is no valid API key.
    #[error("this is no valid API key")]
    NoApiKey,
    /// Something that must be asked does not answer, or was never set.
    #[error("{0}")]
    Unavailable(&'static str),
    /// The cache has no answer in time.
    #[error("the account can't be read")]
    Read(#[from] ReadError),
    /// The application's schema has no sessions, or no API keys.
    #[error("the application's schema has none of this kind")]
    NotInThisSchema,
    /// The flavour's view gives something else than it must; the log says what.
    #[error("the flavour's view does not give what it must")]
    Flavour,
}

impl IdentityError {
    /// Says whether the caller is known not to be anybody, rather than unknown for now.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::NoSession | Self::NoApiKey | Self::NotInThisSchema)
    }
}

/// Callers can't be told apart at all.
#[derive(Debug, thiserror::Error)]
pub enum IdentityStartError {
    /// The file of the secret can't be used.
    #[error("read the secret of sessions")]
    Secret(#[from] FileError),
    /// Two settings contradict each other.
    #[error("{0}")]
    Conflict(&'static str),
    /// The flavour's session rules ask for something that is not known here.
    #[error("the flavour's session algorithm `{0}` is none of HS256, HS384, HS512")]
    Algorithm(String),
}
