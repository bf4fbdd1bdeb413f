//! What the model of Postgres knows: committed states, sequences, locks and backends (PROTOCOL §2).
//!
//! A committed state is never changed, so a snapshot is a pointer to one. Sequences and locks stand outside of snapshots, as
//! they do in Postgres. All states that ever were visible are kept, for the judge.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use neverstale_coherence::{
    Incarnation,
    safeguard::{Safeguard, stands},
};
use ring::digest::{SHA256, digest};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The class of the installation's advisory locks.
pub(crate) const LOCK_CLASS: i32 = 7_000;

/// A row of the application's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    /// Counted by the database at each watched change.
    pub(crate) version: i64,
    /// What the other view selects by.
    pub(crate) team: String,
}

/// A row of the log.
#[derive(Clone, Debug)]
pub(crate) struct LogRow {
    /// Its place.
    pub(crate) position: u64,
    /// What announced it.
    pub(crate) intent: Option<u64>,
    /// What it invalidated.
    pub(crate) tags: BTreeSet<String>,
}

/// Everything that a snapshot sees.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The application's table.
    pub(crate) persons: BTreeMap<String, Person>,
    /// The log, by position.
    pub(crate) log: Vec<LogRow>,
    /// The log is complete above it.
    pub(crate) pruned_to: u64,
    /// The row of the unlogged table, if there is one.
    pub(crate) boot: Option<u64>,
    /// What readers may rely on.
    pub(crate) lease_ms: i32,
    /// Counts changes of the triggers.
    pub(crate) trigger_epoch: u64,
    /// Whether the triggers on the table fire.
    pub(crate) is_publishing: bool,
}

impl State {
    /// The newest position that is visible.
    pub(crate) fn newest(&self) -> u64 {
        self.log.last().map_or(0, |row| row.position)
    }
}

/// A state and since when it was visible.
#[derive(Clone, Debug)]
pub(crate) struct Visible {
    /// Simulated time, in ms.
    pub(crate) at_ms: u64,
    /// The state.
    pub(crate) state: Arc<State>,
    /// Whose positions these are; none before the boot is named.
    pub(crate) incarnation: Option<Incarnation>,
}

/// A lock of `pg_locks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Advisory {
    pub(super) pid: i32,
    pub(super) class: i32,
    pub(super) object: i32,
}

/// A session's other side.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) ended: CancellationToken,
    /// Bells, once it listens.
    pub(super) bells: Option<mpsc::Sender<String>>,
}

/// The server.
#[derive(Debug)]
pub(crate) struct World {
    /// All states that were ever visible, the last of them now.
    pub(crate) visible: Vec<Visible>,
    /// The last of them that a crash leaves.
    pub(super) durable: usize,
    pub(super) intent: u64,
    pub(super) position: u64,
    pub(super) wait_ms: u64,
    /// Counts starts of the postmaster.
    pub(super) starts: u64,
    pub(super) is_up: bool,
    /// What the disk holds after a crash, until it is recovered.
    pub(super) crashed: Option<Disk>,
    pub(super) next_pid: i32,
    pub(super) backends: BTreeMap<i32, Backend>,
    pub(super) advisory: Vec<Advisory>,
    /// Rows locked by writers.
    pub(super) rows: BTreeMap<String, i32>,
    /// Somebody alters the table, or waits to do so.
    pub(super) is_altered: bool,
    /// Who holds the order lock, and who waits for it behind.
    pub(super) order: VecDeque<i32>,
    /// Commit records on their way to the disk.
    pub(super) flushing: BTreeMap<i32, Commit>,
}

/// What a crash has left on disk.
#[derive(Debug)]
pub(super) enum Disk {
    /// Everything, and this commit that was not visible yet.
    AndMore(Commit),
    /// All that is durable.
    Durable,
}

/// What a transaction changes when it becomes visible.
#[derive(Clone, Debug, Default)]
pub(super) struct Commit {
    pub(super) persons: BTreeMap<String, Option<Person>>,
    pub(super) row: Option<LogRow>,
    /// It is acknowledged once it is on disk, and not before.
    pub(super) is_synchronous: bool,
}

impl World {
    pub(super) fn new(persons: BTreeMap<String, Person>, lease_ms: u64) -> Self {
        let state = State {
            persons,
            log: Vec::new(),
            pruned_to: 0,
            boot: None,
            lease_ms: lease_ms as i32,
            trigger_epoch: 1,
            is_publishing: true,
        };
        Self {
            visible: vec![Visible {
                at_ms: 0,
                state: Arc::new(state),
                incarnation: None,
            }],
            durable: 0,
            // Both were advanced once by the installation [3].
            intent: 1,
            position: 1,
            wait_ms: lease_ms,
            starts: 1,
            is_up: true,
            crashed: None,
            next_pid: 100,
            backends: BTreeMap::new(),
            advisory: Vec::new(),
            rows: BTreeMap::new(),
            is_altered: false,
            order: VecDeque::new(),
            flushing: BTreeMap::new(),
        }
    }

    /// What a statement that begins now sees.
    pub(crate) fn snapshot(&self) -> Arc<State> {
        Arc::clone(&self.visible.last().expect("there is always a state").state)
    }

    /// Makes a change visible to all who take a snapshot from now on; it is on disk, with all that came before it.
    pub(super) fn show(&mut self, at_ms: u64, change: impl FnOnce(&mut State)) {
        let mut state = (*self.snapshot()).clone();
        change(&mut state);
        self.show_state(at_ms, state);
        self.durable = self.visible.len() - 1;
    }

    fn show_state(&mut self, at_ms: u64, state: State) {
        self.visible.push(Visible {
            at_ms,
            incarnation: self.incarnation(&state),
            state: Arc::new(state),
        });
    }

    /// Takes back what is not on disk.
    pub(super) fn lose(&mut self, at_ms: u64) {
        let state = (*self.visible[self.durable].state).clone();
        self.show_state(at_ms, state);
    }

    pub(super) fn show_commit(&mut self, at_ms: u64, commit: Commit) {
        let is_durable = commit.is_synchronous;
        let mut state = (*self.snapshot()).clone();
        for (id, person) in commit.persons {
            match person {
                Some(person) => drop(state.persons.insert(id, person)),
                None => drop(state.persons.remove(&id)),
            }
        }
        state.log.extend(commit.row);
        state.log.sort_by_key(|row| row.position);
        self.show_state(at_ms, state);
        if is_durable {
            self.durable = self.visible.len() - 1;
        }
    }

    /// Names the incarnation of a snapshot; none where crash recovery left no boot id.
    pub(crate) fn incarnation(&self, state: &State) -> Option<Incarnation> {
        let boot = state.boot?;
        let boot = if stands(Safeguard::BootId) { boot } else { 0 };
        let epoch = if stands(Safeguard::TriggerEpoch) {
            state.trigger_epoch
        } else {
            0
        };
        let text = format!("{boot}|{}|{epoch}", self.starts);
        let mut first = [0; 16];
        first.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
        Some(Incarnation(first))
    }

    /// Ends what a session held; its transaction, if there was one, never was.
    pub(super) fn release(&mut self, pid: i32) {
        self.advisory.retain(|lock| lock.pid != pid);
        self.rows.retain(|_, holder| *holder != pid);
        self.order.retain(|waiting| *waiting != pid);
        self.flushing.remove(&pid);
    }
}
