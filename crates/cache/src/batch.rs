//! Batches: several reads answered from one state (PROTOCOL §5, rule 4) [7].

use std::sync::Arc;

use futures_util::future::try_join_all;
use neverstale_changefeed::{Serving, Standing};
use neverstale_coherence::{BatchVerdict, Entitlement, Position, Stamp, batch_target, judge_batch};
use neverstale_flavour::Read;
use neverstale_postgres::Statements;
use neverstale_telemetry::{BatchRounds, ReadOutcome};
use neverstale_wire::Token;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{BatchAnswer, Cache, Entry, Level, ReadError, Source, cache::Look, entitle::Entitled, spans};

/// Rounds of refilling before everything is filled in one statement, so that a batch ends under steady writes.
const ROUNDS: usize = 2;

/// The entries of a batch, and where each came from.
type Found = (Vec<Arc<Entry>>, Vec<Source>);

impl Cache {
    /// Answers several reads from L1, from one state, without waiting for anything, or not at all.
    ///
    /// `keys` are canonical paths with their queries, as for [`Cache::hit`]. Costs one entitlement for all of them.
    pub fn hit_all<'k>(&self, keys: impl IntoIterator<Item = &'k str>, level: Level) -> Option<BatchAnswer> {
        let standing = self.feed.standing();
        let Standing::Serving(serving) = &**standing else {
            return None;
        };
        let entitlement = self.entitled_now(serving, level)?;
        let look = |key: &'k str| match self.look_into_l1(serving, &entitlement, key) {
            Look::Valid(entry) => Some(entry),
            Look::NeedsFence | Look::Nothing => None,
        };
        let entries: Vec<_> = keys.into_iter().map(look).collect::<Option<_>>()?;
        match self.judged(serving, &entries)? {
            BatchVerdict::OneState(position) => {
                self.metrics.batch_rounds_total[BatchRounds::One].inc();
                self.metrics.reads[level.label()][ReadOutcome::L1].inc_by(entries.len() as u64);
                let sources = vec![Source::L1; entries.len()];
                Some(one_state(serving, (entries, sources), position, level))
            }
            BatchVerdict::Refill(_) | BatchVerdict::NotYet => None,
        }
    }

    /// Answers several reads from one state.
    ///
    /// # Errors
    ///
    /// As [`Cache::read`]; one read that fails fails all.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn read_all(&self, reads: &[Read], level: Level, deadline: Instant) -> Result<BatchAnswer, ReadError> {
        let answered = self.read_all_uncounted(reads, level, deadline).await;
        self.count(reads, level, &answered);
        answered
    }

    /// Answers several reads from one state by asking Postgres, whatever the tiers hold, and keeps nothing of the answers: for
    /// what is asked rarely, or must not be kept ([`neverstale_flavour::View::kept`]).
    ///
    /// # Errors
    ///
    /// As [`Cache::read`]; one read that fails fails all.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn read_straight(&self, reads: &[Read], deadline: Instant) -> Result<BatchAnswer, ReadError> {
        let answered = self.afresh(reads, deadline).await;
        self.count(reads, Level::FullyConsistent, &answered);
        answered
    }

    fn count(&self, reads: &[Read], level: Level, answered: &Result<BatchAnswer, ReadError>) {
        let counts = &self.metrics.reads[level.label()];
        match answered {
            Ok(answered) => answered.sources.iter().for_each(|source| counts[source.label()].inc()),
            Err(_) => counts[ReadOutcome::Error].inc_by(reads.len() as u64),
        }
    }

    async fn read_all_uncounted(
        &self,
        reads: &[Read],
        level: Level,
        deadline: Instant,
    ) -> Result<BatchAnswer, ReadError> {
        let (serving, entitlement, kept) = match self.entitle(level, deadline).await? {
            Entitled::Serving(serving, entitlement, kept) => (serving, entitlement, kept),
            Entitled::Bypass(statements) => {
                let mut answered = self.in_one_statement(reads, &statements, deadline).await?;
                answered.sources.fill(Source::Bypass);
                return Ok(answered);
            }
        };
        let Some((serving, (mut entries, mut sources))) = self.gather(serving, entitlement, reads, deadline).await?
        else {
            // The world changed on the way; one statement needs no world.
            return self.afresh(reads, deadline).await;
        };
        for round in 1..=ROUNDS {
            match self.settle_batch(&serving, &entries, deadline).await? {
                Some(BatchVerdict::OneState(position)) => {
                    let rounds = if round == 1 { BatchRounds::One } else { BatchRounds::Two };
                    self.metrics.batch_rounds_total[rounds].inc();
                    return Ok(one_state(&serving, (entries, sources), position, kept));
                }
                Some(BatchVerdict::Refill(failing)) if round < ROUNDS => {
                    let fills = failing
                        .iter()
                        .map(|place| self.refill(&serving, &reads[*place], deadline));
                    for (place, filled) in failing.iter().zip(try_join_all(fills).await?) {
                        (entries[*place], sources[*place]) = filled;
                    }
                }
                _ => break,
            }
        }
        self.in_one_statement(reads, &serving.statements, deadline).await
    }

    /// Finds each entry by itself, valid for the batch's entitlement. None when the incarnation, or the whole standing, changed meanwhile.
    async fn gather(
        &self,
        serving: Arc<Serving>,
        mut entitlement: Entitlement,
        reads: &[Read],
        deadline: Instant,
    ) -> Result<Option<(Arc<Serving>, Found)>, ReadError> {
        let look = |entitlement: &Entitlement| -> Vec<Look> {
            let look = |read: &Read| self.look_into_l1(&serving, entitlement, &read.key);
            reads.iter().map(look).collect()
        };
        let mut looks = look(&entitlement);
        if looks.iter().any(|look| matches!(look, Look::NeedsFence)) {
            match self.fence_midway(Level::FullyConsistent, deadline).await? {
                Entitled::Serving(fenced, fresh, _) if Arc::ptr_eq(&fenced, &serving) => entitlement = fresh,
                Entitled::Serving(..) | Entitled::Bypass(_) => return Ok(None),
            }
            looks = look(&entitlement);
        }
        let (serving_ref, entitlement) = (&serving, &entitlement);
        let missing = looks
            .iter()
            .zip(reads)
            .filter(|(look, _)| !matches!(look, Look::Valid(_)))
            .map(|(_, read)| async move {
                if let Some(entry) = self.look_into_l2(serving_ref, entitlement, read).await {
                    return Ok((entry, Source::L2));
                }
                self.fill(serving_ref, entitlement, read, deadline).await
            });
        let mut found = try_join_all(missing).await?.into_iter();
        let entries = looks.into_iter().map(|look| match look {
            Look::Valid(entry) => (entry, Source::L1),
            Look::NeedsFence | Look::Nothing => found.next().expect("one for each that L1 lacked"),
        });
        let found = entries.unzip();
        Ok(Some((serving, found)))
    }

    /// Waits until the log has been applied up to the newest entry, then judges all of them; no verdict when an entry is
    /// of another incarnation, where waiting would be in vain.
    async fn settle_batch(
        &self,
        serving: &Serving,
        entries: &[Arc<Entry>],
        deadline: Instant,
    ) -> Result<Option<BatchVerdict>, ReadError> {
        let verdict = self.judged(serving, entries);
        if verdict != Some(BatchVerdict::NotYet) {
            return Ok(verdict);
        }
        let target = batch_target(&serving.world, stamps(entries));
        self.feed.look();
        self.patiently(deadline, serving.reached(target)).await?;
        Ok(self.judged(serving, entries))
    }

    /// Judges all entries as they are; no verdict when one is of another incarnation.
    fn judged(&self, serving: &Serving, entries: &[Arc<Entry>]) -> Option<BatchVerdict> {
        if stamps(entries).any(|stamp| stamp.incarnation != serving.world.incarnation()) {
            return None;
        }
        let target = batch_target(&serving.world, stamps(entries));
        let now = self.feed.clock().now();
        Some(judge_batch(&serving.world, target, stamps(entries), now))
    }

    async fn refill(
        &self,
        serving: &Arc<Serving>,
        read: &Read,
        deadline: Instant,
    ) -> Result<(Arc<Entry>, Source), ReadError> {
        let entitlement = Entitlement::applied(&serving.world);
        self.fill(serving, &entitlement, read, deadline).await
    }

    async fn afresh(&self, reads: &[Read], deadline: Instant) -> Result<BatchAnswer, ReadError> {
        let statements = match self.fence_midway(Level::FullyConsistent, deadline).await? {
            Entitled::Serving(serving, ..) => Arc::clone(&serving.statements),
            Entitled::Bypass(statements) => statements,
        };
        self.in_one_statement(reads, &statements, deadline).await
    }

    /// Fills everything in one snapshot: one state by itself.
    async fn in_one_statement(
        &self,
        reads: &[Read],
        statements: &Arc<Statements>,
        deadline: Instant,
    ) -> Result<BatchAnswer, ReadError> {
        self.metrics.batch_rounds_total[BatchRounds::OneStatement].inc();
        let sent = self.feed.clock().now();
        let asked: Vec<_> = reads.iter().map(|read| (read.view, read.params.as_slice())).collect();
        let filled = self
            .patiently(
                deadline,
                self.fills
                    .fill_many(statements, &asked)
                    .instrument(spans::fill("batch", asked.len())),
            )
            .await?;
        let filled = filled.map_err(|error| ReadError::Fill(Arc::new(error)))?;
        let entries: Vec<_> = reads
            .iter()
            .zip(filled)
            .map(|(read, filled)| Arc::new(self.entry(read, filled, sent)))
            .collect();
        let stamp = entries
            .first()
            .map(|entry| (entry.stamp.incarnation, entry.stamp.as_of))
            .unwrap_or_default();
        let token = Token {
            incarnation: stamp.0,
            position: stamp.1,
        };
        Ok(BatchAnswer {
            sources: vec![Source::Fill; entries.len()],
            entries,
            token,
            kept: Level::FullyConsistent,
        })
    }
}

fn stamps(entries: &[Arc<Entry>]) -> impl Iterator<Item = &Stamp> {
    entries.iter().map(|entry| &entry.stamp)
}

fn one_state(serving: &Serving, (entries, sources): Found, position: Position, kept: Level) -> BatchAnswer {
    let token = Token {
        incarnation: serving.world.incarnation(),
        position,
    };
    BatchAnswer {
        entries,
        sources,
        token,
        kept,
    }
}
