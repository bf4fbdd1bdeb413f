//! The primary as the protocol sees it: writers at their steps, two sequences, the log, and what a snapshot shows.
//!
//! A writer's steps are those of PROTOCOL §2.5, each one apart, so that anything may happen in between. Every visible
//! change of a key has a version of its own, larger than all before it, lost ones included.

use neverstale_coherence::{Incarnation, Intent, Mark, Position, Row, Safeguard, Tag, safeguard::stands};

use crate::scenario::{Level, Scenario, Transaction};

/// Keys in the database, each with a tag of its own; all are rows of one table.
pub(crate) const KEYS: usize = 2;

/// A version of each key.
pub(crate) type Versions = [u8; KEYS];

/// The tag of a key.
pub(crate) fn tag_of(key: usize) -> Tag {
    let number = key as u64 + 1;
    Tag(number << 32 | number)
}

/// The table-wide tag.
pub(crate) const TABLE_TAG: Tag = Tag(9 << 32);

/// A commit as the log has it, with the state that it left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Commit {
    pub(crate) position: u8,
    intent: Option<u8>,
    transaction: u8,
    pub(crate) versions: Versions,
}

/// How far a writer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Writer {
    Idle,
    /// Holds the mark and the marks of its tags.
    Marked,
    /// Has drawn its intent.
    Drawn(u8),
    /// Holds its intent's lock, and waits for so many ticks yet.
    Waiting(u8, u8),
    /// Holds the order lock and has drawn its position.
    Ordered(Option<u8>, u8),
    Done,
    Aborted,
}

/// The database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Primary {
    pub(crate) incarnation: u8,
    pub(crate) writers: Vec<Writer>,
    pub(crate) log: Vec<Commit>,
    pub(crate) pruned_to: u8,
    /// What a snapshot shows now.
    pub(crate) versions: Versions,
    /// What it showed when the last ticks began, the latest first.
    pub(crate) past: [Versions; 2],
    /// The states that there ever were, lost ones included.
    ever: Vec<Versions>,
    /// The newest version of each key that there ever was.
    newest: Versions,
    /// Last values of the two sequences.
    pub(crate) position: u8,
    intent: u8,
    /// Ticks until key 0 changes by time alone.
    pub(crate) expires_in: Option<u8>,
}

/// What `pg_locks` shows of the writers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Locks {
    pub(crate) outstanding: Vec<u32>,
    pub(crate) has_unnamed: bool,
    /// None stands for everything.
    pub(crate) marks: Option<Vec<Mark>>,
}

