//! Seals what we leave in Redis with AES-256-GCM, under keys that can be rotated.
//!
//! Stands beneath [`crate::l2`] and [`crate::broadcast`]: what does not open was not written by us, for this place (PROTOCOL §7, attack 12).
//! A sealed text is `key id (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. Nonces are random: rotate the key before it has sealed
//! 2³² texts (NIST SP 800-38D §8.3), which at a thousand writes a second is after 49 days.
//! Does not read files: whoever owns the setting does, and again when the file changes.

use std::{collections::HashSet, fmt, sync::Arc};

use arc_swap::ArcSwap;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{Context, SHA256},
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
const KEY_ID_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
/// How many bytes a sealed text is longer than what is in it.
pub const SEAL_BYTES: usize = KEY_ID_BYTES + NONCE_LEN + TAG_BYTES;
/// Keys that one file may hold: two are a rotation, more are a margin.
pub const KEYS_MAX: usize = 16;

/// The keys of a key file: the first seals, all of them open. Clones share them, also when they are replaced. Can't be printed.
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<ArcSwap<Vec<RingKey>>>,
    random: SystemRandom,
}

struct RingKey {
    id: [u8; KEY_ID_BYTES],
    key: LessSafeKey,
}

/// Says what is wrong with a key file, and in which line; never shows what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// A line is neither a key, nor a comment, nor empty.
    #[error(
        "line {line} of the key file is no key: write 64 hex digits or the base64 of 32 bytes, for example from `openssl rand -hex 32`"
    )]
    NotAKey {
        /// Counted from 1.
        line: usize,
    },
    /// A key stands there twice.
    #[error("line {line} of the key file repeats an earlier key: remove one of them")]
    Repeated {
        /// Counted from 1.
        line: usize,
    },
    /// There are more keys than any rotation needs.
    #[error("line {line} of the key file is the {}th key: remove those that nothing in Redis is sealed with any more", KEYS_MAX + 1)]
    TooMany {
        /// Counted from 1.
        line: usize,
    },
    /// There is no key at all.
    #[error("the key file holds no key: write one, for example from `openssl rand -hex 32`")]
    Empty,
}

/// Says why a sealed text did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// It is shorter than any sealed text.
    #[error("a sealed text is cut short")]
    Truncated,
    /// None of our keys has its key id.
    #[error("a text is sealed with a key that is not in the key file")]
    OtherKey,
    /// It was changed, or sealed for another place.
    #[error("a sealed text is not authentic")]
    Unauthentic,
}

impl KeyRing {
    /// Reads the text of a key file: a key a line, empty lines and lines that begin with `#` aside.
    ///
    /// # Errors
    /// Names the first line that is wrong, or that there is no key.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let mut keys = Vec::new();
        let mut seen = HashSet::new();
        for (index, content) in text.lines().enumerate() {
            let (line, content) = (index + 1, content.trim());
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let bytes = parse_hex(content)
                .or_else(|| parse_base64(content))
                .ok_or(KeyRingError::NotAKey { line })?;
            let key = RingKey::new(&bytes);
            if !seen.insert(key.id) {
                return Err(KeyRingError::Repeated { line });
            }
            if keys.len() == KEYS_MAX {
                return Err(KeyRingError::TooMany { line });
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        Ok(Self {
            keys: Arc::new(ArcSwap::from_pointee(keys)),
            random: SystemRandom::new(),
        })
    }

    /// Takes the keys of another ring in place of its own, in all clones: the file has changed.
    pub fn replace(&self, other: &Self) {
        self.keys.store(other.keys.load_full());
    }

    /// Gives the ids of the keys, the sealing one first: what an operator may compare between pods.
    pub fn key_ids(&self) -> Vec<String> {
        let keys = self.keys.load();
        keys.iter()
            .map(|key| format!("{:08x}", u32::from_be_bytes(key.id)))
            .collect()
    }

    /// Appends `plain`, sealed with the first key and bound to `bound`, to `out`.
    pub(crate) fn seal_into(&self, out: &mut Vec<u8>, bound: &[u8], plain: &[u8]) {
        let keys = self.keys.load();
        let sealing = &keys[0];
        let mut nonce = [0; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .expect("the system gives random bytes once it is up");
        out.reserve(plain.len() + SEAL_BYTES);
        out.extend_from_slice(&sealing.id);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plain);
        let tag = sealing
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut out[start..])
            .expect("a text that fits into memory is shorter than the cipher's limit");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens a text that [`Self::seal_into`] made for the same `bound`.
    pub(crate) fn open(&self, bound: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        if sealed.len() < SEAL_BYTES {
            return Err(Unopened::Truncated);
        }
        let (id, rest) = sealed.split_at(KEY_ID_BYTES);
        let (nonce, ciphertext) = rest.split_at(NONCE_LEN);
        let keys = self.keys.load();
        let opening = keys.iter().find(|key| key.id == id).ok_or(Unopened::OtherKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopened::Truncated)?;
        let mut plain = ciphertext.to_vec();
        let length = opening
            .key
            .open_in_place(nonce, Aad::from(bound), &mut plain)
            .map_err(|_| Unopened::Unauthentic)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.keys.load().len())
    }
}

