//! Runs the real feed, cache and relay on simulated time, network, Postgres and Redis, by a seed that replays.
//!
//! Everything above the streams is the product's own code: the driver of Postgres, the feed, the cache, the tasks. Beneath stand
//! a network that is late or gone, and models of the two stores. One thread, one runtime whose time goes on when everybody
//! waits, and one source of chance: a seed tells the same story each time. docs/design/0007-simulation.md has the choices.

#![expect(
    clippy::disallowed_methods,
    reason = "the simulation is the world in which tasks run and time goes by"
)]

mod chance;
mod network;
mod story;

mod postgres;
mod redis;

mod plan;
mod pod;

mod faults;
mod judge;
mod workload;

mod many;
mod run;

pub use many::{Summary, flavour, run_many};
pub use run::{Outcome, run};
