//! What a simulation puts in the place of a Redis, and of the client that talks to it.
//!
//! Compiled for `crates/simulation` only (feature `simulation`). Budgets, breaker and places stay the product's own; fred, whose
//! streams can't be replaced, has no part in it.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{L2Miss, Received};

/// An answer under way.
pub type Asking<T> = Pin<Box<dyn Future<Output = Result<T, L2Miss>> + Send>>;

/// Answers the commands of this crate.
pub trait StandIn: Send + Sync {
    /// Gives the first `limit` bytes of what lies under `key`, as GETRANGE does.
    fn get_range(&self, key: Bytes, limit: usize) -> Asking<Bytes>;

    /// Puts digits and envelope under `key`, unless what is there begins with greater digits; says whether it did.
    fn put_unless_newer(&self, key: Bytes, digits: String, envelope: Bytes) -> Asking<bool>;

    /// Publishes a message; gives how many heard it.
    fn publish(&self, channel: String, message: Bytes) -> Asking<u64>;

    /// Subscribes to a channel, over as many connections as it takes.
    fn subscribe(&self, channel: &str) -> mpsc::Receiver<Received>;
}
