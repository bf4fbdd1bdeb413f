//! What one connection is doing, as far as somebody else must know: the watch, which tells it to end.
//!
//! Written by requests with plain atomic operations, read once a second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;
use http::Version;

/// What a connection is told by the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    /// Go on.
    Nothing,
    /// Answer what has been asked, then end.
    Drain,
    /// End now.
    Close,
}

/// The activity of one connection.
#[derive(Debug, Default)]
pub struct Activity {
    requests: AtomicU64,
    in_flight: AtomicU32,
    is_http2: AtomicBool,
    told: AtomicU8,
    waker: AtomicWaker,
}

/// A request that is not answered yet, or an answer without end: the connection is not idle while it lives.
#[derive(Debug)]
pub struct InFlight(Arc<Activity>);

impl Activity {
    /// Notes that a request has arrived.
    pub fn began(&self, version: Version) {
        // One connection's requests arrive one after the other, so nothing is lost between load and store.
        self.requests.store(self.requests.load(Relaxed) + 1, Relaxed);
        if version == Version::HTTP_2 {
            self.is_http2.store(true, Relaxed);
        }
    }

    /// Keeps the connection from being idle for as long as the result lives.
    pub fn in_flight(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }

    /// Tells the connection to end; what was told before is not taken back.
    pub(super) fn tell(&self, told: Told) {
        if self.told.fetch_max(told as u8, Relaxed) < told as u8 {
            self.waker.wake();
        }
    }

    /// Gives what the connection has been told, and registers to be woken when that changes.
    pub(super) fn told(&self, waker: &Waker) -> Told {
        self.waker.register(waker);
        match self.told.load(Relaxed) {
            0 => Told::Nothing,
            1 => Told::Drain,
            _ => Told::Close,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
