//! The table of all metrics.
//!
//! A counter's `inc()` is one relaxed atomic addition. For every line of PROTOCOL §8 there is a number here.

use std::fmt::Write;

use neverstale_wire::ProblemKind;
use prometheus::{Gauge, Histogram, IntCounter, IntGauge, Opts, Registry, TextEncoder};

use crate::{
    declare::{Declaration, Metric, PREFIX, Stability},
    family::Family,
    labels::{
        AuditOutcome, BatchRounds, BroadcastDirection, BroadcastOutcome, CallerKind, CheckOutcome, DoorOutcome,
        DoorRefusal, FenceOutcome, FillOutcome, IncarnationReason, JoinOutcome, L2Operation, L2Outcome, LeaseKind,
        Level, Listener, PassOutcome, PostgresRole, ReadOutcome, SpanOutcome, StatusClass, WriteOutcome,
    },
};

/// From a round trip over loopback to the longest deadline, in seconds.
const SECONDS: &[f64] = &[
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0,
];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident : $type:ty = $name:literal, $unit:literal, $stability:ident;)+) => {
        /// All metrics of the process, made at once.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ pub $field: $type,)+
        }

        impl Metrics {
            /// Makes all metrics, at zero, in a registry of their own.
            pub fn new(version: &str) -> Self {
                let registry = Registry::new();
                build_info(version, &registry);
                let mut declarations = Self::declarations().into_iter();
                $(let $field = <$type>::create(&declarations.next().expect("one per field").0, &[], &registry);)+
                Self { registry, $($field,)+ }
            }

            fn declarations() -> Vec<(Declaration, &'static str, Labels)> {
                vec![$((
                    Declaration {
                        name: $name,
                        help: &[$($help),+],
                        unit: $unit,
                        stability: Stability::$stability,
                        buckets: SECONDS,
                    },
                    <$type>::TYPE,
                    <$type>::labels(),
                ),)+]
            }
        }
    };
}

type Labels = Vec<(&'static str, Vec<&'static str>)>;

