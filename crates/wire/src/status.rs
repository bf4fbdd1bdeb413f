//! What `/status` of the admin listener tells: the state of one sidecar, for programs and for the page.
//!
//! Members are only added. A reader of another version takes the default for what is missing and ignores what it does not know.
//! Holds no secret, no address with a password and no personal data. How the numbers come about is not its business.

use serde::{Deserialize, Serialize};

use crate::token::Token;

/// The state of one sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// Time since the process began.
    pub uptime_seconds: u64,
    /// Whether `/readyz` says 200.
    pub ready: bool,
    /// Why not, if not.
    pub reasons: Vec<StatusReason>,
    /// What is installed in the application's database.
    pub installation: InstallationStatus,
    /// How far this sidecar knows the order of commits.
    pub feed: FeedStatus,
    /// Memory of this process.
    pub l1: L1Status,
    /// Redis; none when no URL is set.
    pub l2: Option<L2Status>,
    /// Reads since the process began.
    pub reads: ReadsStatus,
    /// What the auditor found.
    pub audit: AuditStatus,
}

/// One reason not to be ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusReason {
    /// A stable word: `installation`, `fence`, …
    pub key: String,
    /// What is wrong and what to do about it, for a person.
    pub text: String,
}

/// What is installed in the application's database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstallationStatus {
    /// The schema flavour in use.
    pub flavour: String,
    /// The application's schema.
    pub app_schema: String,
    /// The version of the installed protocol.
    pub protocol: u32,
    /// The hash of the watch specification.
    pub specification: String,
    /// The longest lease that a fence may grant.
    pub lease_ms: u64,
    /// Whether all triggers are in place; if not, reads pass through uncached.
    pub intact: bool,
    /// Whether an operator has suspended it for a migration.
    pub suspended: bool,
}

/// How far this sidecar knows the order of commits (PROTOCOL §3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeedStatus {
    /// Incarnation and `applied` as a token; none before the first fence.
    pub position: Option<Token>,
    /// The newest position applied.
    pub applied: u64,
    /// Entries from before this position are not valid.
    pub floor: u64,
    /// All intents up to this one are finished.
    pub settled: u64,
    /// Tags with a known last invalidation; two that share a slot count as one.
    pub tags: u64,
    /// How long the newest row had been visible when it was applied.
    pub lag_ms: u64,
    /// How much of the lease is left; zero when reads need a fence.
    pub lease_remaining_ms: u64,
    /// The last fence's round trip.
    pub fence_round_trip_us: u64,
    /// Whether this sidecar is its cluster's relay.
    pub relay: bool,
}

/// Memory of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct L1Status {
    /// Entries held.
    pub entries: u64,
    /// What they take together.
    pub bytes: u64,
    /// What they may take.
    pub bytes_max: u64,
}

/// Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct L2Status {
    /// `one host`, `sentinel`, `cluster` or `unix socket`.
    pub target: String,
    /// Whether a connection stands.
    pub connected: bool,
    /// `closed`, `open` or `half-open`.
    pub breaker: String,
    /// Whether values are sealed.
    pub sealed: bool,
}

/// Reads since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadsStatus {
    /// All reads.
    pub total: u64,
    /// Answered from memory.
    pub l1_hits: u64,
    /// Answered from Redis.
    pub l2_hits: u64,
    /// Asked of Postgres.
    pub fills: u64,
    /// Refused because the level could not be kept.
    pub unavailable: u64,
}

/// What the auditor found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditStatus {
    /// Answers compared with Postgres at the same position.
    pub compared: u64,
    /// Answers that differed: the only acceptable value is 0.
    pub stale: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_understand_each_other() {
        let newer = r#"{"version":"9.0.0","ready":true,"feed":{"applied":7,"weather":"fine"},"moons":2}"#;
        let status: Status = serde_json::from_str(newer).unwrap();
        assert!(status.ready);
        assert_eq!((status.feed.applied, status.l2), (7, None));
        let older: Status = serde_json::from_str("{}").unwrap();
        assert_eq!(older, Status::default());
    }
}