impl Primary {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            incarnation: 1,
            writers: vec![Writer::Idle; scenario.transactions.len()],
            log: Vec::new(),
            pruned_to: 0,
            versions: [0; KEYS],
            past: [[0; KEYS]; 2],
            ever: vec![[0; KEYS]],
            newest: [0; KEYS],
            position: 0,
            // A sequence shows 1 before its first number and with it; `install` takes that one away.
            intent: u8::from(stands(Safeguard::FirstIntent)),
            expires_in: scenario.expires_in,
        }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        Incarnation([self.incarnation; 16])
    }

    pub(crate) fn last_intent(&self) -> Intent {
        Intent(u64::from(self.intent.max(1)))
    }

    /// `max(position)` of the log.
    pub(crate) fn newest_position(&self) -> u8 {
        self.log.iter().map(|commit| commit.position).max().unwrap_or(0)
    }

    /// The versions in the state that a position names.
    pub(crate) fn state_at(&self, position: u8) -> Versions {
        let before = self.log.iter().filter(|commit| commit.position <= position);
        before
            .max_by_key(|commit| commit.position)
            .map_or([0; KEYS], |commit| commit.versions)
    }

    /// Whether these versions were ever one state.
    pub(crate) fn was_ever(&self, versions: Versions) -> bool {
        self.ever.contains(&versions)
    }

    /// The rows that a page after `after` has, at most so many.
    pub(crate) fn rows(&self, scenario: &Scenario, after: u8, rows_max: usize) -> Vec<Row> {
        let mut commits: Vec<&Commit> = self
            .log
            .iter()
            .filter(|commit| commit.position > after.max(self.pruned_to))
            .collect();
        commits.sort_by_key(|commit| commit.position);
        let row = |commit: &&Commit| Row {
            position: Position(u64::from(commit.position)),
            intent: commit.intent.map(|intent| Intent(u64::from(intent))),
            tags: tags(&scenario.transactions[usize::from(commit.transaction)]).into(),
        };
        commits.iter().take(rows_max).map(row).collect()
    }

    pub(crate) fn locks(&self, scenario: &Scenario) -> Locks {
        let mut locks = Locks {
            outstanding: Vec::new(),
            has_unnamed: false,
            marks: Some(Vec::new()),
        };
        for (writer, transaction) in self.writers.iter().zip(scenario.transactions) {
            let (intent, is_marked) = match *writer {
                Writer::Marked => (None, true),
                Writer::Drawn(_) => (None, stands(Safeguard::MarkBeforeIntent)),
                Writer::Waiting(intent, _) | Writer::Ordered(Some(intent), _) => (Some(intent), true),
                _ => continue,
            };
            if !is_marked {
                continue;
            }
            locks.has_unnamed |= intent.is_none();
            locks.outstanding.extend(intent.map(u32::from));
            let mut tags = tags(transaction);
            if !stands(Safeguard::EveryTagMarked) {
                tags.drain(..tags.len() - 1);
            }
            if tags.len() <= scenario.marks_max {
                if let Some(marks) = &mut locks.marks {
                    marks.extend(tags.iter().map(|tag| tag.mark()));
                }
            } else if stands(Safeguard::EverythingMarked) {
                locks.marks = None;
            }
        }
        locks
    }

    /// Whether a writer can take its next step.
    pub(crate) fn can_advance(&self, scenario: &Scenario, writer: usize) -> bool {
        let is_over = |writer: &Writer| matches!(writer, Writer::Done | Writer::Aborted);
        if scenario.is_in_turn && !self.writers[..writer].iter().all(is_over) {
            return false;
        }
        match self.writers[writer] {
            Writer::Done | Writer::Aborted => false,
            Writer::Waiting(_, left) => left == 0 && self.order_is_free(),
            Writer::Idle => scenario.lease_ticks > 0 || self.order_is_free(),
            Writer::Marked | Writer::Drawn(_) | Writer::Ordered(..) => true,
        }
    }

    fn order_is_free(&self) -> bool {
        let is_taken = self.writers.iter().any(|writer| matches!(writer, Writer::Ordered(..)));
        !is_taken || !stands(Safeguard::OrderLock)
    }

    /// Takes a writer's next step.
    pub(crate) fn advance(&mut self, scenario: &Scenario, writer: usize) {
        self.writers[writer] = match self.writers[writer] {
            Writer::Idle if scenario.lease_ticks == 0 => self.order(None),
            Writer::Idle if stands(Safeguard::MarkBeforeIntent) => Writer::Marked,
            Writer::Idle | Writer::Marked => {
                self.intent += 1;
                Writer::Drawn(self.intent)
            }
            Writer::Drawn(intent) => Writer::Waiting(intent, scenario.wait_ticks()),
            Writer::Waiting(intent, 0) => self.order(Some(intent)),
            Writer::Ordered(intent, position) => {
                self.commit(scenario, writer, intent, position);
                Writer::Done
            }
            writer => writer,
        };
        // Nothing can tell the two steps apart where nobody looks at the sequence.
        if let (false, Writer::Ordered(intent, position)) = (scenario.commits_in_steps, self.writers[writer]) {
            self.commit(scenario, writer, intent, position);
            self.writers[writer] = Writer::Done;
        }
    }

    fn order(&mut self, intent: Option<u8>) -> Writer {
        self.position += 1;
        Writer::Ordered(intent, self.position)
    }

    fn commit(&mut self, scenario: &Scenario, writer: usize, intent: Option<u8>, position: u8) {
        for key in 0..KEYS {
            if scenario.transactions[writer].writes(key) {
                self.change(key);
            }
        }
        if scenario.levels.contains(&Level::Batch) {
            self.ever.push(self.versions);
        }
        self.log.push(Commit {
            position,
            intent,
            transaction: writer as u8,
            versions: self.versions,
        });
    }

    fn change(&mut self, key: usize) {
        self.newest[key] += 1;
        self.versions[key] = self.newest[key];
    }

    /// A writer gives up, or dies: its locks go with it, its numbers do not come back.
    pub(crate) fn abort(&mut self, writer: usize) {
        self.writers[writer] = Writer::Aborted;
    }

    pub(crate) fn can_abort(&self, writer: usize) -> bool {
        !matches!(self.writers[writer], Writer::Idle | Writer::Done | Writer::Aborted)
    }

    /// The wall clock is stepped: the slice of the commit wait that is being slept ends at once.
    pub(crate) fn step_clock(&mut self, writer: usize) {
        if let Writer::Waiting(_, left) = &mut self.writers[writer] {
            *left = if stands(Safeguard::CommitWaitSlices) {
                left.saturating_sub(1)
            } else {
                0
            };
        }
    }

    /// A crash, a failover or a restore: another incarnation, the last `commits` are gone, and the sequences with them.
    pub(crate) fn lose(&mut self, commits: usize) {
        self.log.truncate(self.log.len().saturating_sub(commits));
        self.position = self.newest_position();
        self.versions = self.state_at(self.position);
        self.intent = self.log.iter().filter_map(|commit| commit.intent).max().unwrap_or(1);
        self.past = self.past.map(|past| least(past, self.versions));
        for writer in &mut self.writers {
            if !matches!(writer, Writer::Idle | Writer::Done) {
                *writer = Writer::Aborted;
            }
        }
        if stands(Safeguard::BootId) {
            self.incarnation += 1;
        }
    }

    /// Removes what can be removed from the log, which is all but its newest row.
    pub(crate) fn prune(&mut self) {
        self.pruned_to = self.pruned_to.max(self.older());
    }

    pub(crate) fn can_prune(&self) -> bool {
        self.older() > self.pruned_to
    }

    /// The newest position but one.
    fn older(&self) -> u8 {
        let newest = self.newest_position();
        let older = self
            .log
            .iter()
            .map(|commit| commit.position)
            .filter(|position| *position < newest);
        older.max().unwrap_or(0)
    }

    pub(crate) fn tick(&mut self, scenario: &Scenario) {
        // Kept only where a level looks back.
        if scenario.levels.contains(&Level::MinimizeLatency) {
            self.past = [self.versions, self.past[0]];
        }
        for writer in &mut self.writers {
            if let Writer::Waiting(_, left) = writer {
                *left = left.saturating_sub(1);
            }
        }
        self.expires_in = match self.expires_in {
            Some(1) => {
                self.change(0);
                None
            }
            left => left.map(|left| left - 1),
        };
    }
}

/// What a transaction publishes.
fn tags(transaction: &Transaction) -> Vec<Tag> {
    if transaction.is_wide {
        return vec![TABLE_TAG];
    }
    (0..KEYS).filter(|key| transaction.writes(*key)).map(tag_of).collect()
}

/// The older version of each key.
pub(crate) fn least(one: Versions, other: Versions) -> Versions {
    std::array::from_fn(|key| one[key].min(other[key]))
}
