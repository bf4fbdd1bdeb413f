//! What readers find when they look at the feed: a world to judge by, a reason to pass through, or nothing yet.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use neverstale_coherence::{Entitlement, Lease, Moment, Position, World, within_bound};
use neverstale_postgres::Statements;
use tokio::sync::watch;

use crate::FeedError;

/// How the sidecar stands towards its database.
#[derive(Clone)]
pub enum Standing {
    /// No incarnation has been read yet, or it is unknown again.
    Down(FeedError),
    /// Postgres answers, but the triggers can't be relied on: reads are passed through, nothing is cached.
    Bypass {
        /// The statements to read with.
        statements: Arc<Statements>,
        /// What is wrong, and the next step.
        reason: Arc<str>,
    },
    /// Reads are served under one incarnation.
    Serving(Arc<Serving>),
}

/// One world with what readers need beside it.
pub struct Serving {
    /// What has been applied and what it invalidated.
    pub world: World,
    /// The statements to fill with; they name the incarnation of this world's tables.
    pub statements: Arc<Statements>,
    /// The class of the installation's advisory locks.
    pub(crate) lock_class: i32,
    lease: ArcSwap<Lease>,
    last_fence: Mutex<Option<Moment>>,
    applied: watch::Sender<Position>,
}

impl Serving {
    pub(crate) fn new(world: World, statements: Arc<Statements>, lock_class: i32) -> Self {
        let applied = watch::Sender::new(world.applied());
        let lease = ArcSwap::from_pointee(Lease::over());
        Self {
            world,
            statements,
            lock_class,
            lease,
            last_fence: Mutex::default(),
            applied,
        }
    }

    /// Entitles a fully consistent read without a question, if a lease is valid at `now`, a moment after the read arrived.
    pub fn leased(&self, now: Moment) -> Option<Entitlement> {
        let lease = self.lease.load();
        lease
            .is_valid_at(now)
            .then(|| Entitlement::leased(&self.world, lease.except.clone()))
    }

    /// Entitles a read that accepts `bound` of staleness.
    pub fn bounded(&self, now: Moment, bound: Duration) -> Option<Entitlement> {
        within_bound(self.last_fence(), now, bound).then(|| Entitlement::applied(&self.world))
    }

    /// Gives the lease as it stands, for those who watch.
    pub fn lease(&self) -> Arc<Lease> {
        self.lease.load_full()
    }

    /// Gives t₀ of the last fence whose position has been applied.
    pub fn last_fence(&self) -> Option<Moment> {
        *self.last_fence.lock().expect("nobody panics while holding a moment")
    }

    /// Waits until the log has been applied up to `position`. Dropping it loses nothing.
    pub async fn reached(&self, position: Position) {
        let mut applied = self.applied.subscribe();
        // The sender lives in this very object, so waiting can't fail while we hold it.
        let _ = applied.wait_for(|applied| *applied >= position).await;
    }

    /// Lets a lease count; its position has been applied.
    pub(crate) fn grant(&self, lease: Lease) {
        self.lease.store(Arc::new(lease));
    }

    /// Ends the lease: the connection that could tell us of a new incarnation is gone.
    pub(crate) fn revoke(&self) {
        self.lease.store(Arc::new(Lease::over()));
    }

    pub(crate) fn fenced(&self, sent: Moment) {
        *self.last_fence.lock().expect("nobody panics while holding a moment") = Some(sent);
    }

    /// Wakes those who wait for a position.
    pub(crate) fn tell_applied(&self) {
        let applied = self.world.applied();
        self.applied.send_if_modified(|told| {
            let is_news = *told < applied;
            *told = applied.max(*told);
            is_news
        });
    }
}
