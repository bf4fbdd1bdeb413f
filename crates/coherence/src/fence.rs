//! Asking how far the world is: what a fence's answer means, and whose fence a read may share (PROTOCOL §4–§6).

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{Exceptions, Incarnation, Intent, Lease, Moment, Position, Safeguard, World, lease_end, safeguard::stands};

/// What was true when a fence was sent, noted before it was queued for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FenceSent {
    /// t₀ of the lease that the fence may grant.
    pub at: Moment,
    /// How far the log was applied.
    pub applied: Position,
}

/// What the primary answered, all from one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FenceAnswer {
    /// Who answered.
    pub incarnation: Incarnation,
    /// The newest intent that has been drawn.
    pub intent: Intent,
    /// The length of a lease; zero when every read is to be fenced.
    pub lease: Duration,
    /// The newest position that is visible.
    pub position: Position,
}

/// Why positions can no longer be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Foreign {
    /// Another incarnation answered: restart, failover, restore, another server, other triggers [1, 8, 14].
    Incarnation,
    /// The same incarnation answered a position behind what had been applied, or an intent behind what is settled: somebody
    /// has set a sequence back or deleted from the log [2].
    Regressed,
}

/// What a fence's answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FenceVerdict {
    /// Drop both tiers and begin a new world.
    Foreign(Foreign),
    /// Apply the log up to `position`; then the reads that waited are entitled, and `lease`, if there is one, counts.
    Follow {
        /// Where the world must be before anything of this answer counts [11].
        position: Position,
        /// The lease that was granted; none when an intent is outstanding or leases are off.
        lease: Option<Lease>,
        /// An intent is outstanding: look which writers hold it, and grant what they leave.
        settle: bool,
    },
}

/// Judges a fence's answer; `settled` is the intent up to which all are finished.
pub fn judge_fence(world: &World, settled: Intent, sent: FenceSent, answer: &FenceAnswer) -> FenceVerdict {
    if answer.incarnation != world.incarnation() && stands(Safeguard::ForeignFence) {
        return FenceVerdict::Foreign(Foreign::Incarnation);
    }
    let is_position_behind = answer.position < sent.applied && stands(Safeguard::RegressedPosition);
    let is_intent_behind = answer.intent < settled && stands(Safeguard::RegressedIntent);
    if is_position_behind || is_intent_behind {
        return FenceVerdict::Foreign(Foreign::Regressed);
    }
    let is_leased = answer.lease > Duration::ZERO;
    let is_quiet = answer.intent <= settled || !stands(Safeguard::IntentHeeded);
    let lease = (is_leased && is_quiet).then(|| Lease {
        end: lease_end(sent.at, answer.lease),
        except: Exceptions::none(),
    });
    FenceVerdict::Follow {
        position: answer.position,
        lease,
        settle: is_leased && !is_quiet,
    }
}

/// The number of a fence, in the order in which they are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round(pub u64);

/// Counts fences, so that a read shares only one that was sent after the read arrived.
#[derive(Debug, Default)]
pub struct Rounds {
    started: AtomicU64,
}

impl Rounds {
    /// Gives the first round that may serve a read that arrives now: the one after any that is in flight [17].
    pub fn next(&self) -> Round {
        Round(self.started.load(Ordering::SeqCst) + u64::from(stands(Safeguard::NextFence)))
    }

    /// Starts a round; to be called before its question is queued for a connection.
    pub fn start(&self) -> Round {
        Round(self.started.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// What a consistency token means to a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenVerdict {
    /// The world has reached the token.
    Reached,
    /// The world is behind it: take one fence, and if that does not help, refuse [20].
    Behind,
    /// The token is of another incarnation: treat the read as fully consistent.
    Foreign,
}

/// Compares a token with what has been applied.
pub fn judge_token(world: &World, incarnation: Incarnation, position: Position) -> TokenVerdict {
    if incarnation != world.incarnation() && stands(Safeguard::TokenIncarnation) {
        TokenVerdict::Foreign
    } else if world.applied() >= position {
        TokenVerdict::Reached
    } else {
        TokenVerdict::Behind
    }
}

/// Says whether a read may do without a fence under a staleness bound: `last` is t₀ of the last fence whose position has
/// been applied, never the time of any other reply [20].
pub fn within_bound(last: Option<Moment>, now: Moment, bound: Duration) -> bool {
    last.is_some_and(|sent| now.since(sent) <= bound || !stands(Safeguard::StalenessBound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TagTable;

    const INCARNATION: Incarnation = Incarnation([1; 16]);
    const LEASE: Duration = Duration::from_millis(50);

    fn world() -> World {
        World::new(INCARNATION, Position(10), TagTable::new(1))
    }

    fn answer(intent: u64, position: u64) -> FenceAnswer {
        FenceAnswer {
            incarnation: INCARNATION,
            intent: Intent(intent),
            lease: LEASE,
            position: Position(position),
        }
    }

    const SENT: FenceSent = FenceSent {
        at: Moment {
            boot: Duration::ZERO,
            raw: Duration::ZERO,
        },
        applied: Position(10),
    };

    #[test]
    fn a_lease_is_granted_only_when_every_intent_is_settled() {
        let granted = judge_fence(&world(), Intent(5), SENT, &answer(5, 12));
        let end = lease_end(SENT.at, LEASE);
        let lease = Some(Lease {
            end,
            except: Exceptions::none(),
        });
        assert_eq!(
            granted,
            FenceVerdict::Follow {
                position: Position(12),
                lease,
                settle: false
            }
        );
        let refused = judge_fence(&world(), Intent(5), SENT, &answer(6, 12));
        assert_eq!(
            refused,
            FenceVerdict::Follow {
                position: Position(12),
                lease: None,
                settle: true
            }
        );
    }

    #[test]
    fn a_position_behind_what_was_applied_when_the_fence_was_sent_is_another_world() {
        assert_eq!(
            judge_fence(&world(), Intent(5), SENT, &answer(5, 9)),
            FenceVerdict::Foreign(Foreign::Regressed)
        );
        let sent_earlier = FenceSent {
            applied: Position(8),
            ..SENT
        };
        let verdict = judge_fence(&world(), Intent(5), sent_earlier, &answer(5, 9));
        assert!(
            matches!(verdict, FenceVerdict::Follow { .. }),
            "an answer overtaken by the log is only late"
        );
    }

    #[test]
    fn an_intent_behind_what_is_settled_grants_nothing() {
        assert_eq!(
            judge_fence(&world(), Intent(5), SENT, &answer(4, 12)),
            FenceVerdict::Foreign(Foreign::Regressed)
        );
    }

    #[test]
    fn a_read_never_shares_the_fence_in_flight() {
        let rounds = Rounds::default();
        let in_flight = rounds.start();
        let mine = rounds.next();
        assert!(in_flight < mine);
        assert_eq!(
            rounds.start(),
            mine,
            "but the next one is shared by all that arrive meanwhile"
        );
    }

    #[test]
    fn a_token_of_another_incarnation_is_not_compared() {
        let world = world();
        assert_eq!(judge_token(&world, INCARNATION, Position(10)), TokenVerdict::Reached);
        assert_eq!(judge_token(&world, INCARNATION, Position(11)), TokenVerdict::Behind);
        assert_eq!(
            judge_token(&world, Incarnation([2; 16]), Position(1)),
            TokenVerdict::Foreign
        );
    }
}
