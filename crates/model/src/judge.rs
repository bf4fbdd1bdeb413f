//! Judges answers: what an answer must not be, and the token that goes with it.

use neverstale_coherence::Entitlement;

use crate::{
    entry::Entry,
    primary::least,
    reader::{Client, Read, Step},
    scenario::{Level, Scenario},
    system::{State, Violation},
};

impl State {
    /// Judges what a step of a reader came to.
    pub(crate) fn judge(&mut self, scenario: &Scenario, place: usize, step: Step) {
        match step {
            Step::On => {}
            Step::Answer(read, entitlement, entry) => {
                self.violation = self.violation.or(self.violates(place, &read, &entry));
                if scenario.levels.contains(&Level::AtLeastAsFresh) {
                    self.hand_token(place, &read, &entitlement, &entry);
                }
            }
            Step::Batch(read, entries) => {
                for entry in &entries {
                    self.violation = self.violation.or(self.violates(place, &read, entry));
                }
                let versions = entries.map(|entry| entry.version);
                if !self.primary.was_ever(versions) {
                    self.violation = self.violation.or(Some(Violation::Torn));
                }
            }
        }
    }

    fn violates(&self, place: usize, read: &Read, entry: &Entry) -> Option<Violation> {
        let now = self.primary.incarnation();
        let has_begun = self.sidecars[place]
            .world_of(read)
            .is_some_and(|world| world.incarnation() == now);
        if entry.key != read.key && read.level != Level::Batch {
            Some(Violation::AnotherKeys)
        } else if entry.version < read.least[entry.key] {
            Some(Violation::Old)
        } else if entry.version > self.primary.versions[entry.key] && read.arrived == now && has_begun {
            Some(Violation::Undone)
        } else {
            None
        }
    }

    /// Hands the client the token of its answer, as production does.
    fn hand_token(&mut self, place: usize, read: &Read, entitlement: &Entitlement, entry: &Entry) {
        let world = self.sidecars[place].world_of(read);
        let is_ours = world.is_some_and(|world| world.incarnation() == entry.incarnation);
        let position = if is_ours {
            entitlement.token_position(entry.as_of)
        } else {
            entry.as_of
        };
        let mut seen = self.client.least;
        if entry.incarnation == self.primary.incarnation() {
            let named = self.primary.state_at(position.0 as u8);
            seen = std::array::from_fn(|key| seen[key].max(named[key]));
        }
        seen[entry.key] = seen[entry.key].max(entry.version);
        self.client = Client {
            token: Some((entry.incarnation, position)),
            least: least(seen, self.primary.versions),
        };
    }
}
