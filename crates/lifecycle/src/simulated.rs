//! The seams in a simulation's hands: chance by a seed, clocks that follow simulated time, tasks that stand still or die.
//!
//! Compiled for `crates/simulation` only (feature `simulation`), and without effect until it is used.

use std::{
    cell::Cell,
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use neverstale_coherence::Moment;
use tokio::time::Instant;

thread_local! {
    static CHANCE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Has [`crate::random_u64`] give the numbers of this seed on this thread from now on.
pub fn seed_chance(seed: u64) {
    CHANCE.set(Some(seed));
}

/// The next number, if this thread has a seed.
pub(crate) fn draw() -> Option<u64> {
    CHANCE.get().map(|state| {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        let state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        CHANCE.set(Some(state));
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

/// Clocks that follow the runtime's time, each steered by so many millionths.
#[derive(Clone, Debug)]
pub struct SteeredClock {
    start: Instant,
    boot_ppm: i64,
    raw_ppm: i64,
    /// What the raw clock has not counted.
    suspended_nanos: Arc<AtomicU64>,
}

impl SteeredClock {
    /// Starts at zero now.
    pub fn start(boot_ppm: i64, raw_ppm: i64) -> Self {
        Self {
            start: Instant::now(),
            boot_ppm,
            raw_ppm,
            suspended_nanos: Arc::default(),
        }
    }

    /// Has the last `span` been a suspend, which the raw clock does not count.
    pub fn was_suspended(&self, span: Duration) {
        self.suspended_nanos.fetch_add(span.as_nanos() as u64, Ordering::AcqRel);
    }

    pub(crate) fn now(&self) -> Moment {
        let nanos = self.start.elapsed().as_nanos() as i128;
        let steered = |ppm| Duration::from_nanos((nanos * (1_000_000 + i128::from(ppm)) / 1_000_000) as u64);
        let suspended = Duration::from_nanos(self.suspended_nanos.load(Ordering::Acquire));
        Moment {
            boot: steered(self.boot_ppm),
            raw: steered(self.raw_ppm).saturating_sub(suspended),
        }
    }
}

/// Holds up all tasks of one process, as SIGSTOP does, or ends them where they stand, as SIGKILL does.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<Passage>>);

#[derive(Debug, Default)]
struct Passage {
    phase: Phase,
    /// Of all tasks that pass here, in the order in which they were made.
    wakers: BTreeMap<u64, Waker>,
    tasks: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    Shut,
    Killed,
}

impl Gate {
    /// Lets no task do anything until it is opened again, while time goes on.
    pub fn shut(&self) {
        self.enter(Phase::Shut);
    }

    /// Lets all tasks go on.
    pub fn open(&self) {
        self.enter(Phase::Open);
    }

    /// Drops all tasks, and those that are still to be made.
    pub fn kill(&self) {
        self.enter(Phase::Killed);
    }

    /// Leads a task through the gate.
    pub fn through(&self, task: impl Future<Output = ()> + Send + 'static) -> Gated {
        let mut passage = self.lock();
        passage.tasks += 1;
        Gated {
            gate: self.clone(),
            number: passage.tasks,
            task: Some(Box::pin(task)),
        }
    }

    fn enter(&self, phase: Phase) {
        let mut passage = self.lock();
        if passage.phase != Phase::Killed {
            passage.phase = phase;
        }
        let wakers: Vec<Waker> = passage.wakers.values().cloned().collect();
        drop(passage);
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Passage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task behind a gate.
pub struct Gated {
    gate: Gate,
    number: u64,
    task: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let phase = {
            let mut passage = self.gate.lock();
            passage.wakers.insert(self.number, context.waker().clone());
            passage.phase
        };
        match (phase, &mut self.task) {
            (Phase::Shut, Some(_)) => Poll::Pending,
            (Phase::Open, Some(task)) => task.as_mut().poll(context),
            _ => {
                self.task = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        self.gate.lock().wakers.remove(&self.number);
    }
}
