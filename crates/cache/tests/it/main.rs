//! The cache and everything below it, in process, over real Postgres and Redis, with real faults.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test reads clocks, starts writers and prints what it saw"
)]

mod pods;

mod audits;
mod faults;
mod histories;
mod mended;
mod reads;
mod tiers;
mod tokens;
