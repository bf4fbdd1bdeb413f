//! What `/status` tells: the shape of `wire`, and beside it what only the page needs.

use std::sync::{Arc, atomic::Ordering};

use neverstale_cache::L1;
use neverstale_changefeed::{Feed, Standing};
use neverstale_redis::{Phase, Redis};
use neverstale_telemetry::{AuditOutcome, Level, Metrics, ReadOutcome};
use neverstale_wire::{
    Status,
    status::{AuditStatus, FeedStatus, L1Status, L2Status, ReadsStatus, StatusReason},
};
use serde::Serialize;

use crate::{
    admin::Shared,
    faults::{self, Fault},
    gauges, tags,
};

/// Commits shown.
const CHANGES_MAX: usize = 12;
/// Tags shown of each.
const TAGS_MAX: usize = 8;

/// The status with what is shown beside it. Members are only added.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    status: Status,
    /// Whether `/startupz` says 200.
    started: bool,
    /// `serving`, `bypass` or `down`.
    standing: &'static str,
    /// Why reads are not served from cache, if they are not.
    standing_reason: Option<String>,
    /// Whether the lease leaves out tags that a writer holds.
    lease_has_exceptions: bool,
    /// The incarnation in hex.
    incarnation: Option<String>,
    /// Reads answered from L1 or L2, of all that were answered.
    hit_ratio: f64,
    l1_hit_ratio: f64,
    /// Callers that follow the events.
    event_subscribers: i64,
    /// The views that are served, by name.
    views: Vec<String>,
    /// What is wrong and what to do about it, the worst first.
    faults: Vec<Fault>,
    /// The last commits, the newest first.
    changes: Vec<ChangeReport>,
}

#[derive(Debug, Serialize)]
struct ChangeReport {
    position: u64,
    tags: Vec<String>,
    tags_more: usize,
}

/// Reports the state of this sidecar.
pub(crate) fn report(shared: &Shared) -> Report {
    let parts = &shared.parts;
    gauges::refresh(shared);
    let reads = reads(&parts.metrics);
    let shown = parts.shown.get();
    let stands = shown.map(|shown| Arc::clone(&shown.cache.feed().standing()));
    let (standing, standing_reason, lease_has_exceptions) = match stands.as_deref() {
        Some(Standing::Serving(serving)) => ("serving", None, !serving.lease().except.is_none()),
        Some(Standing::Bypass { reason, .. }) => ("bypass", Some(reason.to_string()), false),
        Some(Standing::Down(error)) => ("down", Some(error.to_string()), false),
        None => (
            "down",
            Some("the application's schema is not known yet".to_owned()),
            false,
        ),
    };
    let feed_status = shown
        .map(|shown| feed_status(shown.cache.feed(), &parts.metrics))
        .unwrap_or_default();
    let answered = reads.total.saturating_sub(reads.unavailable);
    let hits = reads.l1_hits + reads.l2_hits;
    let mut installation = shown.map(|shown| shown.installation.clone()).unwrap_or_default();
    installation.intact = standing == "serving";
    if let Some(shown) = shown {
        installation.lease_ms = shown.cache.feed().lease_max().as_millis() as u64;
        installation.suspended = shown.cache.feed().is_suspended();
    }
    let status = Status {
        version: parts.version.to_owned(),
        uptime_seconds: shared.started_at.elapsed().as_secs(),
        ready: parts.readiness.is_ready(),
        reasons: parts
            .readiness
            .reasons()
            .into_iter()
            .map(|(key, text)| StatusReason {
                key: key.to_owned(),
                text,
            })
            .collect(),
        installation,
        feed: feed_status,
        l1: shown
            .map(|shown| l1_status(shown.cache.l1(), shown.l1_bytes_max))
            .unwrap_or_default(),
        l2: shown.and_then(|shown| shown.redis.as_ref().map(|redis| l2_status(redis, shown.is_l2_sealed))),
        audit: audit(&parts.metrics),
        reads,
    };
    Report {
        started: shared.has_started.load(Ordering::Relaxed),
        standing,
        standing_reason,
        lease_has_exceptions,
        incarnation: status.feed.position.map(|token| token.incarnation.to_string()),
        hit_ratio: ratio(hits, answered),
        l1_hit_ratio: ratio(status.reads.l1_hits, answered),
        event_subscribers: parts.metrics.event_subscribers.get(),
        views: shown.map(|shown| shown.views.clone()).unwrap_or_default(),
        faults: faults::find(&status, stands.as_deref(), &parts.metrics),
        changes: shown.map(|shown| changes(shown.cache.feed())).unwrap_or_default(),
        status,
    }
}

