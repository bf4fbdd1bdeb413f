//! One incarnation as this sidecar knows it: what has been applied, what each commit invalidated, how far back that reaches.
//!
//! A world belongs to one incarnation and is never changed into another: whoever meets a new incarnation makes a new world
//! and lets readers find it, so that no read can mix the two. Written by one task, read by many without a lock.

use std::{
    hash::{Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{Incarnation, Intent, Position, Safeguard, Tag, TagTable, safeguard::stands};

/// One row of `log` with the tags of its transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Where the commit stands in the order of visibility.
    pub position: Position,
    /// The intent that announced it; none when it committed without a commit wait.
    pub intent: Option<Intent>,
    /// What it invalidated.
    pub tags: Box<[Tag]>,
}

/// The marks of one incarnation (PROTOCOL §3).
#[derive(Debug)]
pub struct World {
    incarnation: Incarnation,
    applied: AtomicU64,
    floor: AtomicU64,
    tags: TagTable,
}

impl World {
    /// Begins at `position`: nothing older is known, so entries from before it are not valid.
    pub fn new(incarnation: Incarnation, position: Position, tags: TagTable) -> Self {
        Self {
            incarnation,
            applied: AtomicU64::new(position.0),
            floor: AtomicU64::new(position.0),
            tags,
        }
    }

    /// Names the database whose positions these are.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Gives the position up to which every commit has been folded into the tags.
    pub fn applied(&self) -> Position {
        Position(self.applied.load(Ordering::Acquire))
    }

    /// Counts the tags whose last invalidation is known, two that share a slot as one; a look at the whole table.
    pub fn tags_invalidated(&self) -> usize {
        self.tags.invalidated()
    }

    /// Gives the oldest state that the tags can speak for.
    pub fn floor(&self) -> Position {
        Position(self.floor.load(Ordering::Acquire))
    }

    /// Gives a position at or after the last invalidation of `tag`.
    pub fn last_invalidation(&self, tag: Tag) -> Position {
        self.tags.last(tag)
    }

    /// Folds in commits; `rows` must be all of those in (`applied`, `up_to`], in any order. Repeating rows is harmless.
    ///
    /// `applied` moves last: a reader that sees it moved sees the tags too.
    pub fn apply<'a>(&self, rows: impl IntoIterator<Item = &'a Row>, up_to: Position) {
        if !stands(Safeguard::AppliedLast) {
            self.applied.fetch_max(up_to.0, Ordering::AcqRel);
        }
        for row in rows {
            row.tags.iter().for_each(|tag| self.tags.raise(*tag, row.position));
        }
        self.applied.fetch_max(up_to.0, Ordering::AcqRel);
    }

    /// Jumps to `position` over commits that nobody can tell us about any more: everything older is no longer valid [13].
    ///
    /// `floor` moves first: a reader that sees the new `applied` sees it too.
    pub fn skip_to(&self, position: Position) {
        if stands(Safeguard::FloorFirst) {
            self.raise_floor(position);
        }
        self.applied.fetch_max(position.0, Ordering::AcqRel);
        if !stands(Safeguard::FloorFirst) {
            self.raise_floor(position);
        }
    }

    fn raise_floor(&self, position: Position) {
        if stands(Safeguard::FloorRaised) {
            self.floor.fetch_max(position.0, Ordering::AcqRel);
        }
    }
}

impl Clone for World {
    fn clone(&self) -> Self {
        Self {
            incarnation: self.incarnation,
            applied: AtomicU64::new(self.applied().0),
            floor: AtomicU64::new(self.floor().0),
            tags: self.tags.clone(),
        }
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let marks = |world: &Self| (world.incarnation, world.applied(), world.floor());
        marks(self) == marks(other) && self.tags == other.tags
    }
}

impl Eq for World {}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.incarnation, self.applied(), self.floor()).hash(state);
        self.tags.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entitlement, Exceptions, Mark, Moment, Stamp, Validity};

    fn world() -> World {
        World::new(Incarnation([1; 16]), Position(10), TagTable::new(64))
    }

    fn stamp(as_of: u64, tags: &[u64]) -> Stamp {
        let tags = tags.iter().copied().map(Tag).collect();
        Stamp {
            incarnation: Incarnation([1; 16]),
            as_of: Position(as_of),
            tags,
            not_after: None,
        }
    }

    fn row(position: u64, tags: &[u64]) -> Row {
        Row {
            position: Position(position),
            intent: None,
            tags: tags.iter().copied().map(Tag).collect(),
        }
    }

    fn judged(world: &World, stamp: &Stamp) -> Validity {
        world.judge(&Entitlement::applied(world), stamp, Moment::default())
    }

    #[test]
    fn an_entry_is_valid_until_one_of_its_tags_is_invalidated_after_its_state() {
        let world = world();
        assert_eq!(judged(&world, &stamp(10, &[1, 2])), Validity::Valid);
        world.apply(&[row(11, &[3])], Position(11));
        assert_eq!(judged(&world, &stamp(10, &[1, 2])), Validity::Valid);
        world.apply(&[row(12, &[2])], Position(12));
        assert_eq!(judged(&world, &stamp(10, &[1, 2])), Validity::Stale);
        assert_eq!(
            judged(&world, &stamp(12, &[1, 2])),
            Validity::Valid,
            "equal is valid: the entry shows that very commit"
        );
    }

    #[test]
    fn nothing_from_before_the_floor_is_valid_even_without_tags() {
        let world = world();
        assert_eq!(judged(&world, &stamp(9, &[])), Validity::Stale);
        world.skip_to(Position(20));
        assert_eq!(world.applied(), Position(20));
        assert_eq!(judged(&world, &stamp(19, &[1])), Validity::Stale);
        assert_eq!(judged(&world, &stamp(20, &[1])), Validity::Valid);
    }

    #[test]
    fn another_incarnation_is_never_valid() {
        let world = world();
        let foreign = Stamp {
            incarnation: Incarnation([2; 16]),
            ..stamp(100, &[])
        };
        assert_eq!(judged(&world, &foreign), Validity::Foreign);
    }

    #[test]
    fn time_alone_ends_an_entry_on_whichever_clock_is_ahead() {
        let world = world();
        let second = std::time::Duration::from_secs(1);
        let end = Moment {
            boot: second,
            raw: second,
        };
        let entry = Stamp {
            not_after: Some(end),
            ..stamp(10, &[])
        };
        let only_raw = Moment {
            boot: second / 2,
            raw: second,
        };
        assert_eq!(judged(&world, &entry), Validity::Valid);
        assert_eq!(
            world.judge(&Entitlement::applied(&world), &entry, only_raw),
            Validity::Expired
        );
    }

    #[test]
    fn a_lease_that_excepts_a_tag_sends_its_entries_to_a_fence() {
        let world = world();
        let tag = Tag(0xABCD_0123_0000_0000);
        let entitlement = Entitlement::leased(&world, Exceptions::marks(vec![tag.mark()]));
        assert_eq!(
            world.judge(&entitlement, &stamp(10, &[tag.0]), Moment::default()),
            Validity::NeedsFence
        );
        assert_eq!(
            world.judge(&entitlement, &stamp(10, &[7]), Moment::default()),
            Validity::Valid
        );
        assert_ne!(tag.mark(), Mark(0));
    }
}
