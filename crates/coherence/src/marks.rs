//! The numbers of the protocol, each a type of its own so that none is taken for another.
//!
//! Everything else in this crate speaks in these words (PROTOCOL §2, §3). Nothing here knows where a number comes from.

use std::{fmt, time::Duration};

use crate::{Safeguard, safeguard::stands};

/// A place in the order in which watched commits became visible on the primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// A watched commit about to come: drawn before the commit wait, so that a fence can see it coming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Intent(pub u64);

/// What can change an entry: the first eight bytes, big-endian, of the SHA-256 of the tag's text.
///
/// Two texts with the same number cost a hit now and then, never a stale answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

impl Tag {
    /// Takes the first eight bytes of the SHA-256 of the tag's text.
    pub fn from_digest(first: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(first))
    }

    /// Names the advisory lock that a writer of this tag holds from before its intent until its commit.
    pub fn mark(self) -> Mark {
        Mark((self.0 >> 32) as u32 as i32)
    }
}

/// The advisory lock of a tag: the first four bytes of the same SHA-256, as Postgres' `int4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub i32);

/// The database whose positions these are: server, database, boot, log, watch specification and triggers in one hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub [u8; 16]);

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An instant on two clocks at once: one that counts suspends and one that nobody steers.
///
/// `boot` is `CLOCK_BOOTTIME`, `raw` is `CLOCK_MONOTONIC_RAW`; both since some fixed moment of this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Moment {
    /// Time that includes the machine's suspends, steered by the operator's time service.
    pub boot: Duration,
    /// Time at the hardware's own rate.
    pub raw: Duration,
}

impl Moment {
    /// Gives the instant that lies `span` later on both clocks.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self {
            boot: self.boot + span,
            raw: self.raw + span,
        }
    }

    /// Says whether this instant comes before `end` on *both* clocks: whichever ends first, ends it [15].
    pub fn is_before(self, end: Self) -> bool {
        let by_boot = self.boot < end.boot || !stands(Safeguard::BootClock);
        let by_raw = self.raw < end.raw || !stands(Safeguard::RawClock);
        by_boot && by_raw
    }

    /// Gives the time until `end` on the clock that reaches it first; zero when it has passed.
    pub fn until(self, end: Self) -> Duration {
        end.boot.saturating_sub(self.boot).min(end.raw.saturating_sub(self.raw))
    }

    /// Gives the time that has gone by since `start`, on the clock that counted more of it.
    pub fn since(self, start: Self) -> Duration {
        self.boot
            .saturating_sub(start.boot)
            .max(self.raw.saturating_sub(start.raw))
    }
}