fn feed_status(feed: &Feed, metrics: &Metrics) -> FeedStatus {
    let fences = metrics.fence_seconds.get_sample_count();
    let round_trip_us = if fences == 0 {
        0.0
    } else {
        metrics.fence_seconds.get_sample_sum() / fences as f64 * 1e6
    };
    let mut status = FeedStatus {
        position: feed.token(),
        settled: metrics.position_settled.get() as u64,
        lag_ms: (metrics.lag_seconds.get() * 1e3) as u64,
        fence_round_trip_us: round_trip_us as u64,
        relay: feed.is_relay(),
        ..FeedStatus::default()
    };
    if let Standing::Serving(serving) = &**feed.standing() {
        status.applied = serving.world.applied().0;
        status.floor = serving.world.floor().0;
        status.tags = serving.world.tags_invalidated() as u64;
        status.lease_remaining_ms = gauges::lease_remaining(serving, feed.clock().now()).as_millis() as u64;
    }
    status
}

fn l1_status(l1: &L1, bytes_max: u64) -> L1Status {
    let (entries, bytes) = l1.size();
    L1Status {
        entries,
        bytes,
        bytes_max,
    }
}

fn l2_status(redis: &Redis, sealed: bool) -> L2Status {
    let breaker = match redis.phase() {
        Phase::Closed => "closed",
        Phase::Open => "open",
        Phase::HalfOpen => "half-open",
    };
    L2Status {
        target: redis.target().kind().to_owned(),
        connected: redis.is_connected(),
        breaker: breaker.to_owned(),
        sealed,
    }
}

fn reads(metrics: &Metrics) -> ReadsStatus {
    use ReadOutcome::{Bypass, Error, Fill, Join, L1, L2};
    let sum = |outcomes: &[ReadOutcome]| -> u64 {
        let levels = [Level::FullyConsistent, Level::AtLeastAsFresh, Level::MinimizeLatency];
        levels
            .iter()
            .flat_map(|level| outcomes.iter().map(|outcome| metrics.reads[*level][*outcome].get()))
            .sum()
    };
    ReadsStatus {
        total: sum(&[L1, L2, Fill, Join, Bypass, Error]),
        l1_hits: sum(&[L1]),
        l2_hits: sum(&[L2]),
        fills: sum(&[Fill, Join, Bypass]),
        unavailable: sum(&[Error]),
    }
}

fn audit(metrics: &Metrics) -> AuditStatus {
    let of = |outcome: AuditOutcome| metrics.audits_total[outcome].get();
    AuditStatus {
        compared: of(AuditOutcome::Match) + of(AuditOutcome::Mismatch),
        stale: of(AuditOutcome::Mismatch),
    }
}

fn changes(feed: &Feed) -> Vec<ChangeReport> {
    let rows = feed.history().last(CHANGES_MAX);
    let report = |row: &std::sync::Arc<neverstale_postgres::LogRow>| ChangeReport {
        position: row.position.0,
        tags: row.tags.iter().take(TAGS_MAX).map(|tag| tags::shorten(tag)).collect(),
        tags_more: row.tags.len().saturating_sub(TAGS_MAX),
    };
    rows.iter().map(report).collect()
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
