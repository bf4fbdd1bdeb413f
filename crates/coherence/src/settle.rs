//! Which intents are finished, and what a lease may cover while some are not (PROTOCOL §6) [10, 11, 19].
//!
//! The question is three statements, in this order: the newest intent; then the locks that name outstanding intents and
//! their tags; then, with a later snapshot, the position. A writer takes its marks before its intent and keeps them until
//! its commit is visible, so whoever is in none of the three has either not drawn an intent when the locks were read (and
//! becomes visible a full commit wait later), or is already visible in the position.

use std::{collections::BTreeSet, time::Duration};

use crate::{Exceptions, Intent, Lease, Mark, Moment, Position, Row, Safeguard, World, lease_end, safeguard::stands};

/// Finished intents that lie above a gap; when there are more, the gap is settled through the locks instead.
const SEEN_MAX: usize = 4_096;

/// The intents that are known to be finished: all up to one of them, and some above.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settled {
    up_to: Intent,
    above: BTreeSet<Intent>,
}

impl Settled {
    /// Gives the intent up to which all are finished.
    pub fn up_to(&self) -> Intent {
        self.up_to
    }

    /// Learns from rows that have been applied; call it after [`World::apply`], never before.
    pub fn learn<'a>(&mut self, rows: impl IntoIterator<Item = &'a Row>) {
        for intent in rows
            .into_iter()
            .filter_map(|row| row.intent)
            .filter(|intent| *intent > self.up_to)
        {
            if self.above.len() < SEEN_MAX {
                self.above.insert(intent);
            }
        }
        self.close_gap();
    }

    fn raise(&mut self, up_to: Intent) {
        self.up_to = self.up_to.max(up_to);
        self.above = self.above.split_off(&Intent(self.up_to.0 + 1));
        self.close_gap();
    }

    fn close_gap(&mut self) {
        while self.above.remove(&Intent(self.up_to.0 + 1)) {
            self.up_to.0 += 1;
        }
    }
}

/// The tags that writers with an outstanding intent are about to change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OutstandingMarks {
    /// These.
    Some(Vec<Mark>),
    /// Too many to name: no lease can be granted.
    Everything,
}

/// What the three statements answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SettleAnswer {
    /// The newest intent, from the first statement.
    pub intent: Intent,
    /// The low 31 bits of the outstanding intents, from the locks.
    pub outstanding: Vec<u32>,
    /// A writer holds the mark and no intent's lock, from the same locks: it may have drawn an intent a moment ago.
    pub has_unnamed: bool,
    /// The tags of the outstanding writers, from the same locks.
    pub marks: OutstandingMarks,
    /// The newest visible position, from the third statement.
    pub position: Position,
    /// The length of a lease, from the third statement.
    pub lease: Duration,
}

/// What may follow, once the world is at `position` and not before [11].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleVerdict {
    /// Where the world must be.
    pub position: Position,
    /// A lease that excepts what outstanding writers may change.
    pub lease: Option<Lease>,
    up_to: Option<Intent>,
}

impl SettleVerdict {
    /// Settles what the answer allows. Returns false, and changes nothing, while `world` is behind the answer.
    pub fn settle(&self, world: &World, settled: &mut Settled) -> bool {
        let is_applied = world.applied() >= self.position || !stands(Safeguard::SettledOnceApplied);
        if let Some(up_to) = self.up_to.filter(|_| is_applied) {
            settled.raise(up_to);
        }
        is_applied
    }
}

/// Judges the answer; `sent` was taken before the second statement was queued for its connection.
pub fn judge_settle(sent: Moment, answer: &SettleAnswer) -> SettleVerdict {
    let newest = answer.intent;
    let outstanding = answer
        .outstanding
        .iter()
        .filter(|_| stands(Safeguard::OutstandingHeeded));
    let first_outstanding = outstanding.filter_map(|low| widen(newest, *low)).min();
    // Between drawing an intent and locking it a writer can't be told from one that has drawn none. Its tags are marked
    // already, so the lease may except them; but no intent is known to be finished.
    let is_unnamed = answer.has_unnamed && stands(Safeguard::UnnamedWriter);
    let up_to = (!is_unnamed).then(|| first_outstanding.map_or(newest, |first| Intent(first.0.saturating_sub(1))));
    let except = match &answer.marks {
        OutstandingMarks::Some(marks) => Some(Exceptions::marks(marks.clone())),
        OutstandingMarks::Everything => None,
    };
    let lease = except.filter(|_| answer.lease > Duration::ZERO).map(|except| Lease {
        end: lease_end(sent, answer.lease),
        except,
    });
    SettleVerdict {
        position: answer.position,
        lease,
        up_to,
    }
}

