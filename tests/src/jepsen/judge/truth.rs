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

/// From when on each read must know everything: its beginning, or as much earlier as its level allows. A token stands for the read that gave it.
pub(super) fn since(history: &History) -> Vec<Moment> {
    let by_itself = |read: &Read| match read.level {
        Level::Full => Some(read.start),
        Level::Bounded => Some(read.start.saturating_sub(history.staleness_bound)),
        Level::Token => None,
    };
    let mut since: Vec<Option<Moment>> = history.reads.iter().map(by_itself).collect();
    let mut path = Vec::new();
    for place in 0..since.len() {
        let mut here = Some(place);
        while let Some(at) = here.filter(|at| since[*at].is_none()) {
            path.push(at);
            // A token of itself can't be; it would be a fault of the recorder.
            here = history
                .basis_of(&history.reads[at])
                .filter(|basis| !path.contains(basis));
        }
        let found = here.and_then(|at| since[at]).unwrap_or(0);
        for at in path.drain(..) {
            since[at] = Some(found);
        }
    }
    since.into_iter().map(Option::unwrap_or_default).collect()
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
