//! An entry: what a fill's one statement gave, with the stamp that `coherence` judges.

use neverstale_coherence::{Incarnation, Moment, Position, Safeguard, Stamp, safeguard::stands};

use crate::{
    clock::{Clocks, in_ticks, pass},
    primary::{Primary, TABLE_TAG, tag_of},
};

/// A value from cache, or under way to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) key: usize,
    pub(crate) version: u8,
    pub(crate) incarnation: Incarnation,
    pub(crate) as_of: Position,
    pub(crate) not_after: Option<Moment>,
}

impl Entry {
    /// Asks the primary: value, state and expiry in one snapshot.
    pub(crate) fn fill(primary: &Primary, key: usize) -> Self {
        let as_of = if stands(Safeguard::AsOfSnapshot) {
            primary.newest_position()
        } else {
            primary.position
        };
        Self {
            key,
            version: primary.versions[key],
            incarnation: primary.incarnation(),
            as_of: Position(u64::from(as_of)),
            not_after: primary.expires_in.filter(|_| key == 0).map(in_ticks),
        }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let table = stands(Safeguard::TableTag).then_some(TABLE_TAG);
        Stamp {
            incarnation: self.incarnation,
            as_of: self.as_of,
            tags: [tag_of(self.key)].into_iter().chain(table).collect(),
            not_after: self.not_after,
        }
    }

    /// Whether it may lie in L2: what changes by time alone may not, since its clock is one sidecar's.
    pub(crate) fn may_be_shared(&self) -> bool {
        self.not_after.is_none()
    }

    /// Whether `other` may take its place in L1.
    pub(crate) fn gives_way_to(&self, other: &Self) -> bool {
        self.incarnation != other.incarnation || self.as_of <= other.as_of
    }

    pub(crate) fn tick(&mut self, clocks: Clocks) {
        if let Some(end) = &mut self.not_after {
            pass(end, clocks);
        }
    }
}
