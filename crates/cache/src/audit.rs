//! The auditor: compares what was served from cache with what Postgres says at the same position (PROTOCOL §11).
//!
//! Now and then it takes an entry that a read was just given, fills it anew, and waits until the log has been applied up to the
//! new state. If nothing in between invalidated the served entry, both must be the same bytes. Its one acceptable count of
//! mismatches is zero; when it finds one, it says so loudly, forgets all that L1 holds, and ends this sidecar's readiness if it is set to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use neverstale_changefeed::Standing;
use neverstale_coherence::{Entitlement, Tag, Validity};
use neverstale_flavour::Read;
use neverstale_lifecycle::Readiness;
use neverstale_telemetry::AuditOutcome;
use tokio::time::{sleep, timeout};

use crate::{Cache, Entry, Source};

neverstale_settings::section! {
    /// Comparing what is served with the database, all the time.
    pub struct AuditSettings = "audit";
    /// Sets how often a served answer is compared with Postgres; 0 switches the auditor off.
    interval_ms: u64 = 1_000, unit "milliseconds", range 0..=86_400_000, when "more certainty is wanted, or fewer queries";
    /// Takes a sidecar that has found a stale answer out of service until it is restarted; otherwise it goes on, with an empty cache.
    unready_on_mismatch: bool = false, when "no answer at all is better than one that might be old";
}

/// The reason of readiness that the auditor sets.
const REASON: &str = "audit";

/// Waiting for the log to catch up with a fill that the auditor made.
const CATCH_UP: Duration = Duration::from_secs(2);

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// The same bytes.
    Match,
    /// Other bytes, with nothing written in between.
    Mismatch,
    /// Something was written in between, or Postgres did not answer.
    Inconclusive,
}

/// Holds the read that is to be audited next.
#[derive(Default)]
pub struct Auditor {
    sample: Mutex<Option<(Read, Arc<Entry>)>>,
}

impl Auditor {
    /// Remembers an answer from cache, if the place is free and nobody else is at it.
    pub fn offer(&self, read: &Read, entry: &Arc<Entry>, source: Source) {
        if !matches!(source, Source::L1 | Source::L2) {
            return;
        }
        if let Ok(mut sample) = self.sample.try_lock()
            && sample.is_none()
        {
            *sample = Some((read.clone(), Arc::clone(entry)));
        }
    }

    /// Says whether an answer is wanted, so that nobody prepares one in vain.
    pub fn wants(&self) -> bool {
        self.sample.try_lock().is_ok_and(|sample| sample.is_none())
    }

    /// Audits until the process ends.
    pub async fn run(self: Arc<Self>, cache: Arc<Cache>, settings: AuditSettings, readiness: Readiness) {
        if settings.interval_ms == 0 {
            return std::future::pending().await;
        }
        loop {
            sleep(Duration::from_millis(settings.interval_ms)).await;
            let sample = self.sample.lock().expect("nobody panics while sampling").take();
            let Some((read, served)) = sample else { continue };
            let outcome = cache.audit(&read, &served).await;
            if outcome == Audit::Mismatch && settings.unready_on_mismatch {
                let reason = "the auditor found a stale answer, and audit.unready_on_mismatch is set: \
                    keep the log, report it, and restart this sidecar";
                readiness.set(REASON, Some(reason.to_owned()));
            }
        }
    }
}

impl Cache {
    /// Compares one served entry with what Postgres says now.
    pub async fn audit(&self, read: &Read, served: &Entry) -> Audit {
        let outcome = self.compare(read, served).await.unwrap_or(Audit::Inconclusive);
        let label = match outcome {
            Audit::Match => AuditOutcome::Match,
            Audit::Mismatch => AuditOutcome::Mismatch,
            Audit::Inconclusive => AuditOutcome::Inconclusive,
        };
        self.metrics.audits_total[label].inc();
        outcome
    }

    async fn compare(&self, read: &Read, served: &Entry) -> Option<Audit> {
        let serving = match &**self.feed.standing() {
            Standing::Serving(serving) => Arc::clone(serving),
            _ => return None,
        };
        let fresh = Arc::new(self.ask(&serving.statements, read).await.ok()?);
        if fresh.stamp.incarnation != served.stamp.incarnation || fresh.stamp.incarnation != serving.world.incarnation()
        {
            return None;
        }
        self.feed.look();
        timeout(CATCH_UP, serving.reached(fresh.stamp.as_of)).await.ok()?;
        if fresh.body == served.body && fresh.is_found == served.is_found {
            return Some(Audit::Match);
        }
        // Other bytes are right if the served entry is not valid any more at the fresh one's state.
        let entitlement = Entitlement::applied(&serving.world);
        let verdict = self.judge(&serving, &entitlement, &served.stamp);
        if verdict != Validity::Valid {
            return Some(Audit::Inconclusive);
        }
        tracing::error!(
            view = self.flavour.view(read.view).name,
            incarnation = %served.stamp.incarnation,
            served_as_of = served.stamp.as_of.0,
            served_tags = hashes(&served.stamp.tags),
            fresh_as_of = fresh.stamp.as_of.0,
            fresh_tags = hashes(&fresh.stamp.tags),
            applied = serving.world.applied().0,
            "the auditor found a stale answer: please report this"
        );
        // Whatever let it happen may have happened to others; what Redis has of this one is replaced.
        self.l1.forget_all();
        self.keep(read, &fresh);
        Some(Audit::Mismatch)
    }
}

/// Tags by their hashes: their texts may name people.
fn hashes(tags: &[Tag]) -> String {
    let hashes: Vec<String> = tags.iter().map(|tag| format!("{:016x}", tag.0)).collect();
    hashes.join(" ")
}
