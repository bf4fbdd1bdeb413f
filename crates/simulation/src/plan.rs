//! What one seed decides before anything happens: how large the world is, how it is tempered, and what may go wrong in it.
//!
//! Not every fault in every world: a seed that leaves some out sees others alone, and finds what their mixture would hide.

use std::ops::RangeInclusive;

use crate::{chance::Chance, postgres::Temper};

/// The plan of one seed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Sidecars.
    pub(crate) pods: usize,
    /// Readers in each pod.
    pub(crate) readers: usize,
    /// Writers.
    pub(crate) writers: usize,
    /// Rows that are written and read.
    pub(crate) persons: usize,
    /// Teams that they belong to.
    pub(crate) teams: usize,
    /// Lease and commit wait; 0 means a fence for every read.
    pub(crate) lease_ms: u64,
    /// How often a feed looks by itself.
    pub(crate) poll_ms: u64,
    /// The staleness that may be asked for.
    pub(crate) bound_ms: u64,
    /// Limit on statements and connections.
    pub(crate) statement_limit_ms: u64,
    /// What pruning leaves of the log.
    pub(crate) log_rows_kept: u64,
    /// Slots of the table of tags.
    pub(crate) tag_slots: u64,
    /// Whether there is a Redis, and whether what lies in it is sealed.
    pub(crate) redis: Option<Sealed>,
    /// How long a read of L2 may take.
    pub(crate) redis_budget_ms: u64,
    /// How often, in a hundred, a message on the channel is lost, and how often it is told twice.
    pub(crate) lossy_percent: u64,
    /// How long a message takes.
    pub(crate) delay_ms: RangeInclusive<u64>,
    /// Between two reads of one reader.
    pub(crate) read_pause_ms: RangeInclusive<u64>,
    /// Between two transactions of one writer.
    pub(crate) write_pause_ms: RangeInclusive<u64>,
    /// Between two faults.
    pub(crate) fault_pause_ms: RangeInclusive<u64>,
    /// What may go wrong.
    pub(crate) faults: Vec<Fault>,
    /// For how long it may.
    pub(crate) span_ms: u64,
    /// How many, in a hundred, of the writers do not wait for the disk.
    pub(crate) asynchronous_percent: u64,
    /// How far clocks may be steered, in millionths.
    pub(crate) steering_ppm: u64,
}

/// Whether values and broadcasts are sealed with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    Yes,
    No,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Messages between a pod and Postgres are held back for a while.
    Partition,
    /// All streams between a pod and Postgres end.
    Cut,
    /// Messages of a pod take longer for a while.
    Slow,
    /// A pod stands still for a while.
    Pause,
    /// A pod's machine is suspended for a while: its raw clock stands still, its boot clock does not.
    Suspend,
    /// A pod is killed and started again.
    Kill,
    /// A writer's streams end.
    WriterCut,
    /// One session is ended.
    Terminate,
    /// Postgres crashes.
    Crash,
    /// Postgres is restarted in order.
    Restart,
    /// The log is pruned to its last row.
    Prune,
    /// Triggers are disabled for a while.
    Triggers,
    /// Messages between a pod and Redis are held back for a while.
    RedisPartition,
    /// Redis is restarted, and empty.
    RedisRestart,
    /// Redis forgets its last writes.
    RedisRewind,
    /// Somebody without the key publishes what never happened.
    RedisForge,
    /// Redis is full of garbage and of other keys' values.
    RedisScramble,
}

impl Fault {
    const ALL: [Self; 17] = [
        Self::Partition,
        Self::Cut,
        Self::Slow,
        Self::Pause,
        Self::Suspend,
        Self::Kill,
        Self::WriterCut,
        Self::Terminate,
        Self::Crash,
        Self::Restart,
        Self::Prune,
        Self::Triggers,
        Self::RedisPartition,
        Self::RedisRestart,
        Self::RedisRewind,
        Self::RedisForge,
        Self::RedisScramble,
    ];

    /// Its word in the story.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Cut => "cut",
            Self::Slow => "slow",
            Self::Pause => "pause",
            Self::Suspend => "suspend",
            Self::Kill => "kill",
            Self::WriterCut => "writer cut",
            Self::Terminate => "terminate",
            Self::Crash => "crash",
            Self::Restart => "restart",
            Self::Prune => "prune",
            Self::Triggers => "triggers",
            Self::RedisPartition => "redis partition",
            Self::RedisRestart => "redis restart",
            Self::RedisRewind => "redis rewind",
            Self::RedisForge => "redis forge",
            Self::RedisScramble => "redis scramble",
        }
    }
}

impl Plan {
    /// Draws a plan.
    pub(crate) fn of(chance: &Chance) -> Self {
        let lively = chance.percent(85);
        let often = chance.among(20..=80);
        Self {
            pods: chance.among(1..=3) as usize,
            readers: chance.among(1..=3) as usize,
            writers: chance.among(1..=3) as usize,
            persons: chance.among(1..=4) as usize,
            teams: chance.among(1..=2) as usize,
            lease_ms: chance.one(&[0, 50, 50, 100, 200, 400]),
            poll_ms: chance.one(&[50, 100, 200]),
            bound_ms: chance.one(&[100, 400]),
            statement_limit_ms: chance.one(&[100, 300]),
            log_rows_kept: chance.one(&[1, 3, 20]),
            redis: chance.one(&[None, Some(Sealed::Yes), Some(Sealed::Yes), Some(Sealed::No)]),
            redis_budget_ms: chance.one(&[5, 50]),
            lossy_percent: chance.one(&[0, 0, 10, 30]),
            tag_slots: chance.one(&[1, 8, 1_024]),
            delay_ms: chance.one(&[0..=1, 0..=3, 1..=10, 0..=20]),
            read_pause_ms: chance.one(&[0..=5, 0..=20, 10..=60]),
            write_pause_ms: chance.one(&[0..=10, 5..=50, 20..=150]),
            fault_pause_ms: chance.one(&[10..=100, 50..=400]),
            faults: Fault::ALL
                .into_iter()
                .filter(|_| lively && chance.percent(often))
                .collect(),
            span_ms: chance.among(1_000..=3_000),
            asynchronous_percent: chance.one(&[0, 0, 50]),
            steering_ppm: chance.one(&[0, 20_000, 80_000]),
        }
    }

    /// How Postgres behaves.
    pub(crate) fn temper(&self, chance: &Chance) -> Temper {
        Temper {
            lingers_percent: chance.one(&[0, 10, 40, 70]),
            lingers_ms: chance.one(&[0..=2, 1..=15, 1..=50]),
            flush_ms: chance.one(&[0..=0, 0..=5, 1..=20]),
            clock_ppm: self.steer(chance),
            steps_percent: chance.one(&[0, 0, 20]),
        }
    }

    /// How far a pod's two clocks are steered. Where no machine is suspended, somebody may have slowed the boot clock down by
    /// more than a lease's margin allows for; then the raw one must end the lease.
    pub(crate) fn steer_both(&self, chance: &Chance) -> (i64, i64) {
        let is_wild = !self.faults.contains(&Fault::Suspend) && chance.percent(15);
        let boot = if is_wild { -400_000 } else { self.steer(chance) };
        (boot, self.steer(chance))
    }

    /// How far one clock is steered.
    pub(crate) fn steer(&self, chance: &Chance) -> i64 {
        let most = self.steering_ppm;
        chance.among(0..=2 * most) as i64 - most as i64
    }
}
