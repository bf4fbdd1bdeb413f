//! The feed as readers know it: what it knows, a fence when that is not enough, and the changes as they come.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use neverstale_coherence::{Entitlement, Incarnation, Position, TokenVerdict, judge_token};
use neverstale_flavour::Flavour;
use neverstale_lifecycle::{Clock, Readiness, Tasks};
use neverstale_postgres::Target;
use neverstale_redis::{Redis, RedisError};
use neverstale_telemetry::Metrics;
use neverstale_wire::{BroadcastCodec, Token};
use tokio::time::{Instant, timeout_at};

use crate::{
    FeedError, FeedSettings, History, Serving, Standing, bells, relay::Relay, session::Session, shared::Shared,
    vigil::Vigil,
};

/// Everything that a feed is made of.
pub struct FeedParts {
    /// The primary.
    pub target: Target,
    /// Certificate authorities for it.
    pub ca_file: Option<PathBuf>,
    /// Limit on making a connection.
    pub connect_limit: Duration,
    /// Limit on one statement.
    pub statement_limit: Duration,
    /// What is watched.
    pub flavour: Arc<Flavour>,
    /// Where the application's tables are.
    pub app_schema: String,
    /// Where the relay's word is spread, if there is a Redis.
    pub broadcast: Option<Broadcast>,
    /// The section `feed`.
    pub settings: FeedSettings,
    /// The two clocks.
    pub clock: Clock,
    /// Where the reasons go for which we are not ready.
    pub readiness: Readiness,
    /// Where the numbers go.
    pub metrics: Arc<Metrics>,
}

/// The channel on which the relay spreads the word.
#[derive(Clone)]
pub struct Broadcast {
    /// Carries it.
    pub redis: Arc<Redis>,
    /// Writes and reads its messages.
    pub codec: BroadcastCodec,
    /// Its name.
    pub name: String,
}

/// Follows the database; cheap to clone.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
    clock: Clock,
    bound: Duration,
}

impl Feed {
    /// Starts to follow; returns at once, and says through `readiness` when reads can be served.
    ///
    /// # Errors
    ///
    /// When the client for the channel can't be set up.
    pub fn start(parts: FeedParts, tasks: &Tasks) -> Result<Self, RedisError> {
        let patience = Duration::from_millis(parts.settings.fence_patience_ms);
        // A question is given up at its limit, and the usual deadline is no longer: whoever waits is told before both.
        let vigil = Vigil::new(patience, parts.statement_limit * 3 / 4);
        let shared = Arc::new(Shared::new(Arc::clone(&parts.metrics), vigil));
        let clock = parts.clock.clone();
        let bound = Duration::from_millis(parts.settings.staleness_bound_ms);
        let parts = Arc::new(parts);
        let (relay, wires) = Relay::new(&parts, Arc::clone(&shared));
        bells::spawn(&parts, &shared, wires, tasks)?;
        let session = Session::new(parts, Arc::clone(&shared), relay, tasks.shutdown());
        tasks.spawn("changefeed", session.run());
        Ok(Self { shared, clock, bound })
    }

    /// Gives what is known now, for one read from beginning to end.
    pub fn standing(&self) -> arc_swap::Guard<Arc<Standing>> {
        self.shared.standing.load()
    }

    /// Entitles a read by the lease, if it is valid now; a few loads and two looks at the clock.
    pub fn leased(&self, serving: &Serving) -> Option<Entitlement> {
        let entitlement = serving.leased(self.clock.now());
        if entitlement.is_some() {
            self.shared.touch();
        }
        entitlement
    }

    /// Entitles a read that accepts the bound of staleness that is set.
    pub fn bounded(&self, serving: &Serving) -> Option<Entitlement> {
        serving.bounded(self.clock.now(), self.bound)
    }

