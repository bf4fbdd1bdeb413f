//! The feed's task: connect, begin or resume a world, then answer whoever asks, until the connection ends; and again.
//!
//! It alone changes the world. While it waits for one answer nobody else asks on this connection, so the order of
//! questions is the order of answers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use neverstale_coherence::{
    FenceSent, FenceVerdict, Foreign, Moment, Safeguard, Settled, judge_fence, judge_settle, safeguard::stands,
};
use neverstale_lifecycle::Backoff;
use neverstale_postgres::{FeedConnection, PostgresError};
use neverstale_telemetry::{FenceOutcome, IncarnationReason, LeaseKind, PostgresRole};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{FeedError, FeedParts, Serving, Standing, relay::Relay, shared::Shared};

/// Between two connections that failed.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionEnd {
    #[error("the primary does not answer")]
    Postgres(#[from] PostgresError),
    #[error("another incarnation answered ({0:?})")]
    Foreign(Foreign),
    #[error("verify the installation: {0}")]
    Verification(String),
    #[error("the process is ending")]
    Shutdown,
}

/// The task and what it keeps between connections.
pub(crate) struct Session {
    pub(crate) parts: Arc<FeedParts>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) settled: Settled,
    pub(crate) relay: Relay,
    shutdown: CancellationToken,
    /// Positions or intents went back: the database is asked to begin another incarnation before we go on.
    pub(crate) has_regressed: bool,
    /// Why a new world would begin now, if one did.
    pub(crate) cause: IncarnationReason,
    /// When a lease under traffic is to be renewed.
    renew_at: Option<Instant>,
    /// Not before this are outstanding intents looked at again.
    settle_after: Instant,
    /// The connection at hand has answered a fence; one that could not even be opened has not lasted, however long it took.
    has_answered: bool,
}