metrics! {
    /// Counts reads by the level asked for and by where the answer came from.
    reads: Family<Level, Family<ReadOutcome, IntCounter>> = "reads_total", "reads", Stable;
    /// Measures reads from arrival to answer; hits in L1 that needed no fence are not measured, because measuring would cost more than they do.
    read_seconds: Family<ReadOutcome, Histogram> = "read_seconds", "seconds", Stable;

    /// Counts fences by how they ended.
    fences_total: Family<FenceOutcome, IntCounter> = "fences_total", "fences", Stable;
    /// Measures fences from being queued to being answered.
    fence_seconds: Histogram = "fence_seconds", "seconds", Stable;
    /// Shows how many reads wait for a fence now.
    fence_waiters: IntGauge = "fence_waiters", "reads", Stable;
    /// Counts what fences granted.
    leases_total: Family<LeaseKind, IntCounter> = "leases_total", "leases", Stable;
    /// Shows how long the lease lasts; 0 without one.
    lease_remaining_seconds: Gauge = "lease_remaining_seconds", "seconds", Stable;
    /// Shows the position up to which the log is applied.
    position_applied: IntGauge = "position_applied", "position", Stable;
    /// Shows the intent up to which all are finished.
    position_settled: IntGauge = "position_settled", "intent", Experimental;
    /// Shows how long ago the last fence was sent whose position is applied: no answer of `minimize-latency` is older.
    lag_seconds: Gauge = "lag_seconds", "seconds", Stable;
    /// Counts how often everything was forgotten, by the reason.
    incarnation_changes_total: Family<IncarnationReason, IntCounter> = "incarnation_changes_total", "changes", Stable;
    /// Shows 1 while reads pass by the cache because the installation is not sound.
    bypass: IntGauge = "bypass", "0 or 1", Stable;

    /// Counts fills by how they ended.
    fills_total: Family<FillOutcome, IntCounter> = "fills_total", "fills", Stable;
    /// Measures fills, waiting for a connection included.
    fill_seconds: Histogram = "fill_seconds", "seconds", Stable;
    /// Counts writes by what became of them.
    writes_total: Family<WriteOutcome, IntCounter> = "writes_total", "writes", Stable;
    /// Counts reads that joined another's fill, by how they judged it.
    joins_total: Family<JoinOutcome, IntCounter> = "joins_total", "reads", Stable;

    /// Shows how many entries are in L1.
    l1_entries: IntGauge = "l1_entries", "entries", Stable;
    /// Shows how much memory the entries of L1 take, as its limit counts it.
    l1_bytes: IntGauge = "l1_bytes", "bytes", Stable;
    /// Counts entries that left L1 for space.
    l1_evictions_total: IntCounter = "l1_evictions_total", "entries", Stable;
    /// Counts requests to L2 by how they were answered.
    l2_requests_total: Family<L2Operation, Family<L2Outcome, IntCounter>> = "l2_requests_total", "requests", Stable;
    /// Shows 1 while L2 is not asked, because no connection to Redis stands or it failed too often.
    l2_breaker_open: IntGauge = "l2_breaker_open", "0 or 1", Stable;

    /// Counts broadcasts by direction and by what became of them.
    broadcasts_total: Family<BroadcastDirection, Family<BroadcastOutcome, IntCounter>> = "broadcasts_total", "messages", Stable;
    /// Counts notifications of Postgres.
    bells_total: IntCounter = "bells_total", "notifications", Stable;
    /// Counts looks at the log that no bell asked for.
    polls_total: IntCounter = "polls_total", "looks", Stable;
    /// Shows 1 while this sidecar is the relay.
    relay: IntGauge = "relay", "0 or 1", Stable;
    /// Counts how often the log no longer reached back to where we were, so that everything was forgotten.
    log_pruned_past_total: IntCounter = "log_pruned_past_total", "times", Stable;

    /// Counts answers that the auditor compared with Postgres at the same position; a `mismatch` is a broken promise.
    audits_total: Family<AuditOutcome, IntCounter> = "audits_total", "answers", Stable;
    /// Counts batches by how they came to one state.
    batch_rounds_total: Family<BatchRounds, IntCounter> = "batch_rounds_total", "batches", Stable;

    /// Counts HTTP requests by listener and class of status.
    http_requests_total: Family<Listener, Family<StatusClass, IntCounter>> = "http_requests_total", "requests", Stable;
    /// Shows how many HTTP connections are open.
    http_connections: Family<Listener, IntGauge> = "http_connections", "connections", Stable;
    /// Counts connections that ended because what came was no HTTP, or HTTP that is refused before it is understood.
    http_unreadable_total: IntCounter = "http_unreadable_total", "connections", Stable;
    /// Counts problems that were answered, by type.
    problems_total: Family<ProblemKind, IntCounter> = "problems_total", "answers", Stable;
    /// Shows how many callers follow the events.
    event_subscribers: IntGauge = "event_subscribers", "callers", Stable;

    /// Counts requests that needed a decision at the door by what became of them.
    ingress_decisions_total: Family<DoorOutcome, IntCounter> = "ingress_decisions_total", "requests", Experimental;
    /// Counts requests that the door passed on, by what became of them; one whose answer breaks off is counted under both.
    ingress_passes_total: Family<PassOutcome, IntCounter> = "ingress_passes_total", "requests", Experimental;
    /// Counts requests that the door refused, by the reason.
    ingress_refusals_total: Family<DoorRefusal, IntCounter> = "ingress_refusals_total", "requests", Experimental;
    /// Counts who came to the door, where a decision asked for it.
    ingress_callers_total: Family<CallerKind, IntCounter> = "ingress_callers_total", "requests", Experimental;
    /// Counts identity headers that were taken away because a stranger brought them.
    ingress_identity_headers_dropped_total: IntCounter = "ingress_identity_headers_dropped_total", "headers", Experimental;
    /// Shows how many WebSockets are open through the door.
    ingress_tunnels: IntGauge = "ingress_tunnels", "tunnels", Experimental;
    /// Measures what the door takes for itself: from a request's head to its being passed on.
    ingress_own_seconds: Histogram = "ingress_own_seconds", "seconds", Experimental;
    /// Measures the application: from being passed a request to the head of its answer.
    ingress_first_byte_seconds: Histogram = "ingress_first_byte_seconds", "seconds", Experimental;

    /// Counts what Envoy asked, by what it was answered; decisions, refusals and callers are counted as the door's as well.
    ext_authz_checks_total: Family<CheckOutcome, IntCounter> = "ext_authz_checks_total", "requests", Experimental;
    /// Measures what Envoy waits for: from its question to the answer.
    ext_authz_check_seconds: Histogram = "ext_authz_check_seconds", "seconds", Experimental;

    /// Counts connections to Postgres that were opened again.
    postgres_reconnects_total: Family<PostgresRole, IntCounter> = "postgres_reconnects_total", "connections", Stable;
    /// Counts spans of traced requests by what became of them on their way to the collector.
    otlp_spans_total: Family<SpanOutcome, IntCounter> = "otlp_spans_total", "spans", Stable;
    /// Counts tasks that panicked or ended early.
    task_failures_total: IntCounter = "task_failures_total", "tasks", Stable;
}

