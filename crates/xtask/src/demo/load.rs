//! A bounded load: a few connections per sidecar, each at a set pace, on users of whom some are asked for far more often than others.
//!
//! Every answer that shows a role goes to the judge.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use neverstale_testkit::{Answer, Client, Sidecar, user_id};
use tokio::task::JoinHandle;

use super::{
    ledger::Verdict,
    stage::{Stage, role_register},
};

const CONNECTIONS_PER_SIDECAR: usize = 2;
/// Together at most 12,000 reads a second, which leaves two cores usable.
const READS_PER_BURST: usize = 20;
const BURST_EVERY: Duration = Duration::from_millis(10);
const LATENCY_US_MAX: u64 = 60_000_000;
const COMPLAINTS_MAX: usize = 20;

/// Where answers came from.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tiers {
    pub(crate) l1: u64,
    pub(crate) l2: u64,
    pub(crate) fills: u64,
    pub(crate) bypasses: u64,
}

impl Tiers {
    /// All reads.
    pub(crate) fn total(self) -> u64 {
        self.l1 + self.l2 + self.fills + self.bypasses
    }

    fn count(&mut self, cache_status: Option<&str>) {
        let cache_status = cache_status.unwrap_or_default();
        match cache_status {
            status if status.contains("detail=l1") => self.l1 += 1,
            status if status.contains("detail=l2") => self.l2 += 1,
            status if status.contains("fwd=miss") => self.fills += 1,
            _ => self.bypasses += 1,
        }
    }
}

/// What is measured of one sidecar.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) tiers: Tiers,
    /// Microseconds, since the load began.
    pub(crate) latency: Histogram<u64>,
    /// Microseconds, since the last picture.
    pub(crate) recent: Histogram<u64>,
}

struct Shared {
    measured: Vec<Mutex<Measured>>,
    stopping: AtomicBool,
    judged: AtomicU64,
    stale: AtomicU64,
    failed: AtomicU64,
    complaints: Mutex<VecDeque<String>>,
}

/// The running load.
pub(crate) struct Load {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Load {
    /// Starts the workers.
    pub(crate) fn start(stage: &Arc<Stage>) -> Result<Self> {
        let histogram = || Histogram::new_with_max(LATENCY_US_MAX, 3).context("make a histogram");
        let measured = |_| {
            Ok(Mutex::new(Measured {
                tiers: Tiers::default(),
                latency: histogram()?,
                recent: histogram()?,
            }))
        };
        let shared = Arc::new(Shared {
            measured: (0..stage.sidecars.len()).map(measured).collect::<Result<_>>()?,
            stopping: AtomicBool::new(false),
            judged: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            complaints: Mutex::default(),
        });
        let popularity = Arc::new(Popularity::of(stage.users));
        let mut workers = Vec::new();
        for sidecar in 0..stage.sidecars.len() {
            for connection in 0..CONNECTIONS_PER_SIDECAR {
                let seed = (sidecar * CONNECTIONS_PER_SIDECAR + connection + 1) as u64;
                let worker = Worker {
                    stage: Arc::clone(stage),
                    shared: Arc::clone(&shared),
                    popularity: Arc::clone(&popularity),
                    sidecar,
                    random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                };
                workers.push(tokio::spawn(worker.run()));
            }
        }
        Ok(Self {
            shared,
            workers: Mutex::new(workers),
        })
    }

