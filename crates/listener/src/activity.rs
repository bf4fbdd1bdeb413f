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

use crate::Trick;

/// What a connection is told by the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
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
    /// Answers whose next piece was given out and not asked for again: the caller does not read, or is slow.
    owed: AtomicU32,
    /// Grows with every piece that is asked for.
    pieces: AtomicU64,
    is_http2: AtomicBool,
    told: AtomicU8,
    /// The first trick, by its place among all plus one.
    trick: AtomicU8,
    waker: AtomicWaker,
}

/// A request that is not answered yet, or an answer without end: the connection is not idle while it lives.
#[derive(Debug)]
pub struct InFlight {
    activity: Arc<Activity>,
    is_owed: bool,
}

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
        InFlight {
            activity: Arc::clone(self),
            is_owed: false,
        }
    }

    /// Gives what the connection tried, if it tried anything.
    pub fn trick(&self) -> Option<Trick> {
        let place = self.trick.load(Relaxed).checked_sub(1)?;
        Trick::ALL.get(usize::from(place)).copied()
    }

    pub(crate) fn note(&self, trick: Trick) {
        let place = Trick::ALL.iter().position(|other| *other == trick);
        self.trick.store(place.map_or(0, |place| place as u8 + 1), Relaxed);
    }

    /// Ends the connection after what is being answered; nobody waits for what else it would send.
    pub fn end(&self) {
        self.tell(Told::Drain);
    }

    /// Says whether the connection has been told to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.told.load(Relaxed) > 0
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    /// How far the answers have come; none while somebody else than the caller is what they wait for.
    pub(crate) fn owed_since(&self) -> Option<u64> {
        let (owed, in_flight) = (self.owed.load(Relaxed), self.in_flight.load(Relaxed));
        (owed > 0 && owed >= in_flight).then(|| self.pieces.load(Relaxed))
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }

    /// Tells the connection to end; what was told before is not taken back.
    pub(crate) fn tell(&self, told: Told) {
        if self.told.fetch_max(told as u8, Relaxed) < told as u8 {
            self.waker.wake();
        }
    }

    /// Gives what the connection has been told, and registers to be woken when that changes.
    pub(crate) fn told(&self, waker: &Waker) -> Told {
        self.waker.register(waker);
        match self.told.load(Relaxed) {
            0 => Told::Nothing,
            1 => Told::Drain,
            _ => Told::Close,
        }
    }
}

impl InFlight {
    /// Notes that the connection asks for the next piece of the answer: what it was given before, it has sent.
    pub fn asked(&mut self) {
        self.activity.pieces.fetch_add(1, Relaxed);
        if self.is_owed {
            self.is_owed = false;
            self.activity.owed.fetch_sub(1, Relaxed);
        }
    }

    /// Notes that the connection was given a piece. Until it asks for the next one, it waits for nobody but the caller.
    pub fn gave(&mut self) {
        if !self.is_owed {
            self.is_owed = true;
            self.activity.owed.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.asked();
        self.activity.in_flight.fetch_sub(1, Relaxed);
    }
}
