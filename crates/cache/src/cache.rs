//! A read from beginning to end: entitled, looked up, judged, and filled where nothing valid was found (PROTOCOL §5).

use std::sync::{Arc, Weak};

use neverstale_changefeed::{Feed, Serving, Standing};
use neverstale_coherence::{Entitlement, Moment, Safeguard, Stamp, Validity, safeguard::stands};
use neverstale_flavour::{Flavour, Read};
use neverstale_lifecycle::Tasks;
use neverstale_postgres::FillPool;
use neverstale_telemetry::{L2Operation, L2Outcome, Metrics, ReadOutcome};
use neverstale_wire::Token;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{Answer, Entry, L1, Level, ReadError, Source, entitle::Entitled, flights::Flights, l2::L2, spans};

/// Everything that a cache is made of.
pub struct CacheParts {
    /// Follows the database.
    pub feed: Feed,
    /// Asks it.
    pub fills: FillPool,
    /// The views.
    pub flavour: Arc<Flavour>,
    /// The first tier.
    pub l1: L1,
    /// The second tier, if there is one.
    pub l2: Option<L2>,
    /// Where the numbers go.
    pub metrics: Arc<Metrics>,
    /// Where fills run, so that they end whoever waits for them.
    pub tasks: Tasks,
}

/// The cache.
pub struct Cache {
    pub(crate) feed: Feed,
    pub(crate) fills: FillPool,
    pub(crate) flavour: Arc<Flavour>,
    pub(crate) l1: L1,
    pub(crate) l2: Option<L2>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: Tasks,
    pub(crate) flights: Arc<Flights>,
    pub(crate) me: Weak<Self>,
}

/// What a look into a tier came to.
pub(crate) enum Look {
    Valid(Arc<Entry>),
    /// Valid but for a tag that the lease does not cover.
    NeedsFence,
    Nothing,
}

