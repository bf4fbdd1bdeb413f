//! Several entries as one state (PROTOCOL §5, rule 4) [7].
//!
//! Two entries may each be valid and still show two different states, when one of them was filled ahead of what is
//! applied. So a batch waits until the log has been applied up to the newest of its entries, and judges all of them again.

use crate::{Entitlement, Moment, Position, Safeguard, Stamp, Validity, World, safeguard::stands};

/// Gives the position that must be applied before the batch can be judged: the newest state in it, or what is applied.
pub fn batch_target<'a>(world: &World, stamps: impl IntoIterator<Item = &'a Stamp>) -> Position {
    stamps
        .into_iter()
        .filter(|_| stands(Safeguard::BatchTarget))
        .map(|stamp| stamp.as_of)
        .fold(world.applied(), Position::max)
}

/// What the rule says of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchVerdict {
    /// All entries show the state at this position.
    OneState(Position),
    /// These entries, by their place in the batch, must be filled again.
    Refill(Vec<usize>),
    /// The log has not been applied up to the target yet.
    NotYet,
}

/// Judges a batch whose target is `target`.
///
/// Commits applied while this runs can only make entries fail: positions of tags never fall, and every entry is judged
/// after `applied` was read. So whatever passes is the state at that position.
pub fn judge_batch<'a>(
    world: &World,
    target: Position,
    stamps: impl IntoIterator<Item = &'a Stamp>,
    now: Moment,
) -> BatchVerdict {
    let entitlement = Entitlement::applied(world);
    if entitlement.position() < target {
        return BatchVerdict::NotYet;
    }
    let failing: Vec<usize> = stamps
        .into_iter()
        .enumerate()
        .filter(|(_, stamp)| world.judge(&entitlement, stamp, now) != Validity::Valid)
        .map(|(place, _)| place)
        .collect();
    if failing.is_empty() {
        BatchVerdict::OneState(entitlement.position())
    } else {
        BatchVerdict::Refill(failing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, Row, Tag, TagTable};

    #[test]
    fn entries_on_two_sides_of_a_commit_are_not_one_state() {
        let world = World::new(Incarnation::default(), Position(1), TagTable::new(64));
        let entry = |as_of, tag| Stamp {
            incarnation: Incarnation::default(),
            as_of: Position(as_of),
            tags: Box::new([Tag(tag)]),
            not_after: None,
        };
        let batch = [entry(1, 1), entry(2, 2)];
        let target = batch_target(&world, &batch);
        assert_eq!(target, Position(2));
        assert_eq!(
            judge_batch(&world, target, &batch, Moment::default()),
            BatchVerdict::NotYet
        );
        let both = Row {
            position: Position(2),
            intent: None,
            tags: Box::new([Tag(1), Tag(2)]),
        };
        world.apply(&[both], Position(2));
        assert_eq!(
            judge_batch(&world, target, &batch, Moment::default()),
            BatchVerdict::Refill(vec![0])
        );
        let refilled = [entry(2, 1), entry(2, 2)];
        assert_eq!(
            judge_batch(&world, target, &refilled, Moment::default()),
            BatchVerdict::OneState(Position(2))
        );
    }
}
