//! The "what must be seen", by the real binary: three sidecars over HTTP on a real PostgreSQL and Redis, for the three flavours.
//!
//! Nothing here is inside of the product: what a right answer is says the same view, asked straight from Postgres ([`straight`]).
//! What the parts do among themselves, in one process, is tested where they live.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests read the clock and the environment, spawn tasks and tell a person their seed; the seams of the product are not for them"
)]

mod house;
mod question;
mod straight;

mod access;
mod access_page;
mod alerts;
mod coherence;
mod contract;
mod door;
mod door_rules;
mod faults;
mod fuzz;
mod jepsen;
mod otlp;
mod page;
mod process;
mod projections;
mod renewal;
mod rollout;
