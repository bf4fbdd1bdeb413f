//! Gives a process its clocks, its named tasks, its readiness and its drain.
//!
//! The seams through which everything else sees time, randomness, spawning, signals and files that change. Knows nothing of what the
//! tasks do or what the reasons mean.

mod backoff;
mod clock;
mod readiness;
mod settings;
mod shutdown;
#[cfg(feature = "simulation")]
pub mod simulated;
mod tasks;
mod watched;

pub use backoff::{Backoff, random_u64};
pub use clock::Clock;
pub use readiness::Readiness;
pub use settings::LifecycleSettings;
pub use shutdown::{StopCause, wait_for_stop};
pub use tasks::{Joined, Tasks};
pub use tokio_util::sync::CancellationToken;
pub use watched::{FileError, Watched};
