//! The nemesis: breaks things, one of each kind at a time, and mends them again.
//!
//! Faults come in four lanes that run beside each other: what happens to the primary, to sidecars and their ways, to Redis, and within sessions. Each lane
//! goes through its faults in a shuffled order, again and again, so that a short run has met every kind. The seed decides all of it.

mod caches;
mod primary;
mod schema;
mod sessions;
mod sidecars;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, anyhow};
use tokio::time::{sleep, timeout};

use super::{
    record::{Clock, Fault, Faults},
    stage::Stage,
    writers::Writers,
};
use crate::dice::Dice;

/// The families, as `--faults` names them, and what they do.
pub(crate) const FAMILIES: [(&str, &str); 16] = [
    ("kill", "a sidecar dies by SIGKILL and is started again"),
    (
        "pause",
        "sidecars or the primary are stopped in their tracks (SIGSTOP) for longer than the lease",
    ),
    ("cut", "the ways of sidecars to the primary are cut, reset or silent"),
    ("delay", "the ways of sidecars to the primary are slow"),
    (
        "restart",
        "the primary is restarted in order, crashes, or it or one of its backends dies by SIGKILL",
    ),
    ("failover", "a streaming standby is promoted and the old primary dies"),
    (
        "redis",
        "Redis is emptied, filled with garbage, with other keys' values, with old values; paused, killed, cut off",
    ),
    ("sentinel", "the Redis that a Sentinel keeps fails over"),
    (
        "triggers",
        "triggers are dropped or disabled, writes go on, install repairs",
    ),
    (
        "ddl",
        "columns, indexes and foreign triggers come and go, tables are rewritten",
    ),
    ("lease", "the lease is raised, lowered and given up"),
    ("prune", "the log is pruned to its last rows"),
    (
        "clock",
        "the wall clock of the database's machine is stepped, forward and back",
    ),
    ("idle", "a transaction idles with its changes made and not committed"),
    ("rollback", "transactions are rolled back after all their changes"),
    (
        "connections",
        "the connection limit is filled, or sessions are ended by the administrator",
    ),
];

/// Longer than any fault takes, repairs included.
const PATIENCE: Duration = Duration::from_secs(45);

/// What the nemesis has to work with.
pub(crate) struct Nemesis {
    pub(crate) stage: Arc<Stage>,
    pub(crate) writers: Arc<Writers>,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) is_over: AtomicBool,
    /// The writer whose transactions idle and roll back.
    pub(crate) process: u16,
}

type Doing<'n> = Pin<Box<dyn Future<Output = Result<String>> + Send + 'n>>;
/// Breaks, mends, and says what was done.
type Act = for<'n> fn(&'n Nemesis, &'n mut Dice) -> Doing<'n>;

/// Faults of which one at a time is on.
struct Lane {
    acts: &'static [(&'static str, Act)],
    /// Between two faults, in milliseconds, at least and at most.
    calm_ms: (u64, u64),
}

/// Makes an entry of a lane from an async function.
macro_rules! act {
    ($family:literal, $act:path) => {
        ($family, |nemesis, dice| Box::pin($act(nemesis, dice)))
    };
}

const LANES: [Lane; 4] = [
    Lane {
        acts: &[
            act!("restart", primary::restart),
            act!("failover", primary::fail_over),
            act!("pause", primary::pause),
            act!("clock", primary::step_clock),
            act!("clock", primary::step_clock),
            act!("connections", primary::fill_connections),
            act!("triggers", schema::break_triggers),
            act!("ddl", schema::change_schema),
            act!("ddl", schema::change_schema),
            act!("lease", schema::change_lease),
            act!("prune", schema::prune),
        ],
        calm_ms: (300, 1_200),
    },
    Lane {
        acts: &[
            act!("kill", sidecars::kill),
            act!("pause", sidecars::pause),
            act!("pause", sidecars::pause),
            act!("cut", sidecars::cut),
            act!("delay", sidecars::delay),
        ],
        calm_ms: (200, 1_200),
    },
    Lane {
        acts: &[
            act!("redis", caches::spoil),
            act!("redis", caches::spoil),
            act!("redis", caches::spoil),
            act!("redis", caches::spoil),
            act!("redis", caches::take_away),
            act!("sentinel", caches::fail_over),
        ],
        calm_ms: (200, 1_000),
    },
    Lane {
        acts: &[
            act!("idle", sessions::idle),
            act!("rollback", sessions::roll_back),
            act!("connections", sessions::end_sessions),
        ],
        calm_ms: (200, 1_500),
    },
];

impl Nemesis {
    /// Starts the lanes that have any of the families.
    pub(crate) fn lanes(self: &Arc<Self>, families: &[&'static str], seed: u64) -> Vec<tokio::task::JoinHandle<()>> {
        let mut lanes = Vec::new();
        for (number, lane) in LANES.iter().enumerate() {
            let acts: Vec<_> = lane
                .acts
                .iter()
                .filter(|(family, _)| families.contains(family))
                .copied()
                .collect();
            if !acts.is_empty() {
                let dice = Dice::new(seed ^ (number as u64 + 1) << 32);
                lanes.push(tokio::spawn(Arc::clone(self).run(acts, lane.calm_ms, dice)));
            }
        }
        lanes
    }

    async fn run(self: Arc<Self>, mut acts: Vec<(&'static str, Act)>, calm_ms: (u64, u64), mut dice: Dice) {
        loop {
            dice.shuffle(&mut acts);
            for (family, act) in &acts {
                sleep(Duration::from_millis(dice.between(calm_ms.0, calm_ms.1))).await;
                if self.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let start = self.clock.now();
                self.faults.begin(family);
                let what = timeout(PATIENCE, act(&self, &mut dice)).await;
                let what = what.unwrap_or_else(|_| Err(anyhow!("it came to no end within {PATIENCE:?}")));
                self.faults.end(Fault {
                    family,
                    // Another lane may have broken what this one needs; that is a fault too, and is told.
                    what: what.unwrap_or_else(|error| format!("in vain: {error:#}")),
                    start,
                    end: self.clock.now(),
                });
            }
        }
    }
}

/// Waits a random time, in milliseconds.
async fn linger(dice: &mut Dice, least: u64, most: u64) -> u64 {
    let ms = dice.between(least, most);
    sleep(Duration::from_millis(ms)).await;
    ms
}
