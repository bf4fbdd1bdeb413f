//! Whose API key it is.
//!
//! The key goes into the SQL parameter and nowhere else: the cache knows it by its SHA-256, and no log line ever sees it. A key
//! that is not known takes the same way as one that is.

use std::fmt::Write;

use neverstale_flavour::{Read, Router};
use ring::digest::{SHA256, digest};

use crate::IdentityError;

/// The view that answers.
pub const API_KEY_VIEW: &str = "api-key";
/// Longer keys are refused.
pub const API_KEY_CHARS_MAX: usize = 512;

/// Gives what must be read about a key.
pub(crate) fn read(router: &Router, key: &str) -> Result<Read, IdentityError> {
    if key.is_empty() || key.contains('\0') || key.chars().count() > API_KEY_CHARS_MAX {
        return Err(IdentityError::NoApiKey);
    }
    let read = router.read_of(API_KEY_VIEW, &cache_key(key), &[key]);
    read.ok_or(IdentityError::NotInThisSchema)
}

/// The name under which the cache knows a key.
fn cache_key(key: &str) -> String {
    let mut name = String::from("api-keys:");
    for byte in digest(&SHA256, key.as_bytes()).as_ref() {
        write!(name, "{byte:02x}").expect("writing to a string never fails");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_knows_a_key_by_its_hash() {
        assert_eq!(
            cache_key("abc"),
            "api-keys:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
