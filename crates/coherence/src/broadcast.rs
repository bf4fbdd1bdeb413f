//! When the word of another sidecar is as good as the log's (PROTOCOL §7) [12].

use crate::{Incarnation, Position, Safeguard, World, safeguard::stands};

/// What an authenticated broadcast means to a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BroadcastVerdict {
    /// It continues what is applied: fold its rows in.
    Apply,
    /// It tells nothing new.
    Known,
    /// Something between was missed: fetch the rows from the log.
    Gap,
    /// It is of another incarnation: a reason to take a fence, and nothing more.
    Foreign,
}

/// Judges a broadcast with the rows of (`previous`, `position`]. One that is not authenticated must not come here.
pub fn judge_broadcast(
    world: &World,
    incarnation: Incarnation,
    previous: Position,
    position: Position,
) -> BroadcastVerdict {
    let applied = world.applied();
    if incarnation != world.incarnation() && stands(Safeguard::BroadcastIncarnation) {
        BroadcastVerdict::Foreign
    } else if position <= applied {
        BroadcastVerdict::Known
    } else if previous <= applied || !stands(Safeguard::BroadcastGap) {
        BroadcastVerdict::Apply
    } else {
        BroadcastVerdict::Gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TagTable;

    #[test]
    fn a_broadcast_counts_only_where_it_continues_what_is_applied() {
        let mine = Incarnation([1; 16]);
        let world = World::new(mine, Position(10), TagTable::new(1));
        let judged = |incarnation, previous, position| {
            judge_broadcast(&world, incarnation, Position(previous), Position(position))
        };
        assert_eq!(judged(mine, 10, 12), BroadcastVerdict::Apply);
        assert_eq!(
            judged(mine, 8, 12),
            BroadcastVerdict::Apply,
            "rows told twice are harmless"
        );
        assert_eq!(judged(mine, 8, 10), BroadcastVerdict::Known);
        assert_eq!(judged(mine, 11, 12), BroadcastVerdict::Gap);
        assert_eq!(judged(Incarnation([2; 16]), 10, 12), BroadcastVerdict::Foreign);
    }
}
