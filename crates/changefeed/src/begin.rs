//! Beginning a world, or going on with the one we had: which incarnation answers, and whether its triggers can be relied on.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use neverstale_coherence::{Position, Settled, TagTable, World, resumes};
use neverstale_postgres::{Connection, FeedConnection, Outset, PostgresError, Statements};
use neverstale_telemetry::IncarnationReason;
use tokio::time::timeout;

use crate::{
    Serving, Standing,
    session::{Session, SessionEnd},
};

/// Positions before the newest at which a world begins, if the log still has them.
const LOOK_BACK: u64 = 2_000;
/// How long a connection may take before another one is tried beside it.
const ANOTHER_ATTEMPT: Duration = Duration::from_secs(1);

impl Session {
    /// Connects; an attempt that is not answered gets another one beside it, because what was lost on the way is sent again
    /// ever more seldom, and a fresh attempt is there as soon as the way is.
    pub(crate) async fn connect(&self) -> Result<Connection, PostgresError> {
        let parts = &self.parts;
        let attempt = || {
            Connection::open(
                &parts.target,
                parts.ca_file.as_deref(),
                parts.connect_limit,
                parts.statement_limit,
            )
        };
        let mut attempts = FuturesUnordered::from_iter([attempt()]);
        loop {
            match timeout(ANOTHER_ATTEMPT, attempts.next()).await {
                Ok(Some(opened)) => return opened.map(|(connection, _)| connection),
                _ => attempts.push(attempt()),
            }
        }
    }

    /// Reads the incarnation and verifies it: a world to serve, or none while the installation is not in order.
    pub(crate) async fn begin(
        &mut self,
        connection: Connection,
    ) -> Result<(FeedConnection, Option<Arc<Serving>>), SessionEnd> {
        let vigil = Arc::clone(&self.shared.vigil);
        let preparing = Box::pin(FeedConnection::prepare(
            connection,
            &self.parts.flavour,
            &self.parts.app_schema,
        ));
        let (connection, statements) = vigil.over(preparing).await?;
        if std::mem::take(&mut self.has_regressed) {
            vigil.over(connection.begin_anew()).await?;
        }
        let outset = vigil.over(connection.outset()).await?;
        self.shared.is_suspended.store(outset.suspended, Ordering::Relaxed);
        let verdict = neverstale_installation::verify(
            connection.connection().client(),
            &self.parts.flavour,
            &self.parts.app_schema,
        );
        // Longer than a statement, since it is several for the server; but a server that stopped must not hold us for ever.
        let verdict = timeout(self.parts.statement_limit * 2, verdict)
            .await
            .map_err(|_| SessionEnd::Verification("no answer in time".to_owned()))?
            .map_err(|error| SessionEnd::Verification(crate::session::chain(&error)))?;
        // The verdict speaks for the incarnation only if the same one answers before and after it.
        let fence = vigil.over(connection.fence()).await?;
        self.shared.note_lease(fence.lease);
        if fence.incarnation != outset.incarnation {
            return Err(SessionEnd::Foreign(neverstale_coherence::Foreign::Incarnation));
        }
        if !verdict.is_green() {
            self.bypass(statements, &verdict.to_string());
            return Ok((connection, None));
        }
        let serving = match self.shared.serving() {
            Some(serving) if resumes(&serving.world, outset.incarnation, outset.newest) => serving,
            _ => self.new_world(&outset, statements),
        };
        // From here on a world is forgotten without our meeting another one only where the connection ends before.
        self.cause = IncarnationReason::Disconnected;
        self.parts.readiness.set("installation", None);
        self.shared.metrics.bypass.set(0);
        Ok((connection, Some(serving)))
    }

    fn new_world(&mut self, outset: &Outset, statements: Statements) -> Arc<Serving> {
        // Some way back into the log, so that what the other sidecars left in L2 can be used.
        let position = outset
            .pruned_to
            .max(Position(outset.newest.0.saturating_sub(LOOK_BACK)));
        let tags = TagTable::new(self.parts.settings.tag_slots as usize);
        let world = World::new(outset.incarnation, position, tags);
        let serving = Arc::new(Serving::new(world, Arc::new(statements), outset.lock_class));
        self.settled = Settled::default();
        self.shared.metrics.incarnation_changes_total[self.cause].inc();
        self.shared.history.begin(outset.incarnation, position);
        tracing::info!(incarnation = %outset.incarnation, position = outset.newest.0, "a new world begins");
        self.shared
            .standing
            .store(Arc::new(Standing::Serving(Arc::clone(&serving))));
        serving
    }

    fn bypass(&self, statements: Statements, findings: &str) {
        tracing::warn!(
            findings,
            "the installation is not in order: reads are passed through uncached"
        );
        self.parts.readiness.set("installation", Some(findings.to_owned()));
        self.parts.readiness.set("database", None);
        self.shared.metrics.bypass.set(1);
        let bypass = Standing::Bypass {
            statements: Arc::new(statements),
            reason: findings.into(),
        };
        self.shared.standing.store(Arc::new(bypass));
        // Whoever waits for a fence looks again and passes through.
        self.shared.finish(
            self.shared.rounds.start(),
            Err(crate::FeedError::Verification(findings.to_owned())),
        );
    }

    /// Waits until it is time to verify again, or somebody has a reason to believe that something changed.
    pub(crate) async fn wait_for_repair(&self) {
        let pause = Duration::from_millis(self.parts.settings.verify_ms);
        let _ = timeout(pause, self.shared.bell.notified()).await;
    }
}
