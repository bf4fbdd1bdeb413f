//! An entry as it lies in Redis: a versioned envelope, compressed when large, sealed when there is a key.
//!
//! Written after a fill, read before one. The envelope binds the value to its view, key and incarnation, so that a reply meant for
//! another read, a value of an earlier database and a forged one are all misses with a name (PROTOCOL §7, attack 12). The only file that
//! knows bincode. Knows nothing of validity: what opens here is judged by `coherence` like any other entry.
//!
//! ```text
//! "NV" ‖ version (1) ‖ flags (1) ‖ identity (16) ‖ sealed payload                 flags: 1 = zstd, 2 = sealed
//!                                                ‖ checksum (8) ‖ payload         when there is no key
//! payload = bincode, or its length (4, little-endian) and its zstd frame
//! identity = SHA-256 of view, key and incarnation, shortened; seal and checksum cover all that stands before them too
//! ```

use bincode::{BorrowDecode, Encode, config};
use bytes::Bytes;
use neverstale_coherence::{Incarnation, Position, Safeguard, Tag, safeguard::stands};
use ring::digest::{Context, SHA256};

use crate::seal::{KeyRing, SEAL_BYTES, Unopened};

const MAGIC: [u8; 2] = *b"NV";
const VERSION: u8 = 1;
const FLAG_ZSTD: u8 = 1;
const FLAG_SEALED: u8 = 2;
const IDENTITY_BYTES: usize = 16;
const HEADER_BYTES: usize = 4 + IDENTITY_BYTES;
const CHECKSUM_BYTES: usize = 8;
/// The fastest level: the network saved is worth little more.
const ZSTD_LEVEL: i32 = 1;
/// No body beyond this is ever written or unpacked, whatever the settings say: 16 MiB.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What view, key and tags may take beside the body.
const BESIDE_BYTES_MAX: usize = 256 * 1024;
const PAYLOAD_BYTES_MAX: usize = BODY_BYTES_MAX + BESIDE_BYTES_MAX;

/// An entry with all that a reader needs to judge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2Entry {
    /// The view that was asked.
    pub view: String,
    /// The canonical key within the view.
    pub key: String,
    /// The database that answered.
    pub incarnation: Incarnation,
    /// The position that the answer's own snapshot saw.
    pub as_of: Position,
    /// When the answer changes by time alone: seconds since 1970.
    pub not_after_seconds: Option<i64>,
    /// What can change the answer.
    pub tags: Vec<Tag>,
    /// The HTTP status of the answer: 200 or 404.
    pub status: u16,
    /// The finished body.
    pub body: Bytes,
}

/// Whether an answer carries a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidentiality {
    /// May lie in Redis as it is when no key is configured.
    Ordinary,
    /// Is sealed or absent; never compressed, because a length tells about what is in it.
    Secret,
}

/// Says why an entry was not put into an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum L2Unwritten {
    /// It is secret-bearing and there is no key.
    #[error("a secret-bearing entry stays out of L2 without a key file")]
    SecretWithoutKey,
    /// It is beyond the limit.
    #[error("an entry of {bytes} bytes is too large for L2")]
    TooLarge {
        /// The size of the body, or of all that stands beside it.
        bytes: usize,
    },
}

/// Says why what lay in Redis is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum L2Unreadable {
    /// It is in a form that this build does not know: a newer or older sidecar wrote it.
    #[error("an L2 value has another version")]
    Version,
    /// It is none of ours, cut short, or damaged.
    #[error("an L2 value is garbage")]
    Garbage,
    /// It is not sealed although we seal, or it was changed.
    #[error("an L2 value is not authentic")]
    Unauthentic,
    /// It belongs to another view, key or incarnation, or is sealed with a key that we do not have.
    #[error("an L2 value is somebody else's")]
    Foreign,
}

impl L2Unreadable {
    /// Gives the word for the metrics' label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Garbage => "garbage",
            Self::Unauthentic => "unauthentic",
            Self::Foreign => "foreign",
        }
    }
}

/// Writes and reads envelopes under one set of settings.
#[derive(Clone, Debug)]
pub struct L2Codec {
    keys: Option<KeyRing>,
    body_bytes_max: usize,
    compress_over_bytes: usize,
}

impl L2Codec {
    /// Makes a codec that seals if there are keys, and refuses bodies over `body_bytes_max` (at most [`BODY_BYTES_MAX`]).
    pub fn new(keys: Option<KeyRing>, body_bytes_max: usize, compress_over_bytes: usize) -> Self {
        Self {
            keys,
            body_bytes_max: body_bytes_max.min(BODY_BYTES_MAX),
            compress_over_bytes,
        }
    }

    /// Says whether secret-bearing entries may be written.
    pub fn seals(&self) -> bool {
        self.keys.is_some()
    }

