//! The auditor: compares what was served from cache with what Postgres says at the same position (PROTOCOL §11).
//!
//! Now and then it takes an entry that a read was just given, fills it anew, and waits until the log has been applied up to the
//! new state. If nothing in between invalidated the served entry, both must be the same bytes. Its one acceptable count of
//! mismatches is zero; when it finds one, it says so loudly and forgets everything that it can't explain.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use neverstale_changefeed::Standing;
use neverstale_coherence::{Entitlement, Validity};
use neverstale_flavour::Read;
use neverstale_telemetry::AuditOutcome;
use tokio::time::{sleep, timeout};

use crate::{Cache, Entry, Source};

neverstale_settings::section! {
    /// Comparing what is served with the database, all the time.
    pub struct AuditSettings = "audit";
    /// Sets how often a served answer is compared with Postgres; 0 switches the auditor off.
    interval_ms: u64 = 1_000, unit "milliseconds", range 0..=86_400_000, when "more certainty is wanted, or fewer queries";
}

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
    pub async fn run(self: Arc<Self>, cache: Arc<Cache>, settings: AuditSettings) {
        if settings.interval_ms == 0 {
            return std::future::pending().await;
        }
        loop {
            sleep(Duration::from_millis(settings.interval_ms)).await;
            let sample = self.sample.lock().expect("nobody panics while sampling").take();
            if let Some((read, served)) = sample {
                cache.audit(&read, &served).await;
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
        if outcome == Audit::Mismatch {
            let view = &self.flavour.view(read.view).name;
            tracing::error!(
                view,
                as_of = served.stamp.as_of.0,
                "the auditor found a stale answer: please report this"
            );
            self.l1.forget_all();
        }
        outcome
    }

    async fn compare(&self, read: &Read, served: &Entry) -> Option<Audit> {
        let serving = match &**self.feed.standing() {
            Standing::Serving(serving) => Arc::clone(serving),
            _ => return None,
        };
        let fresh = self.ask(&serving.statements, read).await.ok()?;
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
        Some(if verdict == Validity::Valid {
            Audit::Mismatch
        } else {
            Audit::Inconclusive
        })
    }
}
