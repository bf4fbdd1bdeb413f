//! What a read asks for and what it gets.

use std::sync::Arc;

use neverstale_telemetry::{Level as LevelLabel, ReadOutcome};
use neverstale_wire::Token;

use crate::Entry;

/// The consistency that a read asks for, in the literature's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Linearizable with commits on the primary.
    FullyConsistent,
    /// Linearizable while the primary answers; within the staleness bound, and saying so, while it does not.
    FullyConsistentOrBounded,
    /// Not older than the state that the token names.
    AtLeastAsFresh(Token),
    /// Whatever is at hand within the staleness bound.
    MinimizeLatency,
}

impl Level {
    /// The level's name in headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullyConsistent | Self::FullyConsistentOrBounded => "fully-consistent",
            Self::AtLeastAsFresh(_) => "at-least-as-fresh",
            Self::MinimizeLatency => "minimize-latency",
        }
    }

    /// The level as metrics count it.
    pub(crate) const fn label(self) -> LevelLabel {
        match self {
            Self::FullyConsistent | Self::FullyConsistentOrBounded => LevelLabel::FullyConsistent,
            Self::AtLeastAsFresh(_) => LevelLabel::AtLeastAsFresh,
            Self::MinimizeLatency => LevelLabel::MinimizeLatency,
        }
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Memory of this process.
    L1,
    /// Redis.
    L2,
    /// Postgres, asked by this read.
    Fill,
    /// Postgres, asked by another read that this one joined.
    Join,
    /// Postgres, past the cache, because the triggers can't be relied on.
    Bypass,
}

impl Source {
    /// The source as metrics count it.
    pub(crate) const fn label(self) -> ReadOutcome {
        match self {
            Self::L1 => ReadOutcome::L1,
            Self::L2 => ReadOutcome::L2,
            Self::Fill => ReadOutcome::Fill,
            Self::Join => ReadOutcome::Join,
            Self::Bypass => ReadOutcome::Bypass,
        }
    }
}

/// The answer to a read.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The entry, shared with the cache.
    pub entry: Arc<Entry>,
    /// Where it came from.
    pub source: Source,
    /// A state that the answer is at least as fresh as.
    pub token: Token,
    /// The level that was really kept.
    pub kept: Level,
}

/// The answer to a batch: all entries show the state that the token names.
#[derive(Clone, Debug)]
pub struct BatchAnswer {
    /// One for each read, in the order asked.
    pub entries: Vec<Arc<Entry>>,
    /// Where each of them came from.
    pub sources: Vec<Source>,
    /// The one state.
    pub token: Token,
    /// The level that was really kept.
    pub kept: Level,
}
