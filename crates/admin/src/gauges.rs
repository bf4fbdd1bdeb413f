//! Gauges that nobody pushes: read off when somebody looks.

use std::time::Duration;

use neverstale_changefeed::Serving;
use neverstale_coherence::Moment;
use neverstale_redis::Availability;

use crate::admin::{Shared, Shown};

/// Sets the gauges of L1, L2 and the lease to what they are now.
pub(crate) fn refresh(shared: &Shared) {
    let Some(Shown { cache, redis, .. }) = shared.parts.shown.get() else {
        return;
    };
    let metrics = &shared.parts.metrics;
    let (entries, bytes) = cache.l1().size();
    metrics.l1_entries.set(entries as i64);
    metrics.l1_bytes.set(bytes as i64);
    cache.feed().note_gauges();
    let is_left_alone = redis
        .as_ref()
        .is_some_and(|redis| redis.availability() != Availability::Available);
    metrics.l2_breaker_open.set(i64::from(is_left_alone));
}

/// How much of the lease is left; zero when reads need a fence.
pub(crate) fn lease_remaining(serving: &Serving, now: Moment) -> Duration {
    let lease = serving.lease();
    if lease.is_valid_at(now) {
        now.until(lease.end)
    } else {
        Duration::ZERO
    }
}
