//! What the feed's task and its readers share, and who writes each part.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use neverstale_coherence::{Incarnation, Round, Rounds};
use neverstale_telemetry::Metrics;
use tokio::sync::{Notify, watch};

use crate::{FeedError, Serving, Standing, history::History, vigil::Vigil};

/// The last fence that ended, and what it came to.
#[derive(Clone)]
pub(crate) struct Fenced {
    pub(crate) round: Round,
    pub(crate) outcome: Result<Arc<Serving>, FeedError>,
}

/// Written by the feed's task but for what readers ask of it.
pub(crate) struct Shared {
    /// Readers load it for every read.
    pub(crate) standing: ArcSwap<Standing>,
    /// Numbers fences; readers only look.
    pub(crate) rounds: Rounds,
    /// Readers of the next fence wait here.
    pub(crate) fenced: watch::Sender<Fenced>,
    /// Readers ring it to have a fence taken.
    pub(crate) wanted: Notify,
    /// Anybody rings it who has a reason to look at the log.
    pub(crate) bell: Notify,
    /// Readers set it when they rest on the lease, so that it is renewed.
    pub(crate) touched: AtomicBool,
    /// This sidecar spreads the word for the others.
    pub(crate) is_relay: AtomicBool,
    /// Rung when it becomes the relay or stops being it.
    pub(crate) relay_changed: Notify,
    pub(crate) history: History,
    /// What the installation's row said last.
    pub(crate) lease_ms: AtomicU64,
    pub(crate) is_suspended: AtomicBool,
    /// Whether the primary answers.
    pub(crate) vigil: Arc<Vigil>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Shared {
    pub(crate) fn new(metrics: Arc<Metrics>, vigil: Vigil) -> Self {
        let starting = Fenced {
            round: Round::default(),
            outcome: Err(FeedError::Starting),
        };
        Self {
            standing: ArcSwap::from_pointee(Standing::Down(FeedError::Starting)),
            rounds: Rounds::default(),
            fenced: watch::Sender::new(starting),
            wanted: Notify::new(),
            bell: Notify::new(),
            touched: AtomicBool::new(false),
            is_relay: AtomicBool::new(false),
            relay_changed: Notify::new(),
            history: History::new(),
            lease_ms: AtomicU64::new(0),
            is_suspended: AtomicBool::new(false),
            vigil: Arc::new(vigil),
            metrics,
        }
    }

    /// Notes what the installation's row says of leases, as every fence tells it.
    pub(crate) fn note_lease(&self, lease: Duration) {
        self.lease_ms.store(lease.as_millis() as u64, Ordering::Relaxed);
    }

    pub(crate) fn serving(&self) -> Option<Arc<Serving>> {
        match self.standing.load().as_ref() {
            Standing::Serving(serving) => Some(Arc::clone(serving)),
            _ => None,
        }
    }

    /// Ends a round for all who wait for it or an earlier one.
    pub(crate) fn finish(&self, round: Round, outcome: Result<Arc<Serving>, FeedError>) {
        self.fenced.send_replace(Fenced { round, outcome });
    }

    /// Notes that a read rests on the lease; a plain load but for the first since the last renewal.
    pub(crate) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// Hears from a fill that another incarnation answered: a reason to take a fence.
    pub(crate) fn saw(&self, incarnation: Incarnation) {
        if self
            .serving()
            .is_some_and(|serving| serving.world.incarnation() != incarnation)
        {
            self.wanted.notify_one();
        }
    }
}
