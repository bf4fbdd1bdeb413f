//! Talks to Redis: L2 values and broadcast invalidations, within a few milliseconds or not at all.
//!
//! Stands beneath `changefeed` (broadcasts), `cache` (L2) and `proxy` (the application's revocation keys). Nothing that Redis does or
//! fails to do makes an answer wrong: values are judged by `coherence`, messages by `wire`, and what does not come in time is a
//! miss (PROTOCOL §7, §8). Knows nothing of entries, tags or views, and never waits for Redis to start.

mod address;
mod breaker;
mod broadcast;
mod client;
mod error;
mod keys;
mod probe;
mod settings;
#[cfg(feature = "simulation")]
pub mod simulated;
mod values;

pub use address::{Address, Host, Target};
pub use breaker::Phase;
pub use broadcast::{Received, Subscription};
pub use client::{Availability, Redis};
pub use error::RedisError;
pub use keys::KeyAnswer;
pub use probe::{ProbeReport, probe};
pub use settings::RedisSettings;
pub use values::{L2Miss, PutOutcome};