    /// Puts an entry into its envelope.
    ///
    /// # Errors
    /// Refuses secrets without a key, and what is too large.
    pub fn write(&self, entry: &L2Entry, confidentiality: Confidentiality) -> Result<Vec<u8>, L2Unwritten> {
        if confidentiality == Confidentiality::Secret && self.keys.is_none() {
            return Err(L2Unwritten::SecretWithoutKey);
        }
        if entry.body.len() > self.body_bytes_max {
            return Err(L2Unwritten::TooLarge {
                bytes: entry.body.len(),
            });
        }
        let plain = Payload::of(entry).encode();
        if plain.len() > entry.body.len() + BESIDE_BYTES_MAX {
            return Err(L2Unwritten::TooLarge {
                bytes: plain.len() - entry.body.len(),
            });
        }
        let may_compress = confidentiality == Confidentiality::Ordinary && plain.len() > self.compress_over_bytes;
        let packed = if may_compress { compress(&plain) } else { None };
        let payload = packed.as_deref().unwrap_or(&plain);

        let mut flags = 0;
        if packed.is_some() {
            flags |= FLAG_ZSTD;
        }
        if self.keys.is_some() {
            flags |= FLAG_SEALED;
        }
        let place = Place::new(flags, &entry.view, &entry.key, entry.incarnation);
        let mut out = Vec::with_capacity(HEADER_BYTES + SEAL_BYTES + payload.len());
        out.extend_from_slice(place.header());
        if let Some(keys) = &self.keys {
            keys.seal_into(&mut out, &place.bound, payload);
        } else {
            out.extend_from_slice(&place.checksum(payload));
            out.extend_from_slice(payload);
        }
        Ok(out)
    }

    /// Takes an entry out of its envelope, if it is the one that was asked for.
    ///
    /// # Errors
    /// Each is a reason for a miss; none is a fault of ours.
    pub fn read(
        &self,
        envelope: &[u8],
        view: &str,
        key: &str,
        incarnation: Incarnation,
    ) -> Result<L2Entry, L2Unreadable> {
        let [m0, m1, version, flags, ..] = *envelope else {
            return Err(L2Unreadable::Garbage);
        };
        if [m0, m1] != MAGIC {
            return Err(L2Unreadable::Garbage);
        }
        if version != VERSION || flags & !(FLAG_ZSTD | FLAG_SEALED) != 0 {
            return Err(L2Unreadable::Version);
        }
        let (header, rest) = envelope.split_at_checked(HEADER_BYTES).ok_or(L2Unreadable::Garbage)?;
        let place = Place::new(flags, view, key, incarnation);
        if header != place.header() {
            return Err(L2Unreadable::Foreign);
        }
        let unsealed;
        let payload = match (&self.keys, flags & FLAG_SEALED != 0) {
            (Some(keys), true) => {
                unsealed = keys.open(&place.bound, rest)?;
                &unsealed
            }
            (None, false) => {
                let (checksum, payload) = rest.split_at_checked(CHECKSUM_BYTES).ok_or(L2Unreadable::Garbage)?;
                if checksum != place.checksum(payload) {
                    return Err(L2Unreadable::Garbage);
                }
                payload
            }
            (Some(_), false) => return Err(L2Unreadable::Unauthentic),
            (None, true) => return Err(L2Unreadable::Foreign),
        };
        let unpacked;
        let plain = if flags & FLAG_ZSTD != 0 {
            unpacked = decompress(payload, self.body_bytes_max + BESIDE_BYTES_MAX).ok_or(L2Unreadable::Garbage)?;
            &unpacked
        } else {
            payload
        };
        let entry = Payload::decode(plain).ok_or(L2Unreadable::Garbage)?.into_entry();
        // The identity is a shortened hash; the words themselves decide.
        let is_of_key = entry.view == view && entry.key == key || !stands(Safeguard::L2Key);
        let is_of_incarnation = entry.incarnation == incarnation || !stands(Safeguard::L2Incarnation);
        if !is_of_key || !is_of_incarnation {
            return Err(L2Unreadable::Foreign);
        }
        Ok(entry)
    }
}

/// Gives the name under which an entry lies in Redis: the same for all sidecars of one version, telling nothing about its key.
///
/// The incarnation is part of it, because positions of two databases can't be compared and the newer `as_of` wins; the version is,
/// so that old and new sidecars do not overwrite each other's values during a rollout.
pub fn storage_key(prefix: &str, view: &str, key: &str, incarnation: Incarnation) -> String {
    let identity = identity(&preimage(view, key, incarnation));
    format!("{prefix}:l2:{VERSION}:{:032x}", u128::from_be_bytes(identity))
}

