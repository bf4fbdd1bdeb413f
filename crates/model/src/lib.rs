//! Explores the protocol exhaustively through the functions that production calls, whole and with each safeguard taken away.
//!
//! The model plays what `coherence` leaves to others: writers at their steps, a server with its log and sequences, messages
//! and values in Redis, clocks, faults. What it plays it plays more freely than they behave; whatever decides, decides as in
//! production. Several scenarios look at one part each, since one that had everything could not be explored to its end.
//! It knows nothing of SQL, HTTP or tasks; histories on real servers do (docs/PROTOCOL.md §11).

mod clock;
mod primary;

mod entry;
mod reader;

mod batch;
mod lookup;

mod fence;
mod sidecar;

mod judge;
mod steps;
mod system;

mod reach;
mod scenario;
mod scenarios;

mod explore;
mod tell;

mod catalogue;
mod race;

pub use catalogue::{Proof, proof};
pub use explore::{Counterexample, Explored, explore};
pub use race::{Race, race};
pub use scenario::{Fault, Level, Scenario};
pub use scenarios::{DEEP_SCENARIOS, SCENARIOS};
pub use system::{Action, State, System, Violation};
