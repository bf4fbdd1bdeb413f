//! The same question, by brute force: is there an order? (Wing and Gong's search, with Lowe's memory of what was tried.)
//!
//! Exponential, and so for small histories only. It shares nothing with the other two looks but the record itself; that they agree on
//! thousands of random histories, true ones and spoilt ones, is why they are believed on large ones.

use std::collections::HashSet;

use super::super::{
    level::Level,
    record::{History, Moment, Read, Seen, Write},
};

/// At most as many operations as a mask has bits.
const OPERATIONS_MAX: usize = 64;

struct Operation {
    since: Moment,
    end: Moment,
    /// Must come after these.
    after: Vec<usize>,
    /// A read shows these versions; a write replaces the versions before them.
    versions: Vec<(u16, u32)>,
    is_write: bool,
}

/// Whether some order of all operations explains what was read.
pub(super) fn has_an_order(history: &History) -> bool {
    let Some(operations) = operations(history) else {
        return false;
    };
    assert!(operations.len() <= OPERATIONS_MAX, "too large a history to search");
    let mut tried = HashSet::new();
    search(&operations, 0, &mut vec![0; history.registers.len()], &mut tried)
}

fn search(operations: &[Operation], done: u64, state: &mut Vec<u32>, tried: &mut HashSet<u64>) -> bool {
    // The state follows from what is done, so the mask alone is remembered.
    if !tried.insert(done) {
        return false;
    }
    let is_done = |place: usize| done & (1 << place) != 0;
    let left = || (0..operations.len()).filter(|place| !is_done(*place));
    let Some(soonest) = left().map(|place| operations[place].end).min() else {
        return true;
    };
    for place in left() {
        let operation = &operations[place];
        let must_wait = soonest < operation.since || operation.after.iter().any(|basis| !is_done(*basis));
        let before = u32::from(operation.is_write);
        let fits = |(register, version): &(u16, u32)| state[usize::from(*register)] + before == *version;
        if must_wait || !operation.versions.iter().all(fits) {
            continue;
        }
        for (register, _) in &operation.versions {
            state[usize::from(*register)] += before;
        }
        if search(operations, done | 1 << place, state, tried) {
            return true;
        }
        for (register, _) in &operation.versions {
            state[usize::from(*register)] -= before;
        }
    }
    false
}

/// What a read's token carries, by places among the operations.
fn carried(history: &History, committed: &[&Write], read: &Read) -> Vec<usize> {
    let mut after = Vec::new();
    let mut next = history.basis_of(read);
    while let Some(place) = next {
        let basis = &history.reads[place];
        for seen in history.seen_by(basis) {
            after.extend(committed.iter().position(|write| write.id == seen.write));
        }
        if basis.is_fence {
            after.push(committed.len() + place);
        }
        next = history.basis_of(basis);
    }
    after
}

/// `None` if something was read that nobody committed.
fn operations(history: &History) -> Option<Vec<Operation>> {
    let committed: Vec<_> = history.writes.iter().filter(|write| !write.made.is_empty()).collect();
    let mut all: Vec<Operation> = committed
        .iter()
        .map(|write| Operation {
            since: write.start,
            end: write.acknowledged(),
            after: Vec::new(),
            versions: write.made.clone(),
            is_write: true,
        })
        .collect();
    let was_committed = |seen: &Seen| {
        let pair = (seen.register, seen.version);
        let by = |write: &&&Write| write.id == seen.write && write.made.contains(&pair);
        (seen.version == 0 && seen.write == 0) || committed.iter().any(|write| by(&write))
    };
    for read in &history.reads {
        let seen = history.seen_by(read);
        if !seen.iter().all(was_committed) {
            return None;
        }
        all.push(Operation {
            since: match read.level {
                Level::Full => read.start,
                Level::Bounded => read.start.saturating_sub(history.staleness_bound),
                Level::Token => 0,
            },
            end: read.end,
            after: carried(history, &committed, read),
            versions: seen.iter().map(|seen| (seen.register, seen.version)).collect(),
            is_write: false,
        });
    }
    Some(all)
}
