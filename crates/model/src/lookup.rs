//! Looking up and filling: L1, L2, and one fill for each key (PROTOCOL §5, rules 2 and 3).

use neverstale_coherence::{Entitlement, Safeguard, Validity, World, safeguard::stands};

use crate::{
    clock::NOW,
    entry::Entry,
    primary::Primary,
    reader::{Read, Reader, Step},
    sidecar::Sidecar,
};

/// Fills that a read joins before it starts its own.
const JOINS_MAX: u8 = 1;

impl Sidecar {
    /// What the rule says of L1 for a reader that may look up.
    pub(crate) fn judge_l1(&self, reader: usize) -> Option<Validity> {
        let Reader::Entitled {
            read,
            entitlement,
            early,
            ..
        } = &self.readers[reader]
        else {
            return None;
        };
        if early.is_some() {
            return Some(Validity::Valid);
        }
        let entry = self.l1[read.key].as_ref()?;
        Some(self.world_of(read)?.judge(entitlement, &entry.stamp(), NOW))
    }

    /// Looks into L1, where something is valid, or valid but for a tag that the lease does not cover.
    pub(crate) fn look_into_l1(&mut self, reader: usize) -> Step {
        let verdict = self.judge_l1(reader);
        let round = self.next_round();
        let Reader::Entitled {
            read,
            entitlement,
            early,
            ..
        } = self.readers[reader].clone()
        else {
            return Step::On;
        };
        match (verdict, early.or_else(|| self.l1[read.key].clone())) {
            (Some(Validity::Valid), Some(entry)) => {
                self.readers[reader] = Reader::Idle;
                Step::Answer(read, entitlement, entry)
            }
            (Some(Validity::NeedsFence), _) => {
                let read = Read { pinned: None, ..read };
                self.readers[reader] = Reader::Fencing {
                    read,
                    round,
                    early: None,
                };
                self.serve_finished_round(reader);
                Step::On
            }
            _ => Step::On,
        }
    }

    /// Whether an entry from L2 passes as what was asked for, and the rule.
    pub(crate) fn accepts_from_l2(&self, reader: usize, entry: &Entry) -> Option<Entry> {
        let Reader::Entitled { read, entitlement, .. } = &self.readers[reader] else {
            return None;
        };
        let world = self.world_of(read)?;
        let is_of_key = entry.key == read.key || !stands(Safeguard::L2Key);
        let is_of_incarnation = entry.incarnation == world.incarnation() || !stands(Safeguard::L2Incarnation);
        let found = Entry {
            incarnation: world.incarnation(),
            ..entry.clone()
        };
        let is_valid = world.judge(entitlement, &found.stamp(), NOW) == Validity::Valid;
        (is_of_key && is_of_incarnation && (is_valid || !stands(Safeguard::L2Judged))).then_some(found)
    }

    /// Takes an entry from L2.
    pub(crate) fn look_into_l2(&mut self, reader: usize, entry: &Entry) -> Step {
        let Some(entry) = self.accepts_from_l2(reader, entry) else {
            return Step::On;
        };
        let Reader::Entitled { read, entitlement, .. } = std::mem::replace(&mut self.readers[reader], Reader::Idle)
        else {
            return Step::On;
        };
        self.keep(read.key, &entry);
        Step::Answer(read, entitlement, entry)
    }

    pub(crate) fn keep(&mut self, key: usize, entry: &Entry) {
        let place = &mut self.l1[key];
        if place.as_ref().is_none_or(|kept| kept.gives_way_to(entry)) {
            *place = Some(entry.clone());
        }
    }

    /// Joins the fill of its key, or starts one, whose statement is answered at once: later ones show more.
    pub(crate) fn fly(&mut self, reader: usize, primary: &Primary) -> Step {
        let Reader::Entitled {
            read,
            entitlement,
            joins,
            ..
        } = std::mem::replace(&mut self.readers[reader], Reader::Idle)
        else {
            return Step::On;
        };
        let is_under_way = self.flights[read.key].is_some();
        if is_under_way && joins >= JOINS_MAX {
            return Step::Answer(read.clone(), entitlement, Entry::fill(primary, read.key));
        }
        if !is_under_way {
            self.flights[read.key] = Some(Entry::fill(primary, read.key));
        }
        self.readers[reader] = Reader::Flying {
            read,
            entitlement,
            joins,
            is_own: !is_under_way,
        };
        Step::On
    }

    /// What becomes of a reader when the fill of its key ends with `entry`: who joined judges it.
    pub(crate) fn land(&mut self, reader: usize, entry: &Entry) -> Step {
        let Reader::Flying {
            read,
            entitlement,
            joins,
            is_own,
        } = self.readers[reader].clone()
        else {
            return Step::On;
        };
        if read.key != entry.key {
            return Step::On;
        }
        let is_valid = is_own || self.is_valid(&read, &entitlement, entry);
        if is_valid || !stands(Safeguard::JoinJudged) {
            self.readers[reader] = Reader::Idle;
            return Step::Answer(read, entitlement, entry.clone());
        }
        let joins = joins + 1;
        self.readers[reader] = Reader::Entitled {
            read,
            entitlement,
            joins,
            early: None,
        };
        Step::On
    }

    /// The world that a read judges by.
    pub(crate) fn world_of<'a>(&'a self, read: &'a Read) -> Option<&'a World> {
        read.pinned.as_ref().or(self.world.as_ref())
    }

    fn is_valid(&self, read: &Read, entitlement: &Entitlement, entry: &Entry) -> bool {
        let world = self.world_of(read);
        world.is_some_and(|world| world.judge(entitlement, &entry.stamp(), NOW) == Validity::Valid)
    }

    /// Whether the fill that a reader waits for is valid for it.
    pub(crate) fn joined_is_valid(&self, reader: usize) -> bool {
        let Reader::Flying { read, entitlement, .. } = &self.readers[reader] else {
            return false;
        };
        let flight = self.flights[read.key].as_ref();
        flight.is_some_and(|entry| self.is_valid(read, entitlement, entry))
    }
}
