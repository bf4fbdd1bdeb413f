//! The one rule that decides whether an entry may be served, for L1, L2, joined fills and batches alike (PROTOCOL §3, §5).
//!
//! A read is entitled first and looks up afterwards; [`Entitlement`] is the proof that it did, and the judge wants to see it.

use crate::{Exceptions, Incarnation, Moment, Position, Safeguard, Tag, World, safeguard::stands};

/// What an entry says about itself: whose positions it uses, the state it shows, what can change it, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The incarnation that the filling statement named.
    pub incarnation: Incarnation,
    /// `max(position)` of `log`, from the same snapshot as the value.
    pub as_of: Position,
    /// Everything that can change the value: the view's tags and its tables' table-wide tags.
    pub tags: Box<[Tag]>,
    /// When the answer changes by time alone; counted from before the filling statement was sent.
    pub not_after: Option<Moment>,
}

/// What a read may rest on, taken after the read arrived and before it looks anything up [17].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entitlement {
    /// The log was applied at least this far when the entitlement was taken.
    pub(crate) applied: Position,
    /// Tags that a writer may be about to change: entries with one of them need a fence of their own.
    pub(crate) except: Exceptions,
}

impl Entitlement {
    /// Rests on everything that `world` has applied by now: right after a fence whose position has been reached, a
    /// token that has been reached, or within a staleness bound.
    pub fn applied(world: &World) -> Self {
        Self {
            applied: world.applied(),
            except: Exceptions::none(),
        }
    }

    /// Rests on a lease that is valid now, with the tags that it does not cover.
    pub fn leased(world: &World, except: Exceptions) -> Self {
        Self {
            applied: world.applied(),
            except,
        }
    }

    /// Gives the position that was applied when the entitlement was taken.
    pub fn position(&self) -> Position {
        self.applied
    }

    /// Gives the position that the token of an answer names, whose entry shows the state `as_of`: whichever is further.
    pub fn token_position(&self, as_of: Position) -> Position {
        if stands(Safeguard::TokenCoversEntry) {
            self.applied.max(as_of)
        } else {
            self.applied
        }
    }
}

/// What the rule says of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Validity {
    /// The entry equals what Postgres would answer.
    Valid,
    /// A tag was invalidated after the entry's state, or the table of tags does not reach back to it.
    Stale,
    /// Time alone has changed the answer.
    Expired,
    /// The entry was made under another incarnation.
    Foreign,
    /// The lease does not cover one of the entry's tags: take a fence and judge again.
    NeedsFence,
}

impl World {
    /// Judges an entry for a read that holds `entitlement`, at `now`.
    ///
    /// The order matters: `floor` is read after the tags, so that whoever raises it first and forgets tags later can't be
    /// overtaken [17]. Costs one atomic load a tag and takes no lock.
    pub fn judge(&self, entitlement: &Entitlement, stamp: &Stamp, now: Moment) -> Validity {
        debug_assert!(
            self.applied() >= entitlement.applied,
            "a world never forgets what it has applied"
        );
        if stamp.incarnation != self.incarnation() && stands(Safeguard::StampIncarnation) {
            return Validity::Foreign;
        }
        if stamp.not_after.is_some_and(|end| !now.is_before(end)) && stands(Safeguard::NotAfter) {
            return Validity::Expired;
        }
        let is_invalidated = stamp.tags.iter().any(|tag| self.last_invalidation(*tag) > stamp.as_of);
        if is_invalidated && stands(Safeguard::TagsJudged) {
            return Validity::Stale;
        }
        if stamp.as_of < self.floor() && stands(Safeguard::Floor) {
            return Validity::Stale;
        }
        if entitlement.except.touches(&stamp.tags) {
            return Validity::NeedsFence;
        }
        Validity::Valid
    }
}
