//! What the relay says on the Redis channel, and what the others may believe of it.
//!
//! Sealed with the key ring of L2 and bound to the channel, a message carries log rows; without a key, or when rows are too many
//! for one message, it is a bell: a reason to look into the log and nothing more (PROTOCOL §7, attack 12). Whoever opens one still
//! compares incarnation and positions with its own; a repeated message is therefore harmless. The protobuf stands in `proto/`.
//!
//! `"NB" ‖ version (1) ‖ flags (1) ‖ sealed protobuf, or nothing`

use neverstale_coherence::{Incarnation, Intent, Position, Safeguard, safeguard::stands};
use prost::Message as _;

use crate::seal::KeyRing;

const MAGIC: [u8; 2] = *b"NB";
const VERSION: u8 = 1;
const FLAG_SEALED: u8 = 1;
const HEADER_BYTES: usize = 4;
/// Rows beyond this are not sent, only rung for: 256 KiB.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// The log rows of positions (`previous_position`, `position`], complete and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    /// The database whose positions these are.
    pub incarnation: Incarnation,
    /// The newest position before these rows: whoever has applied it lacks nothing in between.
    pub previous_position: Position,
    /// The position of the last row.
    pub position: Position,
    /// At least one, ascending.
    pub rows: Vec<InvalidationRow>,
}

/// One watched commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidationRow {
    /// Its place in the order of commits.
    pub position: Position,
    /// What it drew before its commit wait, if it waited.
    pub intent: Option<Intent>,
    /// The texts of its tags.
    pub tags: Vec<String>,
}

/// What a message is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was sealed by one of ours: these rows stand in the log.
    Rows(Invalidation),
    /// Somebody rang: a reason to fetch the rows from the log.
    Bell(BellReason),
}

/// Why a message is only a bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BellReason {
    /// It was sent as one, or nobody has keys.
    Sent,
    /// It is in a form that this build does not know.
    Version,
    /// It is none of ours, cut short, or its rows make no sense.
    Garbage,
    /// It is sealed with a key that we do not have.
    Foreign,
    /// It was changed, forged, or sealed for another channel.
    Unauthentic,
}

impl BellReason {
    /// Gives the word for the metrics' label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "bell",
            Self::Version => "version",
            Self::Garbage => "garbage",
            Self::Foreign => "foreign",
            Self::Unauthentic => "unauthentic",
        }
    }
}

/// Writes and reads the messages of one channel.
#[derive(Clone, Debug)]
pub struct BroadcastCodec {
    keys: Option<KeyRing>,
    channel: String,
}

impl BroadcastCodec {
    /// Makes a codec for `channel`; without keys all that it says and hears are bells.
    pub fn new(keys: Option<KeyRing>, channel: impl Into<String>) -> Self {
        Self {
            keys,
            channel: channel.into(),
        }
    }

    /// Makes the message of an invalidation; a bell when there is no key or the rows are more than a message holds.
    pub fn write(&self, invalidation: &Invalidation) -> Vec<u8> {
        let bell = || header(0).to_vec();
        let Some(keys) = &self.keys else { return bell() };
        let plain = proto::Invalidation::from(invalidation).encode_to_vec();
        if plain.len() > MESSAGE_BYTES_MAX {
            return bell();
        }
        let mut message = header(FLAG_SEALED).to_vec();
        keys.seal_into(&mut message, &self.bound(), &plain);
        message
    }

    /// Says what a message is good for. Never fails: the worst message is a bell.
    pub fn read(&self, message: &[u8]) -> Heard {
        self.open(message).map_or_else(Heard::Bell, Heard::Rows)
    }

    fn open(&self, message: &[u8]) -> Result<Invalidation, BellReason> {
        let [m0, m1, version, flags, ..] = *message else {
            return Err(BellReason::Garbage);
        };
        if [m0, m1] != MAGIC {
            return Err(BellReason::Garbage);
        }
        if version != VERSION || flags & !FLAG_SEALED != 0 {
            return Err(BellReason::Version);
        }
        let is_sealed = flags & FLAG_SEALED != 0;
        if !is_sealed && stands(Safeguard::BroadcastSeal) {
            return Err(BellReason::Sent);
        }
        let keys = self.keys.as_ref().ok_or(BellReason::Foreign)?;
        let plain = match &message[HEADER_BYTES..] {
            sealed if is_sealed => keys.open(&self.bound(), sealed)?,
            plain => plain.to_vec(),
        };
        let invalidation = proto::Invalidation::decode(plain.as_slice()).map_err(|_| BellReason::Garbage)?;
        sound(invalidation).ok_or(BellReason::Garbage)
    }

    /// What the seal covers beside the rows: header, purpose and channel.
    fn bound(&self) -> Vec<u8> {
        [&header(FLAG_SEALED)[..], b"broadcast|", self.channel.as_bytes()].concat()
    }
}

const fn header(flags: u8) -> [u8; HEADER_BYTES] {
    [MAGIC[0], MAGIC[1], VERSION, flags]
}

impl From<crate::seal::Unopened> for BellReason {
    fn from(unopened: crate::seal::Unopened) -> Self {
        match unopened {
            crate::seal::Unopened::Truncated => Self::Garbage,
            crate::seal::Unopened::OtherKey => Self::Foreign,
            crate::seal::Unopened::Unauthentic => Self::Unauthentic,
        }
    }
}

impl From<&Invalidation> for proto::Invalidation {
    fn from(invalidation: &Invalidation) -> Self {
        let rows = invalidation.rows.iter().map(|row| proto::Row {
            position: row.position.0,
            intent: row.intent.map(|intent| intent.0),
            tags: row.tags.clone(),
        });
        Self {
            incarnation: invalidation.incarnation.0.to_vec(),
            previous_position: invalidation.previous_position.0,
            position: invalidation.position.0,
            rows: rows.collect(),
        }
    }
}

/// Turns decoded protobuf into what it claims to be: rows that ascend from `previous_position` to `position`.
fn sound(message: proto::Invalidation) -> Option<Invalidation> {
    let mut newest = message.previous_position;
    for row in &message.rows {
        if row.position <= newest {
            return None;
        }
        newest = row.position;
    }
    if message.rows.is_empty() || newest != message.position {
        return None;
    }
    let rows = message.rows.into_iter().map(|row| InvalidationRow {
        position: Position(row.position),
        intent: row.intent.map(Intent),
        tags: row.tags,
    });
    Some(Invalidation {
        incarnation: Incarnation(message.incarnation.try_into().ok()?),
        previous_position: Position(message.previous_position),
        position: Position(message.position),
        rows: rows.collect(),
    })
}

/// The generated shapes of `proto/neverstale.proto`.
mod proto {
    #![expect(clippy::pedantic, unreachable_pub, reason = "generated code")]
    include!(concat!(env!("OUT_DIR"), "/neverstale.v1.rs"));
}