/// Finds the intent at or below `newest` with these low 31 bits. One above it was drawn after the first statement, has
/// its marks among the exceptions, and says nothing about those below.
fn widen(newest: Intent, low: u32) -> Option<Intent> {
    const SPAN: u64 = 1 << 31;
    let back = (newest.0 % SPAN + SPAN - u64::from(low) % SPAN) % SPAN;
    (back < SPAN / 2)
        .then(|| newest.0.checked_sub(back))
        .flatten()
        .map(Intent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, Tag, TagTable};

    fn row(position: u64, intent: u64) -> Row {
        Row {
            position: Position(position),
            intent: Some(Intent(intent)),
            tags: Box::new([]),
        }
    }

    fn answer(intent: u64, outstanding: &[u32], position: u64) -> SettleAnswer {
        SettleAnswer {
            intent: Intent(intent),
            outstanding: outstanding.to_vec(),
            has_unnamed: false,
            marks: OutstandingMarks::Some(outstanding.iter().map(|low| Mark(*low as i32)).collect()),
            position: Position(position),
            lease: Duration::from_millis(50),
        }
    }

    fn world(applied: u64) -> World {
        World::new(Incarnation::default(), Position(applied), TagTable::new(1))
    }

    #[test]
    fn rows_settle_their_intents_in_any_order_but_not_over_a_gap() {
        let mut settled = Settled::default();
        settled.learn(&[row(1, 1), row(2, 3)]);
        assert_eq!(settled.up_to(), Intent(1));
        settled.learn(&[row(3, 2)]);
        assert_eq!(settled.up_to(), Intent(3));
    }

    #[test]
    fn an_aborted_intent_is_settled_only_once_the_position_read_after_the_locks_is_applied() {
        let mut settled = Settled::default();
        settled.learn(&[row(1, 1), row(2, 3)]);
        let verdict = judge_settle(Moment::default(), &answer(3, &[], 9));
        assert!(!verdict.settle(&world(8), &mut settled));
        assert_eq!(settled.up_to(), Intent(1));
        assert!(verdict.settle(&world(9), &mut settled));
        assert_eq!(settled.up_to(), Intent(3));
    }

    #[test]
    fn nothing_at_or_above_an_outstanding_intent_is_settled() {
        let mut settled = Settled::default();
        assert!(judge_settle(Moment::default(), &answer(9, &[7, 8], 4)).settle(&world(4), &mut settled));
        assert_eq!(settled.up_to(), Intent(6));
    }

    #[test]
    fn a_writer_between_its_mark_and_its_intents_lock_keeps_everything_unsettled() {
        let mut settled = Settled::default();
        let unnamed = SettleAnswer {
            has_unnamed: true,
            ..answer(9, &[], 4)
        };
        judge_settle(Moment::default(), &unnamed).settle(&world(4), &mut settled);
        assert_eq!(
            settled.up_to(),
            Intent(0),
            "intent 9 may be the one that is not locked yet"
        );
    }

    #[test]
    fn an_intent_drawn_after_the_question_is_ignored_and_wrapping_is_not() {
        assert_eq!(widen(Intent(9), 10), None);
        let newest = Intent((5 << 31) + 2);
        assert_eq!(widen(newest, 1), Some(Intent((5 << 31) + 1)));
        assert_eq!(widen(newest, (1 << 31) - 1), Some(Intent((5 << 31) - 1)));
    }

    #[test]
    fn a_lease_excepts_the_tags_of_outstanding_writers_and_is_refused_when_they_are_too_many() {
        let busy = Tag(7 << 32);
        let verdict = judge_settle(Moment::default(), &answer(9, &[7], 4));
        let lease = verdict.lease.expect("a lease for the other tags");
        assert!(lease.except.touches(&[busy]) && !lease.except.touches(&[Tag(8 << 32)]));
        let flooded = SettleAnswer {
            marks: OutstandingMarks::Everything,
            ..answer(9, &[7], 4)
        };
        assert_eq!(judge_settle(Moment::default(), &flooded).lease, None);
    }
}
