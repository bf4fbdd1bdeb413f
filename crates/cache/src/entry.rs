//! An entry: finished response bytes with the stamp that says what they are worth.

use bytes::Bytes;
use http::HeaderValue;
use neverstale_coherence::Stamp;
use ring::digest::{SHA256, digest};

/// What a view answered for a key.
#[derive(Debug)]
pub struct Entry {
    /// Whose positions, which state, what can change it, until when.
    pub stamp: Stamp,
    /// Whether there is something of that name (200) or not (404).
    pub is_found: bool,
    /// The finished JSON; empty where nothing is found.
    pub body: Bytes,
    /// A strong validator of the body.
    pub etag: HeaderValue,
    /// Whether it carries a secret.
    pub is_secret: bool,
}

impl Entry {
    /// Finishes an entry.
    pub fn new(stamp: Stamp, body: Option<Bytes>, is_secret: bool) -> Self {
        let is_found = body.is_some();
        let body = body.unwrap_or_default();
        let etag = etag_of(&body);
        Self {
            stamp,
            is_found,
            body,
            etag,
            is_secret,
        }
    }

    /// What it takes in memory, beside its key.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.body.len() + self.etag.len() + size_of_val(&*self.stamp.tags)
    }
}

/// Gives the strong validator of a body.
pub fn etag_of(body: &[u8]) -> HeaderValue {
    let digest = digest(&SHA256, body);
    let mut text = String::with_capacity(34);
    text.push('"');
    for byte in &digest.as_ref()[..16] {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    text.push('"');
    HeaderValue::from_str(&text).expect("hexadecimal digits in quotes are a header value")
}
