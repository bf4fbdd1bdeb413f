//! Two threads at one world, for the order of its atomics: a page is folded in, or jumped over, while somebody reads.
//!
//! The model's steps are whole calls; what a reader may see in the middle of one is tried here, many times.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use neverstale_coherence::{Entitlement, Incarnation, Moment, Position, Row, Stamp, Tag, TagTable, Validity, World};

/// What is done to the world while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Race {
    /// Rows are folded in.
    Apply,
    /// Rows are jumped over.
    Skip,
}

/// Reads while the world moves on through `rounds` positions; gives the reads it took until one was old, if one was.
///
/// A read is entitled by what it sees applied, and then judges an entry from one position before: never valid.
pub fn race(race: Race, rounds: u64) -> Option<u64> {
    const TAG: Tag = Tag(1);
    // Many other tags, so that folding a row in takes a while.
    let others: Vec<Tag> = (2..64).map(Tag).chain([TAG]).collect();
    let world = World::new(Incarnation::default(), Position(0), TagTable::new(64));
    let (is_over, reads, old_after) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let together = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            together.wait();
            for position in (1..=rounds).map(Position) {
                match race {
                    Race::Apply => {
                        let row = Row {
                            position,
                            intent: None,
                            tags: others.clone().into(),
                        };
                        world.apply(&[row], position);
                    }
                    Race::Skip => world.skip_to(position),
                }
                if old_after.load(Ordering::Relaxed) > 0 {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        together.wait();
        while !is_over.load(Ordering::Relaxed) {
            let entitlement = Entitlement::applied(&world);
            let Some(as_of) = entitlement.position().0.checked_sub(1) else {
                continue;
            };
            let stamp = Stamp {
                incarnation: Incarnation::default(),
                as_of: Position(as_of),
                tags: [TAG].into(),
                not_after: None,
            };
            let count = reads.fetch_add(1, Ordering::Relaxed) + 1;
            if world.judge(&entitlement, &stamp, Moment::default()) == Validity::Valid {
                old_after.store(count, Ordering::Relaxed);
                break;
            }
        }
    });
    Some(old_after.into_inner()).filter(|count| *count > 0)
}
