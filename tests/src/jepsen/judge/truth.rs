//! What the database says: who made each version of each register; and from when on a read must know.

use super::{Kind, Violation, seconds};
use crate::jepsen::{
    level::Level,
    record::{Heard, History, Moment, Read, Seen},
};

/// Who made the versions of the registers.
pub(super) struct Truth {
    /// Per register, per version: the place of its write; the beginning has none.
    made: Vec<Vec<Option<u32>>>,
}

impl Truth {
    /// Puts the versions in their order, and checks that what writers heard is so.
    pub(super) fn of(history: &History, violations: &mut Vec<Violation>) -> Self {
        let mut all: Vec<(u16, u32, u32)> = Vec::new();
        for (place, write) in history.writes.iter().enumerate() {
            let story = match (write.heard, write.made.is_empty()) {
                (Heard::Committed, true) => "was acknowledged, and the database does not have it",
                (Heard::RolledBack, false) => "was rolled back, and the database has it",
                _ => "",
            };
            if !story.is_empty() {
                violations.push(of_database(
                    write.start,
                    write.end,
                    format!("write {} {story}", write.id),
                ));
            }
            all.extend(
                write
                    .made
                    .iter()
                    .map(|(register, version)| (*register, *version, place as u32)),
            );
        }
        all.sort_unstable();
        let mut made = vec![vec![None]; history.registers.len()];
        for (register, version, place) in all {
            let versions: &mut Vec<Option<u32>> = &mut made[usize::from(register)];
            let write = &history.writes[place as usize];
            if version as usize != versions.len() {
                violations.push(of_database(
                    write.start,
                    write.end,
                    format!(
                        "write {} made version {version} of {}, which should be {}",
                        write.id,
                        history.registers[usize::from(register)],
                        versions.len()
                    ),
                ));
            }
            versions.push(Some(place));
        }
        Self { made }
    }

    /// The write that made what was seen; `Err` if nobody committed it.
    pub(super) fn maker(&self, history: &History, seen: Seen) -> Result<Option<u32>, ()> {
        let versions = self.made.get(usize::from(seen.register)).ok_or(())?;
        let maker = *versions.get(seen.version as usize).ok_or(())?;
        let id = maker.map_or(0, |place| history.writes[place as usize].id);
        if id == seen.write { Ok(maker) } else { Err(()) }
    }

    /// The write that made the version after this one.
    pub(super) fn successor(&self, seen: Seen) -> Option<u32> {
        *self.made[usize::from(seen.register)].get(seen.version as usize + 1)?
    }

    /// All versions of a register with their writes, from the first.
    pub(super) fn versions(&self, register: usize) -> impl Iterator<Item = (u32, u32)> {
        let versions = self.made[register].iter().enumerate();
        versions.filter_map(|(version, place)| Some((version as u32, (*place)?)))
    }

    pub(super) fn registers(&self) -> usize {
        self.made.len()
    }
}

/// From when on each read must know everything: its beginning, or as much earlier as its level allows. A token carries everything only if it was
/// asked for by itself; else it carries what its answer showed, which is not a matter of time ([`super::order`]).
pub(super) fn since(history: &History) -> Vec<Moment> {
    let of = |read: &Read| match read.level {
        Level::Full => read.start,
        Level::Bounded => read.start.saturating_sub(history.staleness_bound),
        Level::Token => carried_since(history, read),
    };
    history.reads.iter().map(of).collect()
}

/// A read at a token gives a token that carries what it was asked with, so it may be a long way to one that was asked for.
fn carried_since(history: &History, read: &Read) -> Moment {
    let mut read = *read;
    while let Some(basis) = history.basis_of(&read) {
        read = history.reads[basis];
        if read.is_fence {
            return read.start;
        }
    }
    0
}

fn of_database(start: Moment, end: Moment, story: String) -> Violation {
    Violation {
        kind: Kind::Database,
        read: None,
        register: None,
        start,
        end,
        story: format!("{story} (at {})", seconds(start)),
    }
}
