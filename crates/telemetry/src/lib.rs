//! Declares every metric once and sets up logs.
//!
//! Other crates hold a [`Metrics`] and add to its fields; nothing but this crate knows names, help texts or encodings.

mod declare;
mod family;
mod labels;
mod logs;
mod metrics;
mod settings;
mod trace;

pub use self::declare::{Declaration, Metric, Stability};
pub use self::family::Family;
pub use self::labels::{
    AuditOutcome, BatchRounds, BroadcastDirection, BroadcastOutcome, CallerKind, CheckOutcome, DoorOutcome,
    DoorRefusal, FenceOutcome, FillOutcome, IncarnationReason, JoinOutcome, L2Operation, L2Outcome, Label, LeaseKind,
    Level, Listener, PassOutcome, PostgresRole, ReadOutcome, SpanOutcome, StatusClass, WriteOutcome,
};
pub use self::logs::{LogsError, SpanLayer, init_logs, init_logs_and_traces};
pub use self::metrics::Metrics;
pub use self::settings::TelemetrySettings;
pub use self::trace::{TRACE, TraceParent, within};
