//! One fill per key: the first reader asks Postgres, the others join and wait.
//!
//! Called after L1 and L2 gave no valid entry. Knows nothing of tiers, tags or levels. Serves PROTOCOL §5, rule 3: whoever
//! joins gets the entry unjudged and must judge it by its own entitlement.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::watch;

use crate::{Entry, ReadError};

/// How a fill ended.
pub(crate) type Landing = Result<Arc<Entry>, ReadError>;

/// The fills that are under way, by key.
#[derive(Default)]
pub(crate) struct Flights {
    under_way: Mutex<HashMap<Box<str>, watch::Receiver<Option<Landing>>>>,
}

/// The right to end a flight; ends it for everybody when dropped.
pub(crate) struct Pilot {
    flights: Arc<Flights>,
    key: Box<str>,
    landing: watch::Sender<Option<Landing>>,
}

/// A way to wait for a flight.
pub(crate) struct Passenger(watch::Receiver<Option<Landing>>);

impl Flights {
    /// Joins the fill of `key` that is under way, if there is one.
    pub(crate) fn join(&self, key: &str) -> Option<Passenger> {
        self.lock().get(key).cloned().map(Passenger)
    }

    /// Starts a fill of `key`; those who come from now on join this one.
    pub(crate) fn start(self: &Arc<Self>, key: &str) -> (Pilot, Passenger) {
        let (landing, waiting) = watch::channel(None);
        self.lock().insert(key.into(), waiting.clone());
        (
            Pilot {
                flights: Arc::clone(self),
                key: key.into(),
                landing,
            },
            Passenger(waiting),
        )
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Box<str>, watch::Receiver<Option<Landing>>>> {
        self.under_way.lock().expect("nobody panics while holding the flights")
    }
}

impl Pilot {
    /// Ends the flight.
    pub(crate) fn land(self, landing: Landing) {
        self.landing.send_replace(Some(landing));
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock();
        // A later flight of the same key may have taken the place.
        if under_way
            .get(&self.key)
            .is_some_and(|other| other.same_channel(&self.landing.subscribe()))
        {
            under_way.remove(&self.key);
        }
    }
}

impl Passenger {
    /// Waits for the landing. None when the pilot was lost. Dropping it loses nothing: the fill goes on.
    pub(crate) async fn landed(mut self) -> Option<Landing> {
        self.0
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|landing| landing.clone())
    }
}
