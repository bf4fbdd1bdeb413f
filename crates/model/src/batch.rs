//! A batch: its entries are found one by one, and judged as one state (PROTOCOL §5, rule 4).

use neverstale_coherence::{BatchVerdict, Validity, batch_target, judge_batch};

use crate::{
    clock::NOW,
    entry::Entry,
    primary::{KEYS, Primary},
    reader::{Reader, Step},
    sidecar::Sidecar,
};

impl Sidecar {
    /// Whether L1 has a valid entry of a key for a batch that lacks it.
    pub(crate) fn gathers(&self, reader: usize, key: usize) -> Option<(bool, Option<&Entry>)> {
        let Reader::Gathering {
            read,
            entitlement,
            entries,
            ..
        } = &self.readers[reader]
        else {
            return None;
        };
        let world = self.world_of(read)?;
        let kept = self.l1[key].as_ref();
        let valid = kept.filter(|entry| world.judge(entitlement, &entry.stamp(), NOW) == Validity::Valid);
        Some((entries[key].is_none(), valid))
    }

    /// Takes an entry of a batch from L1 or, where nothing there is valid, fills it.
    pub(crate) fn gather(&mut self, reader: usize, key: usize, primary: &Primary) {
        let Some((true, valid)) = self.gathers(reader, key) else {
            return;
        };
        let entry = valid.cloned().unwrap_or_else(|| Entry::fill(primary, key));
        self.keep(key, &entry);
        if let Reader::Gathering { entries, .. } = &mut self.readers[reader] {
            entries[key] = Some(entry);
        }
    }

    /// Judges a batch that has all its entries; fills once what fails, then everything in one statement.
    pub(crate) fn judge_gathered(&mut self, reader: usize, primary: &Primary) -> Step {
        let Some((verdict, entries)) = self.gathered(reader) else {
            return Step::On;
        };
        let in_one_statement = std::array::from_fn(|key| Entry::fill(primary, key));
        let Reader::Gathering {
            read,
            entries: places,
            has_refilled,
            ..
        } = &mut self.readers[reader]
        else {
            return Step::On;
        };
        let answer = match verdict {
            BatchVerdict::NotYet => return Step::On,
            BatchVerdict::OneState(_) => entries,
            BatchVerdict::Refill(failing) if !*has_refilled => {
                *has_refilled = true;
                for key in failing {
                    places[key] = None;
                }
                return Step::On;
            }
            BatchVerdict::Refill(_) => in_one_statement,
        };
        let read = read.clone();
        self.readers[reader] = Reader::Idle;
        Step::Batch(read, answer)
    }

    /// The verdict on a batch that has all its entries.
    pub(crate) fn gathered(&self, reader: usize) -> Option<(BatchVerdict, [Entry; KEYS])> {
        let Reader::Gathering {
            read,
            entries: [Some(one), Some(other)],
            ..
        } = &self.readers[reader]
        else {
            return None;
        };
        let world = self.world_of(read)?;
        let stamps = [one.stamp(), other.stamp()];
        let target = batch_target(world, &stamps);
        Some((judge_batch(world, target, &stamps, NOW), [one.clone(), other.clone()]))
    }
}
