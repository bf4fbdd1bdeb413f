//! What happened: every operation with the moments at which it was invoked and answered, on the one clock of the test's process.
//!
//! Recording must cost next to nothing, so each process of the test keeps a log of its own, and they are put together at the end.
//! What the database says of each write (whether it was committed, and as which version) is added then. Nothing is judged here.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use super::level::Level;

/// Nanoseconds since the run began.
pub(crate) type Moment = u64;
/// No answer came: the operation may still be under way.
pub(crate) const NEVER: Moment = Moment::MAX;

/// The one clock of a run. Monotonic, and never stepped by the nemesis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Moment {
        self.0.elapsed().as_nanos() as Moment
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// One register as an answer showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) register: u16,
    /// Assigned by the database: one more than before, under the row's lock.
    pub(crate) version: u32,
    /// Who made it; 0 is the beginning.
    pub(crate) write: u32,
}

impl Seen {
    /// Stands for a register that should have been in the answer and was not.
    pub(crate) const ABSENT: u32 = u32::MAX;
}

/// A read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read {
    pub(crate) process: u16,
    pub(crate) asked: Level,
    /// The level that was kept, as the answer says.
    pub(crate) level: Level,
    /// The status of the answer; 0 if none came.
    pub(crate) status: u16,
    /// It asked for the position: it shows nothing, and its token carries everything from before it began.
    pub(crate) is_fence: bool,
    /// How many questions it was: more than one in a batch.
    pub(crate) questions: u16,
    /// How many registers it showed, from `seen_from` on.
    pub(crate) seen_count: u16,
    pub(crate) seen_from: u32,
    /// The read whose token this one was given.
    pub(crate) basis: Option<Origin>,
    /// The position that the answer named.
    pub(crate) position: u64,
    pub(crate) start: Moment,
    pub(crate) end: Moment,
}

impl Read {
    pub(crate) fn is_answered(&self) -> bool {
        self.status == 200
    }
}

/// A read in the log of its process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) process: u16,
    pub(crate) place: u32,
}

/// What a writer heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The commit was acknowledged.
    Committed,
    /// The server said that it was rolled back, or it was asked to.
    RolledBack,
    /// Nothing: it may or may not have been committed.
    Nothing,
}

/// A write: one transaction that changes one or several registers.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    /// From 1 on, unique; it stands in every value that the write made.
    pub(crate) id: u32,
    pub(crate) process: u16,
    pub(crate) heard: Heard,
    pub(crate) start: Moment,
    /// When the writer heard, or gave up.
    pub(crate) end: Moment,
    /// What the database says that it made: register and version. Empty if it was not committed.
    pub(crate) made: Vec<(u16, u32)>,
}

impl Write {
    /// From when on everybody must see it.
    pub(crate) fn acknowledged(&self) -> Moment {
        if self.heard == Heard::Committed {
            self.end
        } else {
            NEVER
        }
    }
}

/// Something that the nemesis did.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// The family, as `--faults` names it.
    pub(crate) family: &'static str,
    pub(crate) what: String,
    pub(crate) start: Moment,
    pub(crate) end: Moment,
}

/// The log of one reading process.
#[derive(Debug, Default)]
pub(crate) struct ReadLog {
    pub(crate) reads: Vec<Read>,
    pub(crate) seen: Vec<Seen>,
}

impl ReadLog {
    /// Room for a run, so that nothing grows while it is measured.
    pub(crate) fn with_room(reads: usize) -> Self {
        Self {
            reads: Vec::with_capacity(reads),
            seen: Vec::with_capacity(reads * 3),
        }
    }

    /// Adds a read with what it showed; gives its place in this log.
    pub(crate) fn push(&mut self, mut read: Read, seen: &[Seen]) -> u32 {
        read.seen_from = self.seen.len() as u32;
        read.seen_count = seen.len() as u16;
        self.seen.extend_from_slice(seen);
        self.reads.push(read);
        (self.reads.len() - 1) as u32
    }
}

/// What the nemesis did, as it does it.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    over: Mutex<Vec<Fault>>,
    under_way: Mutex<Vec<&'static str>>,
}

impl Faults {
    pub(crate) fn begin(&self, family: &'static str) {
        self.under_way.lock().expect("no holder panics").push(family);
    }

    pub(crate) fn end(&self, fault: Fault) {
        let mut under_way = self.under_way.lock().expect("no holder panics");
        if let Some(place) = under_way.iter().position(|family| *family == fault.family) {
            under_way.swap_remove(place);
        }
        self.over.lock().expect("no holder panics").push(fault);
    }

    /// The families of what is on now, for a person.
    pub(crate) fn under_way(&self) -> String {
        self.under_way.lock().expect("no holder panics").join(", ")
    }

    pub(crate) fn take(&self) -> Vec<Fault> {
        std::mem::take(&mut *self.over.lock().expect("no holder panics"))
    }
}

/// A whole run.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The names of the registers.
    pub(crate) registers: Vec<String>,
    /// The names of the processes: readers first, in the order of their logs, then writers.
    pub(crate) processes: Vec<String>,
    pub(crate) reads: Vec<Read>,
    pub(crate) seen: Vec<Seen>,
    /// Where the reads of each reading process begin.
    pub(crate) offsets: Vec<u32>,
    pub(crate) writes: Vec<Write>,
    pub(crate) faults: Vec<Fault>,
    /// How old an answer at `minimize-latency` may be, in nanoseconds.
    pub(crate) staleness_bound: Moment,
}

impl History {
    /// Takes in the log of the reading process that has the next number.
    pub(crate) fn take_reads(&mut self, log: ReadLog) {
        let seen_before = self.seen.len() as u32;
        self.offsets.push(self.reads.len() as u32);
        self.seen.extend_from_slice(&log.seen);
        self.reads.extend(log.reads.into_iter().map(|mut read| {
            read.seen_from += seen_before;
            read
        }));
    }

    /// What a read showed.
    pub(crate) fn seen_by(&self, read: &Read) -> &[Seen] {
        let from = read.seen_from as usize;
        &self.seen[from..from + usize::from(read.seen_count)]
    }

    /// The place, among all reads, of the one whose token this read was given.
    pub(crate) fn basis_of(&self, read: &Read) -> Option<usize> {
        let basis = read.basis?;
        Some(self.offsets[usize::from(basis.process)] as usize + basis.place as usize)
    }
}
