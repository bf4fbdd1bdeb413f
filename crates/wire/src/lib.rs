//! Holds every shape that crosses a process boundary, each with a version.
//!
//! Towards callers: [`token`], [`problem`], [`events`], [`status`]. Between sidecars, through Redis: [`l2`] and [`broadcast`], both
//! behind [`seal`]. During a rollout old and new sidecars share one Redis and one caller: fields are only added, and what a sidecar
//! does not understand is a miss or a bell, never an error. Decides nothing: whether an entry is valid is `coherence`'s to say.

pub mod broadcast;
pub mod events;
pub mod l2;
pub mod problem;
pub mod seal;
pub mod status;
pub mod token;

pub use broadcast::{BellReason, BroadcastCodec, Heard, Invalidation, InvalidationRow};
pub use events::Event;
pub use l2::{Confidentiality, L2Codec, L2Entry, L2Unreadable, L2Unwritten};
pub use problem::{Problem, ProblemKind};
pub use seal::{KeyRing, KeyRingError};
pub use status::Status;
pub use token::{Token, TokenError};
