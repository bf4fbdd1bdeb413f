//! The judge: whether a history is one that a single copy of the database could have given.
//!
//! Three looks, each shown to find what it is for by forged histories: every register by itself in near-linear time ([`single`]), all registers,
//! batches and tokens together as one order ([`order`]), and, on small histories, an exhaustive search that knows nothing of the other two
//! ([`search`]) and agrees with them. None of them knows how the product works; of the database they believe who made which version.

mod contract;
#[cfg(test)]
mod forge;
mod order;
#[cfg(test)]
mod search;
mod single;
mod truth;

use super::record::{History, Moment};
use truth::Truth;

/// What kind of lie it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// A fully consistent read shows an older version than was known before it began.
    Stale,
    /// A read at a token shows less than the token's state.
    Token,
    /// A read at `minimize-latency` is older than the staleness bound.
    Bound,
    /// A read shows a version before its write began.
    Future,
    /// A read shows what was never committed.
    Unwritten,
    /// A read does not show a register that it should.
    Absent,
    /// What was read together is not one state, or does not fit what others read.
    Torn,
    /// A weaker level was kept than was asked for, or a status that has no place here.
    Contract,
    /// The database itself: an acknowledged write is gone, or a refused one is there.
    Database,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Token => "token",
            Self::Bound => "bound",
            Self::Future => "future",
            Self::Unwritten => "unwritten",
            Self::Absent => "absent",
            Self::Torn => "torn",
            Self::Contract => "contract",
            Self::Database => "database",
        }
    }
}

/// One lie.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    /// The read that shows it, by its place.
    pub(crate) read: Option<usize>,
    pub(crate) register: Option<u16>,
    pub(crate) start: Moment,
    pub(crate) end: Moment,
    /// For a person.
    pub(crate) story: String,
}

/// Judges a whole history; the violations come in the order of time.
pub(crate) fn judge(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let truth = Truth::of(history, &mut violations);
    let mut is_flagged = vec![false; history.reads.len()];
    contract::judge(history, &mut violations);
    single::judge(history, &truth, &mut is_flagged, &mut violations);
    order::judge(history, &truth, &mut is_flagged, &mut violations);
    violations.sort_by_key(|violation| (violation.start, violation.end));
    violations
}

/// A moment as people read it.
pub(crate) fn seconds(moment: Moment) -> String {
    format!("{:.4} s", moment as f64 / 1e9)
}
