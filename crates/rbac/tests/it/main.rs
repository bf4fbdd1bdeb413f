//! Decisions on real Postgres, for the three flavours: compared with a specification that is slow and obvious, and raced by revocations.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test reads clocks and the environment, and starts writers"
)]

mod house;
mod specification;
mod world;

mod agreement;
mod histories;
mod scale;
mod turns;
