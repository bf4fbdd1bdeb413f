//! What a read may rest on, by the level that it asks for (PROTOCOL §5, rule 1).

use std::sync::Arc;

use neverstale_changefeed::{FeedError, Serving, Standing};
use neverstale_coherence::{Entitlement, Safeguard, TokenVerdict, judge_token, safeguard::stands};
use neverstale_postgres::Statements;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{Cache, Level, spans};

/// A read that may look up, or must pass through.
pub(crate) enum Entitled {
    /// Look up in this world; the level is the one really kept.
    Serving(Arc<Serving>, Entitlement, Level),
    /// The triggers can't be relied on: ask Postgres.
    Bypass(Arc<Statements>),
}

impl Cache {
    /// Entitles a read at once, where that needs no question.
    pub(crate) fn entitled_now(&self, serving: &Serving, level: Level) -> Option<Entitlement> {
        match level {
            _ if !stands(Safeguard::Entitlement) => Some(Entitlement::applied(&serving.world)),
            Level::FullyConsistent | Level::FullyConsistentOrBounded => self.feed.leased(serving),
            Level::AtLeastAsFresh(token) => {
                let verdict = judge_token(&serving.world, token.incarnation, token.position);
                (verdict == TokenVerdict::Reached).then(|| Entitlement::applied(&serving.world))
            }
            Level::MinimizeLatency => self.feed.bounded(serving),
        }
    }

    /// Entitles a read, by a fence where nothing else does.
    pub(crate) async fn entitle(&self, level: Level, deadline: Instant) -> Result<Entitled, FeedError> {
        match &**self.feed.standing() {
            Standing::Bypass { statements, .. } => return Ok(Entitled::Bypass(Arc::clone(statements))),
            Standing::Serving(serving) => {
                if let Some(entitlement) = self.entitled_now(serving, level) {
                    return Ok(Entitled::Serving(Arc::clone(serving), entitlement, level));
                }
            }
            Standing::Down(_) => {}
        }
        let asked = match level {
            Level::AtLeastAsFresh(token) => self.feed.at_least(token, deadline).instrument(spans::fence()).await,
            _ => self.feed.fence(deadline).instrument(spans::fence()).await,
        };
        match asked {
            Ok((serving, entitlement)) => {
                // Who accepts staleness, or holds a token that says nothing here, gets better when only a question can tell.
                let kept = match level {
                    Level::MinimizeLatency => Level::FullyConsistent,
                    Level::AtLeastAsFresh(token) if token.incarnation != serving.world.incarnation() => {
                        Level::FullyConsistent
                    }
                    _ => level,
                };
                Ok(Entitled::Serving(serving, entitlement, kept))
            }
            Err(error) => self.without_a_fence(level, error),
        }
    }

    /// Takes a fence in the midst of a read, for what its lease does not cover. Whoever finds then that the triggers can't be relied on any
    /// more passes through, as at the beginning: an upgrade that changes the installation refuses nobody.
    pub(crate) async fn fence_midway(&self, level: Level, deadline: Instant) -> Result<Entitled, FeedError> {
        match self.feed.fence(deadline).instrument(spans::fence()).await {
            Ok((serving, entitlement)) => Ok(Entitled::Serving(serving, entitlement, level)),
            Err(error) => self.without_a_fence(level, error),
        }
    }

    /// The primary did not answer: pass through if that is how it stands now, or weaken if the read allowed it.
    fn without_a_fence(&self, level: Level, error: FeedError) -> Result<Entitled, FeedError> {
        match &**self.feed.standing() {
            Standing::Bypass { statements, .. } => return Ok(Entitled::Bypass(Arc::clone(statements))),
            Standing::Serving(serving) if level == Level::FullyConsistentOrBounded => {
                if let Some(entitlement) = self.feed.bounded(serving) {
                    return Ok(Entitled::Serving(
                        Arc::clone(serving),
                        entitlement,
                        Level::MinimizeLatency,
                    ));
                }
            }
            _ => {}
        }
        Err(error)
    }
}