impl Cache {
    /// Puts the parts together.
    pub fn new(parts: CacheParts) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            feed: parts.feed,
            fills: parts.fills,
            flavour: parts.flavour,
            l1: parts.l1,
            l2: parts.l2,
            metrics: parts.metrics,
            tasks: parts.tasks,
            flights: Arc::default(),
            me: me.clone(),
        })
    }

    /// Follows the database.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The first tier.
    pub fn l1(&self) -> &L1 {
        &self.l1
    }

    /// Answers from L1 without waiting for anything, or not at all.
    ///
    /// `key` is a canonical path with its query; one that is spelled otherwise is simply not found. Takes two looks at the
    /// clock, one look into L1 and a few atomic loads; takes no lock and allocates nothing.
    pub fn hit(&self, key: &str, level: Level) -> Option<Answer> {
        let standing = self.feed.standing();
        let Standing::Serving(serving) = &**standing else {
            return None;
        };
        let entitlement = self.entitled_now(serving, level)?;
        let Look::Valid(entry) = self.look_into_l1(serving, &entitlement, key) else {
            return None;
        };
        self.metrics.reads[level.label()][ReadOutcome::L1].inc();
        Some(answer(serving, &entitlement, entry, Source::L1, level))
    }

    /// Answers a read.
    ///
    /// # Errors
    ///
    /// When the level can't be kept, or not before `deadline`; never an old answer instead.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing; a fill that it started goes on for others.
    pub async fn read(&self, read: &Read, level: Level, deadline: Instant) -> Result<Answer, ReadError> {
        let answer = self.read_uncounted(read, level, deadline).await;
        let outcome = answer
            .as_ref()
            .map_or(ReadOutcome::Error, |answer| answer.source.label());
        self.metrics.reads[level.label()][outcome].inc();
        answer
    }

    async fn read_uncounted(&self, read: &Read, level: Level, deadline: Instant) -> Result<Answer, ReadError> {
        let (serving, mut entitlement, mut kept) = match self.entitle(level, deadline).await? {
            Entitled::Serving(serving, entitlement, kept) => (serving, entitlement, kept),
            Entitled::Bypass(statements) => {
                return self.pass_through(read, &statements, deadline).await;
            }
        };
        let mut look = self.look_into_l1(&serving, &entitlement, &read.key);
        if let Look::NeedsFence = look {
            // A writer holds one of the entry's tags: this one read asks, the others keep their lease.
            match self.fence_midway(kept, deadline).await? {
                Entitled::Serving(fenced, fresh, now_kept) if Arc::ptr_eq(&fenced, &serving) => {
                    (entitlement, kept) = (fresh, now_kept);
                }
                Entitled::Serving(..) => return Box::pin(self.read_uncounted(read, level, deadline)).await,
                Entitled::Bypass(statements) => return self.pass_through(read, &statements, deadline).await,
            }
            look = self.look_into_l1(&serving, &entitlement, &read.key);
        }
        if let Look::Valid(entry) = look {
            return Ok(answer(&serving, &entitlement, entry, Source::L1, kept));
        }
        if let Some(entry) = self.look_into_l2(&serving, &entitlement, read).await {
            return Ok(answer(&serving, &entitlement, entry, Source::L2, kept));
        }
        let (entry, source) = self.fill(&serving, &entitlement, read, deadline).await?;
        Ok(answer(&serving, &entitlement, entry, source, kept))
    }

    /// Takes a fence and gives its token.
    ///
    /// # Errors
    ///
    /// As [`Cache::read`].
    pub async fn position(&self, deadline: Instant) -> Result<Token, ReadError> {
        let (serving, _) = self.feed.fence(deadline).await?;
        Ok(Token {
            incarnation: serving.world.incarnation(),
            position: serving.world.applied(),
        })
    }

    /// Looks into L1 and judges what is there. The entitlement was taken before [17].
    pub(crate) fn look_into_l1(&self, serving: &Serving, entitlement: &Entitlement, key: &str) -> Look {
        let Some(entry) = self.l1.get(key) else {
            return Look::Nothing;
        };
        match self.judge(serving, entitlement, &entry.stamp) {
            Validity::Valid => Look::Valid(entry),
            Validity::NeedsFence => Look::NeedsFence,
            Validity::Stale | Validity::Expired | Validity::Foreign => Look::Nothing,
        }
    }

    pub(crate) async fn look_into_l2(
        &self,
        serving: &Serving,
        entitlement: &Entitlement,
        read: &Read,
    ) -> Option<Arc<Entry>> {
        let entry = Arc::new(
            self.l2
                .as_ref()?
                .get(read, serving.world.incarnation())
                .instrument(spans::look())
                .await?,
        );
        let verdict = self.judge(serving, entitlement, &entry.stamp);
        if verdict != Validity::Valid && stands(Safeguard::L2Judged) {
            self.metrics.l2_requests_total[L2Operation::Get][L2Outcome::Stale].inc();
            return None;
        }
        self.metrics.l2_requests_total[L2Operation::Get][L2Outcome::Hit].inc();
        if entry.stamp.as_of > serving.world.applied() {
            self.feed.look();
        }
        self.l1.put(&read.key, &entry);
        Some(entry)
    }

    pub(crate) fn judge(&self, serving: &Serving, entitlement: &Entitlement, stamp: &Stamp) -> Validity {
        // Most answers change by writes alone, and need no look at the clocks.
        let now = if stamp.not_after.is_some() {
            self.feed.clock().now()
        } else {
            Moment::default()
        };
        serving.world.judge(entitlement, stamp, now)
    }

    /// Asks Postgres past the cache: the triggers can't be relied on, so nothing is kept and nothing is joined.
    async fn pass_through(
        &self,
        read: &Read,
        statements: &Arc<neverstale_postgres::Statements>,
        deadline: Instant,
    ) -> Result<Answer, ReadError> {
        let entry = self.patiently(deadline, self.ask(statements, read)).await??;
        let token = Token {
            incarnation: entry.stamp.incarnation,
            position: entry.stamp.as_of,
        };
        Ok(Answer {
            entry: Arc::new(entry),
            source: Source::Bypass,
            token,
            kept: Level::FullyConsistent,
        })
    }
}

/// Names the state of an answer: what was applied when the read was entitled, before the check, or the entry's own state
/// where that is further; in the terms of whoever gave it.
fn answer(serving: &Serving, entitlement: &Entitlement, entry: Arc<Entry>, source: Source, kept: Level) -> Answer {
    let is_ours = entry.stamp.incarnation == serving.world.incarnation();
    let token = Token {
        incarnation: entry.stamp.incarnation,
        position: if is_ours {
            entitlement.token_position(entry.stamp.as_of)
        } else {
            entry.stamp.as_of
        },
    };
    Answer {
        entry,
        source,
        token,
        kept,
    }
}
