//! Says who is asking: whose session token or API key it is, judged as the application judges it, from the coherent cache.
//!
//! For the API, which is asked by name, and for the door, which asks for every request that needs a decision. What can't be
//! known is not accepted. Knows nothing of HTTP, and nothing of what a caller may do.

mod error;

mod identity;

mod api_keys;
mod sessions;

pub use api_keys::{API_KEY_CHARS_MAX, API_KEY_VIEW};
pub use error::{IdentityError, IdentityStartError};
pub use identity::{Caller, Credential, Identity, IdentityParts};
pub use sessions::{SessionCheck, TOKEN_BYTES_MAX, nobodys_token};
