//! Installs, verifies, suspends and removes what Neverstale keeps in the application's database.
//!
//! Everything of PROTOCOL §2 is made here, from a flavour: what should be there is a `Blueprint`, what is there
//! a `State` read by one statement, and two pure functions compare them: one into a [`Plan`] (`plan.rs`), one into a
//! [`Verdict`] (`verdict.rs`). Thin shells perform plans (`install.rs`, `uninstall.rs`, `suspend.rs`, `lease.rs`).
//!
//! Needs the rights of the tables' owner, never a superuser. Reads nothing of the application's rows, and knows of views
//! only which columns a role must be granted that reads them.

mod blueprint;
mod collect;
mod compare;
mod error;
mod grants;
mod inspect;
mod install;
mod lease;
mod names;
mod plan;
mod probe;
mod publish;
mod relations;
mod run;
#[cfg(feature = "simulation")]
pub mod simulated;
mod suspend;
mod triggers;
mod uninstall;
mod verdict;

pub use error::InstallationError;
pub use grants::unreadable;
pub use install::{InstallOptions, install, plan};
pub use lease::set_lease;
pub use plan::{Plan, Step};
pub use probe::{Probe, TableProbe, probe};
pub use run::prune;
pub use suspend::{resume, suspend};
pub use uninstall::uninstall;
pub use verdict::{Finding, Problem, Verdict, judge, verification_sql, verify};

/// Version of the objects and of the rules that this build installs and understands (PROTOCOL §2).
pub const PROTOCOL: i32 = 1;

/// Schema that holds every object of ours.
pub const SCHEMA: &str = "neverstale";

/// Tags that one transaction may write before it publishes whole tables instead; checked at about every eighth tag.
pub const TAGS_PER_TRANSACTION_MAX: u32 = 1_000;

/// Commit wait and lease of a first installation, in milliseconds.
pub const LEASE_MS_DEFAULT: u32 = 50;

/// Longest lease that may be set, in milliseconds: a writer of a watched row waits that long at each commit.
pub const LEASE_MS_MAX: u32 = 10_000;
