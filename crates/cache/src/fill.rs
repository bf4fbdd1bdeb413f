//! Fills: what a miss does, whom it joins, and what becomes of the answer.

use std::sync::Arc;

use neverstale_changefeed::Serving;
use neverstale_coherence::{Entitlement, Moment, Safeguard, Stamp, Validity, safeguard::stands};
use neverstale_flavour::Read;
use neverstale_postgres::{Filled, PostgresError, Statements};
use neverstale_telemetry::{FillOutcome, JoinOutcome};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::{Cache, Entry, ReadError, Source, flights::Landing, spans};

impl Cache {
    /// Joins the fill that is under way, or starts one. What was joined must pass the rule by this read's own entitlement;
    /// what this read started was asked after it arrived, and is returned as it is.
    pub(crate) async fn fill(
        &self,
        serving: &Arc<Serving>,
        entitlement: &Entitlement,
        read: &Read,
        deadline: Instant,
    ) -> Result<(Arc<Entry>, Source), ReadError> {
        // Twice, because all whom one flight did not serve may share the next, which began after they came.
        for _ in 0..2 {
            let Some(joined) = self.flights.join(&read.key) else {
                break;
            };
            let landing = self.patiently(deadline, joined.landed()).await?;
            let Some(Ok(entry)) = landing else { continue };
            let verdict = self.judge(serving, entitlement, &entry.stamp);
            if verdict == Validity::Valid || !stands(Safeguard::JoinJudged) {
                self.metrics.joins_total[JoinOutcome::Valid].inc();
                return Ok((entry, Source::Join));
            }
            self.metrics.joins_total[JoinOutcome::Refused].inc();
        }
        let (pilot, mine) = self.flights.start(&read.key);
        let cache = self.me.upgrade().expect("whoever reads holds the cache");
        let (serving, read) = (Arc::clone(serving), read.clone());
        // A task of its own: it ends, and its answer is kept, even if this read is given up. It belongs to this read's trace.
        let filling = async move { pilot.land(cache.fill_and_keep(&serving, &read).await) };
        self.tasks.spawn_brief("fill", filling.in_current_span());
        let landing = self.patiently(deadline, mine.landed()).await?;
        landing
            .unwrap_or(Err(ReadError::Deadline))
            .map(|entry| (entry, Source::Fill))
    }

    /// Waits for an answer of Postgres until the deadline, or until the primary is known to be silent.
    pub(crate) async fn patiently<T>(
        &self,
        deadline: Instant,
        answer: impl Future<Output = T>,
    ) -> Result<T, ReadError> {
        tokio::select! {
            biased; // An answer is better than a refusal.
            answer = timeout_at(deadline, answer) => answer.map_err(|_| ReadError::Deadline),
            error = self.feed.silent() => Err(error.into()),
        }
    }

    async fn fill_and_keep(&self, serving: &Serving, read: &Read) -> Landing {
        let entry = Arc::new(self.ask(&serving.statements, read).await?);
        if entry.stamp.incarnation == serving.world.incarnation() {
            if entry.stamp.as_of > serving.world.applied() {
                self.feed.look();
            }
            self.keep(read, &entry);
        } else {
            self.feed.saw(entry.stamp.incarnation);
        }
        Ok(entry)
    }

    /// Puts an entry into both tiers, over what is not newer.
    pub(crate) fn keep(&self, read: &Read, entry: &Arc<Entry>) {
        self.l1.put(&read.key, entry);
        if let Some(l2) = &self.l2 {
            l2.put(read, entry);
        }
    }

    /// Asks Postgres for one entry.
    pub(crate) async fn ask(&self, statements: &Arc<Statements>, read: &Read) -> Result<Entry, ReadError> {
        let timer = self.metrics.fill_seconds.start_timer();
        let sent = self.feed.clock().now();
        let span = spans::fill(&self.flavour.view(read.view).name, 1);
        let filled = self
            .fills
            .fill(statements, read.view, &read.params)
            .instrument(span)
            .await;
        timer.observe_duration();
        let outcome = match &filled {
            Ok(Filled { body: Some(_), .. }) => FillOutcome::Ok,
            Ok(_) => FillOutcome::NotFound,
            Err(PostgresError::Timeout { .. } | PostgresError::ConnectTimeout { .. }) => FillOutcome::Timeout,
            Err(_) => FillOutcome::Error,
        };
        self.metrics.fills_total[outcome].inc();
        match filled {
            Ok(filled) => Ok(self.entry(read, filled, sent)),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a fill failed");
                Err(ReadError::Fill(Arc::new(error)))
            }
        }
    }

    /// Finishes an entry; `sent` was read before the statement was sent, so that its own clock ends early rather than late.
    pub(crate) fn entry(&self, read: &Read, filled: Filled, sent: Moment) -> Entry {
        let stamp = Stamp {
            incarnation: filled.incarnation,
            as_of: filled.as_of,
            tags: filled.tags,
            not_after: filled.remaining.map(|remaining| sent.plus(remaining)),
        };
        Entry::new(stamp, filled.body, self.flavour.view(read.view).secret)
    }
}
