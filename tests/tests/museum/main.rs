//! The museum: races that caches have shipped, each run twice on the same real servers, step by step in the same order.
//!
//! First with a naive cache ([`naive`]), which shows the anomaly, or the exhibit would prove nothing; then with the product's own
//! feed, cache and tiers in this process ([`pod`]) or its real binary, which does not. No sleeps: an interleaving is made by
//! keeping an answer on the wire ([`neverstale_testkit::Link`]) until the rest has happened. docs/MUSEUM.md is the guide.

#![expect(
    clippy::disallowed_methods,
    reason = "tests read the clock and spawn tasks; the seams of the product are not for them"
)]

mod house;
mod naive;
mod pod;

mod clear;
mod fill_race;
mod resurrection;
mod stale_paths;
mod tracking;
mod write_behind;