/// Says which build this is; its value is always 1.
fn build_info(version: &str, registry: &Registry) {
    let opts = Opts::new(format!("{PREFIX}build_info"), BUILD_INFO).const_label("version", version);
    let info = IntGauge::with_opts(opts).expect("the name is valid");
    info.set(1);
    registry.register(Box::new(info)).expect("the registry is new");
}

const BUILD_INFO: &str = "Says which build this is, by the label version; its value is always 1.";

impl Metrics {
    /// Writes all metrics in Prometheus' text format.
    pub fn encode(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("writing to memory does not fail")
    }

    /// Gives all metrics as they are now, for another encoding.
    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    /// Writes docs/METRICS.md.
    pub fn markdown() -> String {
        let mut page = String::from(
            "# Metrics\n\nGenerated by `neverstale metrics --markdown` from the table in `crates/telemetry`. The admin listener \
             serves them at\n`/metrics`. Labels have closed sets of values, and every combination is there from the start. *Stable* \
             names, units and labels\nstay within a major version.\n\n| metric | type | labels | unit | stability | what it says |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        for (declaration, kind, labels) in Self::declarations() {
            let label = |(name, values): (&str, Vec<&str>)| format!("`{name}`: {}", values.join(", "));
            let labels: Vec<_> = labels.into_iter().map(label).collect();
            let (name, unit, help) = (declaration.name, declaration.unit, declaration.help_text());
            let stability = format!("{:?}", declaration.stability).to_lowercase();
            let _ = writeln!(
                page,
                "| `{PREFIX}{name}` | {kind} | {} | {unit} | {stability} | {help} |",
                labels.join("; ")
            );
        }
        let _ = writeln!(
            page,
            "| `{PREFIX}build_info` | gauge | `version` | 1 | stable | {BUILD_INFO} |"
        );
        let buckets: Vec<String> = SECONDS.iter().map(f64::to_string).collect();
        let _ = writeln!(
            page,
            "\nBuckets of every histogram, in seconds: {}.",
            buckets.join(", ")
        );
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_there_from_the_start_and_counts() {
        let metrics = Metrics::new("0.1.0");
        metrics.reads[Level::FullyConsistent][ReadOutcome::L1].inc();
        metrics.problems_total[ProblemKind::Unavailable].inc();
        metrics.fence_seconds.observe(0.000_02);
        metrics.lag_seconds.set(0.5);
        insta::assert_snapshot!(metrics.encode());
    }

    #[test]
    fn the_document_names_every_metric_once() {
        let page = Metrics::markdown();
        for (declaration, ..) in Metrics::declarations() {
            assert_eq!(page.matches(&format!("| `{PREFIX}{}` |", declaration.name)).count(), 1);
        }
        insta::assert_snapshot!(page);
    }
}
