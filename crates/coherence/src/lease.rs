//! Until when reads need no fence, and which tags that does not cover (PROTOCOL §6).
//!
//! A commit becomes visible no earlier than its intent plus the commit wait. A lease begins before the question was sent
//! that found no outstanding intent, so it ends before any commit that the question could not see.

use std::{sync::Arc, time::Duration};

use crate::{Mark, Moment, Safeguard, Tag, safeguard::stands};

/// The part of a lease that is never used: clocks may be steered by 8 % on either side [15].
pub const LEASE_MARGIN_PERCENT: u32 = 20;

/// The instant at which a lease ends that was asked for at `sent`, before the question was queued for its connection.
pub fn lease_end(sent: Moment, lease: Duration) -> Moment {
    let margin = if stands(Safeguard::LeaseMargin) {
        LEASE_MARGIN_PERCENT
    } else {
        0
    };
    sent.plus(lease * (100 - margin) / 100)
}

/// Tags that a lease does not cover, by their marks, since a writer holds them already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Exceptions(Option<Arc<[Mark]>>);

impl Exceptions {
    /// Excepts nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Excepts every tag with one of these marks.
    pub fn marks(mut marks: Vec<Mark>) -> Self {
        marks.sort_unstable();
        marks.dedup();
        Self((!marks.is_empty()).then(|| marks.into()))
    }

    /// Says whether nothing is excepted.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Says whether one of `tags` is excepted.
    pub fn touches(&self, tags: &[Tag]) -> bool {
        let Some(marks) = &self.0 else { return false };
        stands(Safeguard::LeaseExceptions) && tags.iter().any(|tag| marks.binary_search(&tag.mark()).is_ok())
    }
}

/// A span in which reads may rest on what is applied, without asking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The lease is over when either clock reaches this.
    pub end: Moment,
    /// What it does not cover.
    pub except: Exceptions,
}

impl Lease {
    /// A lease that is over.
    pub fn over() -> Self {
        Self::default()
    }

    /// Says whether reads may rest on the lease at `now`.
    pub fn is_valid_at(&self, now: Moment) -> bool {
        now.is_before(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(50);

    #[test]
    fn a_lease_ends_a_fifth_early_on_whichever_clock_gets_there_first() {
        let sent = Moment {
            boot: Duration::from_secs(100),
            raw: Duration::from_secs(7),
        };
        let lease = Lease {
            end: lease_end(sent, LEASE),
            except: Exceptions::none(),
        };
        let late = |boot, raw| Moment {
            boot: sent.boot + Duration::from_millis(boot),
            raw: sent.raw + Duration::from_millis(raw),
        };
        assert!(lease.is_valid_at(late(39, 39)));
        assert!(
            !lease.is_valid_at(late(40, 10)),
            "suspended: only the boot clock has moved"
        );
        assert!(
            !lease.is_valid_at(late(10, 40)),
            "steered slow: only the raw clock has moved"
        );
    }

    #[test]
    fn a_lease_of_nothing_is_over_at_once() {
        let now = Moment::default().plus(LEASE);
        assert!(
            !Lease {
                end: lease_end(now, Duration::ZERO),
                except: Exceptions::none()
            }
            .is_valid_at(now)
        );
        assert!(!Lease::over().is_valid_at(Moment::default()));
    }
}