impl RingKey {
    fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let mut digest = Context::new(&SHA256);
        digest.update(b"neverstale key id");
        digest.update(bytes);
        let id = digest.finish().as_ref()[..KEY_ID_BYTES]
            .try_into()
            .expect("a SHA-256 has more than four bytes");
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("the key has the length of the cipher's keys");
        Self {
            id,
            key: LessSafeKey::new(key),
        }
    }
}

fn parse_hex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(key)
}

/// Reads 43 digits of either base64 alphabet, with or without the one padding sign.
fn parse_base64(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let digits = text.strip_suffix('=').unwrap_or(text);
    if digits.len() != 43 {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let (mut bits, mut bit_count, mut next) = (0_u32, 0, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            key[next] = (bits >> bit_count) as u8;
            next += 1;
            bits &= (1 << bit_count) - 1;
        }
    }
    // 43 digits are 258 bits: the last two must be zero, or a key would have four texts.
    (bits == 0).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn hex_and_base64_name_the_same_key() {
        let ids = |text| KeyRing::parse(text).unwrap().key_ids();
        assert_eq!(ids(HEX), ids(BASE64));
        assert_eq!(ids(HEX), ids(BASE64.trim_end_matches('=')));
        assert_eq!(ids(&HEX.to_uppercase()), ids(HEX));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = |text: &str| KeyRing::parse(text).unwrap_err();
        assert_eq!(error(""), KeyRingError::Empty);
        assert_eq!(error("# none yet\n\n"), KeyRingError::Empty);
        assert_eq!(
            error(&format!("# ours\n{HEX}\nhunter2")),
            KeyRingError::NotAKey { line: 3 }
        );
        assert_eq!(
            error(&format!("{HEX}\n\n  {BASE64}")),
            KeyRingError::Repeated { line: 3 }
        );
        assert_eq!(error(&HEX[1..]), KeyRingError::NotAKey { line: 1 });
        assert_eq!(error(&BASE64.replace("8=", "9=")), KeyRingError::NotAKey { line: 1 });
        let many: Vec<String> = (0..=KEYS_MAX).map(|n| format!("{n:064x}")).collect();
        assert_eq!(error(&many.join("\n")), KeyRingError::TooMany { line: 17 });
        assert!(!error("hunter2").to_string().contains("hunter2"));
    }

    #[test]
    fn the_first_key_seals_and_every_key_opens() {
        let old = KeyRing::parse(HEX).unwrap();
        let new = KeyRing::parse(&format!("{:064x}\n{HEX}", 7)).unwrap();
        let mut by_old = Vec::new();
        old.seal_into(&mut by_old, b"place", b"text");
        assert_eq!(new.open(b"place", &by_old).unwrap(), b"text");
        let mut by_new = Vec::new();
        new.seal_into(&mut by_new, b"place", b"text");
        assert_eq!(old.open(b"place", &by_new), Err(Unopened::OtherKey));
        assert_eq!(new.open(b"other place", &by_new), Err(Unopened::Unauthentic));
        assert_eq!(by_new.len(), 4 + SEAL_BYTES);
    }

    #[test]
    fn keys_are_replaced_in_all_clones() {
        let ring = KeyRing::parse(HEX).unwrap();
        let clone = ring.clone();
        let mut by_old = Vec::new();
        clone.seal_into(&mut by_old, b"place", b"text");
        ring.replace(&KeyRing::parse(&format!("{:064x}", 7)).unwrap());
        assert_eq!(clone.open(b"place", &by_old), Err(Unopened::OtherKey));
        assert_eq!(clone.key_ids(), ring.key_ids());
    }

    #[test]
    fn a_key_ring_shows_no_key() {
        let shown = format!("{:?}", KeyRing::parse(HEX).unwrap());
        assert_eq!(shown, "KeyRing(1 keys)");
    }
}
