//! Follows the log of commits: fences, leases, the relay and the broadcast, folded into one world that readers judge by.
//!
//! One task asks Postgres and changes the world; readers load it without a lock, ask for a fence when they need one, and
//! wait for states, never for messages. What an answer means is decided in `coherence`; this crate asks, waits and tells.

mod error;
mod settings;

mod standing;

mod feed;
mod shared;

mod session;

mod begin;
mod bells;
mod follow;
mod history;
mod relay;
mod vigil;

pub use error::FeedError;
pub use feed::{Broadcast, Feed, FeedParts};
pub use history::{Change, History, Replay};
pub use settings::FeedSettings;
pub use standing::{Serving, Standing};
