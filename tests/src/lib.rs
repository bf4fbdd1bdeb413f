//! Drives the real binary over real PostgreSQL and Redis, with real faults.
//!
//! What drives it for minutes and judges what it saw is here ([`jepsen`]); what drives it step by step is in `tests/it`.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests read the clock and the environment, spawn tasks and tell a person what they saw; the seams of the product are not for them"
)]

pub mod dice;
pub mod jepsen;