impl Session {
    pub(crate) fn new(parts: Arc<FeedParts>, shared: Arc<Shared>, relay: Relay, shutdown: CancellationToken) -> Self {
        let settle_after = Instant::now();
        Self {
            parts,
            shared,
            settled: Settled::default(),
            relay,
            shutdown,
            has_regressed: false,
            cause: IncarnationReason::First,
            renew_at: None,
            settle_after,
            has_answered: false,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        loop {
            let began = Instant::now();
            let end = self.connect_and_follow().await;
            // The connection that would have told us of a new incarnation is gone, so nobody rests on its word.
            if let Some(serving) = self.shared.serving() {
                serving.revoke();
            }
            self.relay.lost();
            self.renew_at = None;
            let has_lasted = std::mem::take(&mut self.has_answered) && began.elapsed() > BACKOFF.1;
            match end {
                SessionEnd::Shutdown => return,
                SessionEnd::Foreign(foreign) => {
                    tracing::info!(?foreign, "the feed meets another incarnation");
                    self.met(reason(foreign));
                    self.has_regressed |= foreign == Foreign::Regressed && stands(Safeguard::BeginAnew);
                }
                SessionEnd::Postgres(error @ PostgresError::TableGone { .. }) => {
                    tracing::info!(
                        error = &error as &dyn std::error::Error,
                        "the application has other tables now: looking again"
                    );
                    self.met(IncarnationReason::Incarnation);
                }
                SessionEnd::Postgres(error) if has_lasted && error.is_disconnect() => {
                    tracing::info!(
                        error = &error as &dyn std::error::Error,
                        "the feed's connection ended: trying another"
                    );
                    self.shared.metrics.postgres_reconnects_total[PostgresRole::Feed].inc();
                }
                end => {
                    self.failed(end);
                    backoff_for(&mut backoff, began.elapsed());
                    tokio::select! {
                        biased; // Ending comes first.
                        () = self.shutdown.cancelled() => return,
                        () = sleep(backoff.next_delay()) => continue,
                    }
                }
            }
            // The reads that wait are answered by the next connection's first fence; one that fails at once is slowed down.
            self.shared.wanted.notify_one();
            if !has_lasted {
                sleep(BACKOFF.0).await;
            }
        }
    }

    /// Notes why the world that there is will be forgotten; the first one is the first for whatever reason it was late.
    fn met(&mut self, reason: IncarnationReason) {
        if self.cause != IncarnationReason::First {
            self.cause = reason;
        }
    }

    /// Tells everybody who waits, and those who look, that the primary does not answer.
    fn failed(&self, end: SessionEnd) {
        tracing::warn!(error = &end as &dyn std::error::Error, "the feed lost the primary");
        self.parts.readiness.set("database", Some(chain(&end)));
        let error = match end {
            SessionEnd::Postgres(error) => FeedError::Unreachable(Arc::new(error)),
            other => FeedError::Verification(other.to_string()),
        };
        if self.shared.serving().is_none() {
            self.shared.standing.store(Arc::new(Standing::Down(error.clone())));
        }
        self.shared.vigil.refuse(error.clone());
        // A round of its own, so that those who wait for the next one learn of it too.
        self.shared.finish(self.shared.rounds.start(), Err(error));
        self.shared.metrics.fences_total[FenceOutcome::Error].inc();
        self.shared.metrics.postgres_reconnects_total[PostgresRole::Feed].inc();
    }

    async fn connect_and_follow(&mut self) -> SessionEnd {
        let shutdown = self.shutdown.clone();
        let vigil = Arc::clone(&self.shared.vigil).watch(self.parts.readiness.clone());
        tokio::select! {
            biased; // Ending comes first, or a busy feed would never notice.
            () = shutdown.cancelled() => SessionEnd::Shutdown,
            end = self.follow() => end,
            never = vigil => match never {},
        }
    }

    async fn follow(&mut self) -> SessionEnd {
        match self.try_follow().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn try_follow(&mut self) -> Result<std::convert::Infallible, SessionEnd> {
        loop {
            let connection = Arc::clone(&self.shared.vigil).over(self.connect()).await?;
            // While the installation is not in order each look takes a fresh connection, for the tables as they are then.
            let (connection, Some(serving)) = self.begin(connection).await? else {
                self.wait_for_repair().await;
                continue;
            };
            // The first fence answers whoever has been waiting for the connection.
            self.fence(&connection, &serving).await?;
            self.has_answered = true;
            return self.answer(&connection, &serving).await;
        }
    }

    /// Answers whoever asks, for as long as the connection and the incarnation last.
    async fn answer(
        &mut self,
        connection: &FeedConnection,
        serving: &Arc<Serving>,
    ) -> Result<std::convert::Infallible, SessionEnd> {
        let poll = Duration::from_millis(self.parts.settings.poll_ms);
        let mut poll_at = Instant::now() + poll;
        loop {
            let renew_at = self.renew_at;
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                biased; // Reads wait for a fence; nobody waits for the others.
                () = shared.wanted.notified() => self.fence(connection, serving).await?,
                () = sleep_until(renew_at.unwrap_or(poll_at)), if renew_at.is_some() => {
                    self.renew_at = None;
                    if self.shared.touched.swap(false, Ordering::Relaxed) {
                        self.fence(connection, serving).await?;
                    }
                }
                heard = self.relay.heard() => self.hear(connection, serving, heard).await?,
                () = shared.bell.notified() => {
                    self.shared.metrics.bells_total.inc();
                    self.catch_up(connection, serving).await?;
                }
                () = sleep_until(poll_at) => {
                    self.shared.metrics.polls_total.inc();
                    self.fence(connection, serving).await?;
                }
            }
            // Not a branch of its own: reads that keep coming would never let it have its turn.
            if poll_at <= Instant::now() {
                self.shared
                    .vigil
                    .over(self.relay.keep_house(connection, serving))
                    .await?;
                poll_at = Instant::now() + poll;
            }
        }
    }

    /// Takes a fence for all who have asked by now, and lets its lease count once its position is applied.
    pub(crate) async fn fence(
        &mut self,
        connection: &FeedConnection,
        serving: &Arc<Serving>,
    ) -> Result<(), SessionEnd> {
        // t₀ and the number come before the question: whoever arrives from here on waits for the next one.
        let round = self.shared.rounds.start();
        let mut sent = FenceSent {
            at: self.parts.clock.now(),
            applied: serving.world.applied(),
        };
        let timer = self.shared.metrics.fence_seconds.start_timer();
        let answer = self.shared.vigil.over(connection.fence()).await?;
        timer.observe_duration();
        if !stands(Safeguard::LeaseFromBefore) {
            sent.at = self.parts.clock.now();
        }
        self.shared.note_lease(answer.lease);
        let (position, lease, settle) = match judge_fence(&serving.world, self.settled.up_to(), sent, &answer) {
            FenceVerdict::Foreign(foreign) => {
                self.shared.metrics.fences_total[FenceOutcome::Foreign].inc();
                return Err(SessionEnd::Foreign(foreign));
            }
            FenceVerdict::Follow {
                position,
                lease,
                settle,
            } => (position, lease, settle),
        };
        while serving.world.applied() < position && stands(Safeguard::FenceApplied) {
            self.catch_up(connection, serving).await?;
        }
        serving.fenced(sent.at);
        if let Some(lease) = lease {
            self.shared.metrics.leases_total[LeaseKind::Full].inc();
            self.renew(sent.at, lease.end);
            serving.grant(lease);
        }
        self.shared.metrics.fences_total[FenceOutcome::Ok].inc();
        self.shared.finish(round, Ok(Arc::clone(serving)));
        self.parts.readiness.set("database", None);
        self.note(serving);
        if settle {
            self.settle(connection, serving, answer.lease).await?;
        }
        Ok(())
    }

    /// Looks which intents are outstanding, settles the others, and takes the lease that they leave.
    async fn settle(
        &mut self,
        connection: &FeedConnection,
        serving: &Arc<Serving>,
        lease: Duration,
    ) -> Result<(), SessionEnd> {
        // The locks of all writers are read for it, so not at every fence [19].
        if Instant::now() < self.settle_after {
            self.renew_at.get_or_insert(self.settle_after);
            return Ok(());
        }
        self.settle_after = Instant::now() + lease / 8;
        let clock = self.parts.clock.clone();
        let expected = serving.world.incarnation();
        let vigil = &self.shared.vigil;
        let settling = connection.settle(expected, serving.lock_class, || clock.now(), || vigil.goes_on());
        let Some((sent, answer)) = vigil.over(settling).await? else {
            return Err(SessionEnd::Foreign(Foreign::Incarnation));
        };
        let verdict = judge_settle(sent, &answer);
        while serving.world.applied() < verdict.position && stands(Safeguard::LeaseOnceApplied) {
            self.catch_up(connection, serving).await?;
        }
        verdict.settle(&serving.world, &mut self.settled);
        if let Some(lease) = verdict.lease {
            let kind = if lease.except.is_none() {
                LeaseKind::Full
            } else {
                LeaseKind::Excepting
            };
            self.shared.metrics.leases_total[kind].inc();
            self.renew(sent, lease.end);
            serving.grant(lease);
        } else {
            self.shared.metrics.leases_total[LeaseKind::Refused].inc();
            self.renew_at = Some(self.settle_after);
        }
        self.note(serving);
        Ok(())
    }

    /// Plans to renew a lease in the middle of its span, so that under traffic one follows the other.
    fn renew(&mut self, sent: Moment, end: Moment) {
        let span = sent.until(end);
        let left = self.parts.clock.now().until(end);
        self.renew_at = Some(Instant::now() + left.saturating_sub(span / 2));
    }

    fn note(&self, serving: &Serving) {
        let metrics = &self.shared.metrics;
        metrics.position_applied.set(serving.world.applied().0 as i64);
        metrics.position_settled.set(self.settled.up_to().0 as i64);
    }
}

impl Drop for Session {
    /// However the task ends, nobody waits for it in vain, and nobody rests on what it can no longer learn.
    fn drop(&mut self) {
        if let Some(serving) = self.shared.serving() {
            serving.revoke();
        }
        self.shared.vigil.refuse(FeedError::Ended);
    }
}

/// A connection that lasted has earned a quick next attempt.
fn backoff_for(backoff: &mut Backoff, lasted: Duration) {
    if lasted > Duration::from_secs(5) {
        backoff.reset();
    }
}

fn reason(foreign: Foreign) -> IncarnationReason {
    match foreign {
        Foreign::Incarnation => IncarnationReason::Incarnation,
        Foreign::Regressed => IncarnationReason::Regressed,
    }
}

/// The whole chain of causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
