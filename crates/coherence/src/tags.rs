//! When each tag was last invalidated, in a table of fixed size that readers never wait for.
//!
//! A tag lives in the slot that its number selects; tags that share a slot share the later position. That errs to one
//! side only: an entry may look invalidated when it is not, never the reverse. So no tag is ever evicted, and the rule
//! that eviction would need (raise `floor` before a tag is dropped [17]) has nothing left to protect but pruning.
//! `docs/design/0002-tag-table.md` has the choice and its numbers.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{Position, Tag};

/// The last invalidation of every tag, complete for what has been applied since the table was made.
pub struct TagTable {
    slots: Box<[AtomicU64]>,
}

impl TagTable {
    /// Makes a table of `slots` slots (rounded up to a power of two), eight bytes each, all never invalidated.
    ///
    /// # Panics
    ///
    /// When `slots` is zero.
    pub fn new(slots: usize) -> Self {
        assert!(slots > 0, "a tag table needs a slot");
        Self {
            slots: (0..slots.next_power_of_two()).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Records that `tag` was invalidated at `position`; an older position changes nothing.
    pub(crate) fn raise(&self, tag: Tag, position: Position) {
        self.slot(tag).fetch_max(position.0, Ordering::AcqRel);
    }

    /// Gives a position at or after the last invalidation of `tag`.
    pub(crate) fn last(&self, tag: Tag) -> Position {
        Position(self.slot(tag).load(Ordering::Acquire))
    }

    /// Counts the slots of tags that have been invalidated; it looks at every slot.
    pub(crate) fn invalidated(&self) -> usize {
        self.positions().filter(|position| *position > 0).count()
    }

    fn slot(&self, tag: Tag) -> &AtomicU64 {
        // The length is a power of two, so the mask keeps the index inside.
        &self.slots[(tag.0 as usize) & (self.slots.len() - 1)]
    }

    fn positions(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().map(|slot| slot.load(Ordering::Acquire))
    }
}

impl Clone for TagTable {
    fn clone(&self) -> Self {
        Self {
            slots: self.positions().map(AtomicU64::new).collect(),
        }
    }
}

impl PartialEq for TagTable {
    fn eq(&self, other: &Self) -> bool {
        self.positions().eq(other.positions())
    }
}

impl Eq for TagTable {}

impl Hash for TagTable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.positions().for_each(|position| position.hash(state));
    }
}

impl fmt::Debug for TagTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TagTable({} slots)", self.slots.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_position_never_replaces_a_newer_one() {
        let table = TagTable::new(4);
        table.raise(Tag(1), Position(7));
        table.raise(Tag(1), Position(3));
        assert_eq!(table.last(Tag(1)), Position(7));
    }

    #[test]
    fn tags_that_share_a_slot_err_towards_invalidation() {
        let table = TagTable::new(4);
        table.raise(Tag(1), Position(7));
        assert_eq!(table.last(Tag(5)), Position(7));
        assert_eq!(table.last(Tag(2)), Position(0));
        assert_eq!(table.invalidated(), 1);
    }
}