    /// Takes a fence, shared with all who ask before it is sent, and waits until its position has been applied.
    ///
    /// # Errors
    ///
    /// When the primary does not answer, or not before `deadline`; at once while it is known to be silent.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn fence(&self, deadline: Instant) -> Result<(Arc<Serving>, Entitlement), FeedError> {
        self.shared.touch();
        // Subscribe, then take the number, then ask, then wait: an answer in between is seen.
        let mut fenced = self.shared.fenced.subscribe();
        let mine = self.shared.rounds.next();
        self.shared.wanted.notify_one();
        self.shared.metrics.fence_waiters.inc();
        let answered = async {
            tokio::select! {
                biased; // An answer is better than a refusal.
                fenced = fenced.wait_for(|fenced| fenced.round >= mine) => match fenced {
                    Ok(fenced) => fenced.outcome.clone(),
                    Err(_) => Err(FeedError::Ended),
                },
                error = self.silent() => Err(error),
            }
        };
        let waited = timeout_at(deadline, answered).await;
        self.shared.metrics.fence_waiters.dec();
        let outcome = waited.unwrap_or(Err(FeedError::Deadline));
        outcome.map(|serving| {
            let entitlement = Entitlement::applied(&serving.world);
            (serving, entitlement)
        })
    }

    /// Waits until the primary is known not to answer, so that nobody waits for it in vain; at once while it is so.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn silent(&self) -> FeedError {
        self.shared.vigil.silent().await
    }

    /// Entitles a read that holds a token: what is applied, else after one fence; never a wait [20].
    ///
    /// # Errors
    ///
    /// As [`Feed::fence`], and [`FeedError::TokenAhead`] for a token that lies ahead of the primary.
    pub async fn at_least(&self, token: Token, deadline: Instant) -> Result<(Arc<Serving>, Entitlement), FeedError> {
        if let Some(serving) = self.shared.serving()
            && judge_token(&serving.world, token.incarnation, token.position) == TokenVerdict::Reached
        {
            let entitlement = Entitlement::applied(&serving.world);
            return Ok((serving, entitlement));
        }
        let (serving, entitlement) = self.fence(deadline).await?;
        match judge_token(&serving.world, token.incarnation, token.position) {
            TokenVerdict::Behind => Err(FeedError::TokenAhead),
            TokenVerdict::Reached | TokenVerdict::Foreign => Ok((serving, entitlement)),
        }
    }

    /// Gives the two clocks that leases are counted on.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Tells the feed which incarnation a fill named: another one is a reason to look.
    pub fn saw(&self, incarnation: Incarnation) {
        self.shared.saw(incarnation);
    }

    /// Has the log looked at soon, because something is ahead of what has been applied.
    pub fn look(&self) {
        self.shared.bell.notify_one();
    }

    /// Gives the changes of late, and those to come.
    pub fn history(&self) -> &History {
        &self.shared.history
    }

    /// Says whether this sidecar is the relay.
    pub fn is_relay(&self) -> bool {
        self.shared.is_relay.load(Ordering::Relaxed)
    }

    /// Gives the longest lease that a fence may grant, as the last one told; zero when leases are off.
    pub fn lease_max(&self) -> Duration {
        Duration::from_millis(self.shared.lease_ms.load(Ordering::Relaxed))
    }

    /// Says whether an operator has suspended the installation, as the last look at it told.
    pub fn is_suspended(&self) -> bool {
        self.shared.is_suspended.load(Ordering::Relaxed)
    }

    /// Brings the gauges up to date that change by time alone; whoever shows them calls this before.
    pub fn note_gauges(&self) {
        let (metrics, now) = (&self.shared.metrics, self.clock.now());
        let Some(serving) = self.shared.serving() else { return };
        metrics
            .lease_remaining_seconds
            .set(now.until(serving.lease().end).as_secs_f64());
        if let Some(sent) = serving.last_fence() {
            metrics.lag_seconds.set(now.since(sent).as_secs_f64());
        }
    }

    /// Gives the token of what has been applied, while a world is served.
    pub fn token(&self) -> Option<Token> {
        self.shared.serving().map(|serving| token(&serving, Position(0)))
    }
}

/// The token of an answer: what was applied at the check or, where that is further, the answer's own state.
pub(crate) fn token(serving: &Serving, as_of: Position) -> Token {
    Token {
        incarnation: serving.world.incarnation(),
        position: serving.world.applied().max(as_of),
    }
}
