//! How far a page of the log brings a world, and whether a world may go on after its connection was lost (PROTOCOL §3, §4).
//!
//! Positions have gaps where transactions were aborted, so what a page lacks can't be seen in it: it says itself how far
//! back the log reaches and where it ends.

use crate::{Foreign, Incarnation, Position, Safeguard, World, safeguard::stands};

/// What a page of the log says beside its rows, all from one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageHead {
    /// Who answered.
    pub incarnation: Incarnation,
    /// The log is complete above this position only.
    pub pruned_to: Position,
    /// The newest visible position.
    pub newest: Position,
    /// The position of the last row in the page, if there was no room for all rows up to `newest`.
    pub cut_at: Option<Position>,
}

/// What a page means to a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageVerdict {
    /// Begin a new world.
    Foreign(Foreign),
    /// Rows that we lack are gone: jump to this position, over everything between [13].
    Skip(Position),
    /// The rows are complete up to this position: fold them in.
    Apply(Position),
}

/// Judges a page of the rows after `before`, which was applied when it was asked for.
pub fn judge_page(world: &World, before: Position, page: &PageHead) -> PageVerdict {
    if page.incarnation != world.incarnation() && stands(Safeguard::ForeignPage) {
        PageVerdict::Foreign(Foreign::Incarnation)
    } else if page.newest < before && stands(Safeguard::RegressedPosition) {
        PageVerdict::Foreign(Foreign::Regressed)
    } else if page.pruned_to > before && stands(Safeguard::PrunedTo) {
        PageVerdict::Skip(page.newest)
    } else {
        PageVerdict::Apply(
            page.cut_at
                .filter(|_| stands(Safeguard::PageEnd))
                .unwrap_or(page.newest),
        )
    }
}

/// Says whether a world goes on where it was: the same incarnation answers, and it is not behind what has been applied.
pub fn resumes(world: &World, incarnation: Incarnation, newest: Position) -> bool {
    world.incarnation() == incarnation && (newest >= world.applied() || !stands(Safeguard::RegressedPosition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TagTable;

    const MINE: Incarnation = Incarnation([1; 16]);

    fn judged(incarnation: Incarnation, pruned_to: u64, newest: u64, cut_at: Option<u64>) -> PageVerdict {
        let world = World::new(MINE, Position(10), TagTable::new(1));
        let page = PageHead {
            incarnation,
            pruned_to: Position(pruned_to),
            newest: Position(newest),
            cut_at: cut_at.map(Position),
        };
        judge_page(&world, Position(10), &page)
    }

    #[test]
    fn a_page_is_whole_if_the_log_reaches_back_to_what_was_applied() {
        assert_eq!(judged(MINE, 10, 15, None), PageVerdict::Apply(Position(15)));
        assert_eq!(judged(MINE, 11, 15, None), PageVerdict::Skip(Position(15)));
    }

    #[test]
    fn a_page_that_was_cut_is_whole_up_to_its_last_row() {
        assert_eq!(judged(MINE, 0, 15, Some(12)), PageVerdict::Apply(Position(12)));
    }

    #[test]
    fn a_page_of_another_incarnation_or_from_behind_begins_a_new_world() {
        let other = Incarnation([2; 16]);
        assert_eq!(judged(other, 0, 15, None), PageVerdict::Foreign(Foreign::Incarnation));
        assert_eq!(judged(MINE, 0, 9, None), PageVerdict::Foreign(Foreign::Regressed));
    }

    #[test]
    fn a_world_goes_on_only_in_its_incarnation_and_not_backwards() {
        let world = World::new(MINE, Position(10), TagTable::new(1));
        assert!(resumes(&world, MINE, Position(10)));
        assert!(!resumes(&world, MINE, Position(9)));
        assert!(!resumes(&world, Incarnation([2; 16]), Position(10)));
    }
}