    /// What is measured of a sidecar.
    pub(crate) fn measured<T>(&self, sidecar: usize, act: impl FnOnce(&mut Measured) -> T) -> Option<T> {
        let measured = self.shared.measured.get(sidecar)?;
        Some(act(&mut measured.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Answers that were judged.
    pub(crate) fn judged(&self) -> u64 {
        self.shared.judged.load(Ordering::Relaxed)
    }

    /// Answers that were stale.
    pub(crate) fn stale(&self) -> u64 {
        self.shared.stale.load(Ordering::Relaxed)
    }

    /// Reads without a right answer.
    pub(crate) fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// What was wrong, the newest last; empties the list.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.shared
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
            .collect()
    }

    /// Ends the workers after their current read.
    pub(crate) async fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in workers {
            if worker.await.is_err() {
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

struct Worker {
    stage: Arc<Stage>,
    shared: Arc<Shared>,
    popularity: Arc<Popularity>,
    sidecar: usize,
    random: Random,
}

impl Worker {
    async fn run(mut self) {
        let Some(mut client) = self.stage.sidecars.get(self.sidecar).map(Sidecar::api) else {
            return;
        };
        let mut bursts = tokio::time::interval(BURST_EVERY);
        bursts.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while !self.shared.stopping.load(Ordering::Relaxed) {
            bursts.tick().await;
            for _ in 0..READS_PER_BURST {
                if let Err(error) = self.read(&mut client).await {
                    self.shared.failed.fetch_add(1, Ordering::Relaxed);
                    self.complain(format!("failed: {error:#}"));
                    // A sidecar that is gone must not be asked as fast as the loop can turn.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn read(&mut self, client: &mut Client) -> Result<()> {
        let user = user_id(self.popularity.pick(&mut self.random));
        let (path, shows_role) = match self.random.below(20) {
            0..14 => (format!("/v1/users/{user}/role"), true),
            14..17 => (format!("/v1/users/{user}"), true),
            17..19 => (format!("/v1/users/{user}/permissions"), false),
            _ => (format!("/v1/users/{user}/groups"), false),
        };
        let asked = Instant::now();
        let answer = client.get(&path).await.with_context(|| format!("GET {path}"))?;
        let answered = Instant::now();
        ensure!(answer.status == 200, "GET {path}: {} {}", answer.status, answer.text());
        self.measure(&answer, answered - asked);
        if shows_role {
            let body = answer.json()?;
            let role = body["role"].as_str().context("read a role")?;
            self.shared.judged.fetch_add(1, Ordering::Relaxed);
            if let Verdict::Stale(expected) = self.stage.ledger.judge(&role_register(&user), asked, answered, role) {
                self.shared.stale.fetch_add(1, Ordering::Relaxed);
                let status = answer.header("cache-status").unwrap_or_default().to_owned();
                self.complain(format!(
                    "STALE: sidecar {} said {role} for {user}, not {expected} ({status})",
                    self.sidecar + 1
                ));
            }
        }
        Ok(())
    }

    fn measure(&self, answer: &Answer, took: Duration) {
        let Some(measured) = self.shared.measured.get(self.sidecar) else {
            return;
        };
        let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.tiers.count(answer.header("cache-status"));
        let took = took.as_micros() as u64;
        measured.latency.saturating_record(took);
        measured.recent.saturating_record(took);
    }

    fn complain(&self, complaint: String) {
        let mut complaints = self.shared.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        // At the bound the oldest goes: the newest say what is wrong now, and all are counted.
        if complaints.len() >= COMPLAINTS_MAX {
            complaints.pop_front();
        }
        complaints.push_back(complaint);
    }
}

/// Zipf's law: the n-th user is asked for 1/n as often as the first.
struct Popularity {
    cumulated: Vec<f64>,
}

impl Popularity {
    fn of(users: u32) -> Self {
        let mut sum = 0.0;
        let cumulate = |rank: u32| {
            sum += 1.0 / f64::from(rank);
            sum
        };
        Self {
            cumulated: (1..=users).map(cumulate).collect(),
        }
    }

    fn pick(&self, random: &mut Random) -> u32 {
        let sum = self.cumulated.last().copied().unwrap_or(1.0);
        let point = random.unit() * sum;
        self.cumulated
            .partition_point(|cumulated| *cumulated < point)
            .min(self.cumulated.len() - 1) as u32
            + 1
    }
}

/// Marsaglia's xorshift64: the same load in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_user_is_the_most_popular_and_the_last_is_asked_for_too() {
        let popularity = Popularity::of(100);
        let mut random = Random(7);
        let mut counts = [0_u32; 101];
        for _ in 0..100_000 {
            counts[popularity.pick(&mut random) as usize] += 1;
        }
        assert!(counts[1] > counts[2] && counts[2] > counts[10] && counts[100] > 0 && counts[0] == 0);
    }
}
