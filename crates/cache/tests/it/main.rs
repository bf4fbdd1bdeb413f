//! The cache and everything below it, in process, over real Postgres and Redis, with real faults.

mod pods;

mod faults;
mod histories;
mod mended;
mod reads;
mod tiers;
