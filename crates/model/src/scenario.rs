//! What is explored: how many of everything, which faults, and how many states there must be.

use neverstale_coherence::{Safeguard, safeguard::stands};

use crate::reach::Reach;

/// What a transaction writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transaction {
    /// Keys, a bit each.
    keys: u8,
    /// It publishes the table-wide tag instead of theirs.
    pub(crate) is_wide: bool,
}

/// Writes the first key, the second, both, or the whole table.
pub(crate) const FIRST: Transaction = Transaction {
    keys: 1,
    is_wide: false,
};
pub(crate) const SECOND: Transaction = Transaction {
    keys: 2,
    is_wide: false,
};
pub(crate) const BOTH: Transaction = Transaction {
    keys: 3,
    is_wide: false,
};
pub(crate) const TABLE: Transaction = Transaction { keys: 3, is_wide: true };

impl Transaction {
    pub(crate) const fn writes(&self, key: usize) -> bool {
        self.keys & (1 << key) != 0
    }
}

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Linearizable.
    FullyConsistent,
    /// Not older than what the client has seen.
    AtLeastAsFresh,
    /// Not older than the bound.
    MinimizeLatency,
    /// Both keys in one state, fully consistent.
    Batch,
}

/// What may go wrong, beyond what is part of every scenario (late and lost messages, pauses between any two steps).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A writer aborts or dies at any step. Costs nothing of the budget.
    Abort,
    /// The log is pruned up to its newest row.
    Prune,
    /// A sidecar starts anew.
    Restart,
    /// The server recovers from a crash, with all commits.
    Crash,
    /// The server fails over or is restored, without the last commit.
    LoseOne,
    /// The same without the last two.
    LoseTwo,
    /// A sidecar's machine is suspended for a tick: `CLOCK_MONOTONIC_RAW` stands still.
    Suspend,
    /// A time service slows `CLOCK_BOOTTIME` down, so that it loses a tick.
    Steer,
    /// The server's wall clock is stepped while a writer sleeps.
    StepClock,
}

/// A configuration of the model. What is not named in one is as in [`Scenario::SMALL`].
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name, by which the proofs refer to it.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// The states that there are; any other number fails, fewer above all.
    pub states: usize,
    pub(crate) sidecars: usize,
    /// Sidecars keep their numbers, for whoever reads a way; else those that are alike are one state.
    pub(crate) keeps_numbers: bool,
    /// Readers of each sidecar.
    pub(crate) readers: usize,
    /// Keys that are read.
    pub(crate) keys: usize,
    /// A fill is answered, kept and handed out at once; what it gave may still be found late.
    pub(crate) fills_at_once: bool,
    /// A sidecar may fetch the log without a fence that demands it.
    pub(crate) has_bells: bool,
    /// Readers may be given up at any time.
    pub(crate) readers_give_up: bool,
    /// Reads in a whole run; none is no limit.
    pub(crate) reads_max: Option<u8>,
    pub(crate) levels: &'static [Level],
    pub(crate) transactions: &'static [Transaction],
    /// Writers come one after the other.
    pub(crate) is_in_turn: bool,
    /// Position and visibility are two steps.
    pub(crate) commits_in_steps: bool,
    /// Length of a lease, its margin taken off; 0 for none.
    pub(crate) lease_ticks: u8,
    /// A fence may be taken without a reader that waits for it.
    pub(crate) has_renewal: bool,
    /// A fence and a settlement may be under way together, which production's one session does not do.
    pub(crate) overlaps: bool,
    /// Tags beyond which a writer marks everything.
    pub(crate) marks_max: usize,
    /// Ticks until key 0 changes by time alone.
    pub(crate) expires_in: Option<u8>,
    pub(crate) has_l2: bool,
    pub(crate) has_broadcast: bool,
    /// Rows in a page of the log.
    pub(crate) page_rows: usize,
    /// Positions before the newest at which a world begins.
    pub(crate) look_back: u8,
    pub(crate) faults: &'static [Fault],
    pub(crate) faults_max: u8,
    /// Readers may stop to arrive, and then all must be answered.
    pub(crate) drains: bool,
    /// What must be reached, or the scenario would hold because nothing ever happens.
    pub(crate) reaches: &'static [Reach],
}

impl Scenario {
    /// One sidecar with one reader, and nothing that could go wrong.
    pub(crate) const SMALL: Self = Self {
        name: "small",
        about: "",
        states: 0,
        sidecars: 1,
        keeps_numbers: false,
        readers: 1,
        keys: 1,
        fills_at_once: true,
        has_bells: true,
        readers_give_up: false,
        reads_max: None,
        levels: &[Level::FullyConsistent],
        transactions: &[FIRST, SECOND],
        is_in_turn: false,
        commits_in_steps: false,
        lease_ticks: 0,
        has_renewal: false,
        overlaps: false,
        marks_max: 2,
        expires_in: None,
        has_l2: false,
        has_broadcast: false,
        page_rows: 8,
        look_back: 0,
        faults: &[],
        faults_max: 0,
        drains: false,
        reaches: &[Reach::L1],
    };

    /// The age of a question beyond which nothing depends on it: no lease is left of it, and no bound is kept.
    pub(crate) fn age_max(&self) -> u8 {
        let bound = if self.levels.contains(&Level::MinimizeLatency) {
            2
        } else {
            0
        };
        bound.max(self.lease_ticks + u8::from(!stands(Safeguard::LeaseMargin)))
    }

    /// Whether anything depends on time.
    pub(crate) fn has_time(&self) -> bool {
        self.lease_ticks > 0 || self.expires_in.is_some() || self.levels.contains(&Level::MinimizeLatency)
    }

    /// The same, with a way to a violation that can be followed.
    #[must_use]
    pub const fn readable(mut self) -> Self {
        self.keeps_numbers = true;
        self
    }

    pub(crate) fn allows(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// How long a commit waits, at its shortest: where the wall clock may be stepped there is a slice to spare.
    pub(crate) fn wait_ticks(&self) -> u8 {
        let spare = u8::from(self.allows(Fault::StepClock) && stands(Safeguard::CommitWaitSlices));
        if stands(Safeguard::CommitWait) {
            self.lease_ticks + spare
        } else {
            0
        }
    }
}