impl From<Unopened> for L2Unreadable {
    fn from(unopened: Unopened) -> Self {
        match unopened {
            Unopened::Truncated => Self::Garbage,
            Unopened::OtherKey => Self::Foreign,
            Unopened::Unauthentic => Self::Unauthentic,
        }
    }
}

/// The header of an envelope followed by view, key and incarnation: what seal and checksum cover beside the payload.
struct Place {
    bound: Vec<u8>,
}

impl Place {
    fn new(flags: u8, view: &str, key: &str, incarnation: Incarnation) -> Self {
        let preimage = preimage(view, key, incarnation);
        let mut bound = Vec::with_capacity(HEADER_BYTES + preimage.len());
        bound.extend_from_slice(&MAGIC);
        bound.extend_from_slice(&[VERSION, flags]);
        bound.extend_from_slice(&identity(&preimage));
        bound.extend_from_slice(&preimage);
        Self { bound }
    }

    fn header(&self) -> &[u8] {
        &self.bound[..HEADER_BYTES]
    }

    fn checksum(&self, payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
        let mut digest = Context::new(&SHA256);
        digest.update(&self.bound);
        digest.update(payload);
        digest.finish().as_ref()[..CHECKSUM_BYTES]
            .try_into()
            .expect("a SHA-256 has more than eight bytes")
    }
}

/// View, key and incarnation with their lengths in front, so that no two triples look alike.
fn preimage(view: &str, key: &str, incarnation: Incarnation) -> Vec<u8> {
    let mut preimage = Vec::with_capacity(16 + view.len() + key.len() + incarnation.0.len());
    for part in [view.as_bytes(), key.as_bytes()]
        .into_iter()
        .filter(|_| stands(Safeguard::L2Key))
    {
        preimage.extend_from_slice(&(part.len() as u64).to_le_bytes());
        preimage.extend_from_slice(part);
    }
    if stands(Safeguard::L2Incarnation) {
        preimage.extend_from_slice(&incarnation.0);
    }
    preimage
}

fn identity(preimage: &[u8]) -> [u8; IDENTITY_BYTES] {
    let digest = ring::digest::digest(&SHA256, preimage);
    digest.as_ref()[..IDENTITY_BYTES]
        .try_into()
        .expect("a SHA-256 has more than sixteen bytes")
}

/// Packs `plain`, unless that makes it no smaller.
fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    let frame = zstd::bulk::compress(plain, ZSTD_LEVEL).ok()?;
    let mut packed = Vec::with_capacity(4 + frame.len());
    packed.extend_from_slice(&u32::try_from(plain.len()).ok()?.to_le_bytes());
    packed.extend_from_slice(&frame);
    (packed.len() < plain.len()).then_some(packed)
}

fn decompress(packed: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let (length, frame) = packed.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > bytes_max {
        return None;
    }
    let plain = zstd::bulk::decompress(frame, length).ok()?;
    (plain.len() == length).then_some(plain)
}

/// The fields of an entry in the order in which bincode writes them. Whoever changes them changes [`VERSION`].
#[derive(Encode, BorrowDecode)]
struct Payload<'a> {
    view: &'a str,
    key: &'a str,
    incarnation: [u8; 16],
    as_of: u64,
    not_after_seconds: Option<i64>,
    tags: Vec<u64>,
    status: u16,
    body: &'a [u8],
}

impl<'a> Payload<'a> {
    fn of(entry: &'a L2Entry) -> Self {
        Self {
            view: &entry.view,
            key: &entry.key,
            incarnation: entry.incarnation.0,
            as_of: entry.as_of.0,
            not_after_seconds: entry.not_after_seconds,
            tags: entry.tags.iter().map(|tag| tag.0).collect(),
            status: entry.status,
            body: &entry.body,
        }
    }

    fn into_entry(self) -> L2Entry {
        L2Entry {
            view: self.view.to_owned(),
            key: self.key.to_owned(),
            incarnation: Incarnation(self.incarnation),
            as_of: Position(self.as_of),
            not_after_seconds: self.not_after_seconds,
            tags: self.tags.into_iter().map(Tag).collect(),
            status: self.status,
            body: Bytes::copy_from_slice(self.body),
        }
    }

    fn encode(&self) -> Vec<u8> {
        bincode::encode_to_vec(self, config::standard()).expect("numbers and texts in memory always encode")
    }

    /// The limit keeps a length written in garbage from being believed.
    fn decode(plain: &'a [u8]) -> Option<Self> {
        let config = config::standard().with_limit::<PAYLOAD_BYTES_MAX>();
        let (payload, length) = bincode::borrow_decode_from_slice(plain, config).ok()?;
        (length == plain.len()).then_some(payload)
    }
}
