//! The safeguards of the protocol by name, so that a proof can take one away and see an old answer.
//!
//! Whatever keeps an answer from being old has a name here and stands at its place in the code as `safeguard::stands(…)`.
//! That is `true`, known to the compiler and gone from what it builds, unless the feature `mutants` is on; nothing that
//! is shipped turns it on. With it, [`take_away`] removes safeguards from this process: a model or a history that still
//! finds nothing proves nothing. docs/PROTOCOL.md says which proof carries which safeguard.

macro_rules! safeguards {
    ($($(#[doc = $doc:literal])+ $safeguard:ident = $name:literal,)+) => {
        /// A rule of docs/PROTOCOL.md without which some read is old; the number in brackets is its history in §12.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Safeguard {
            $($(#[doc = $doc])+ $safeguard,)+
        }

        impl Safeguard {
            /// All of them, in the order of the protocol.
            pub const ALL: &'static [Self] = &[$(Self::$safeguard),+];

            /// Gives the name by which it is taken away.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$safeguard => $name,)+
                }
            }
        }
    };
}

safeguards! {
    // Stage one, in SQL.
    /// The tags of OLD are published beside those of NEW [16]. In the collecting functions.
    OldTags = "old-tags",
    /// WHEN compares the binary image and not for equality [6]. In the triggers.
    BinaryImage = "binary-image",
    /// Triggers are ENABLE ALWAYS, so that writes of a replica publish too. In the triggers.
    EnableAlways = "enable-always",
    /// TRUNCATE publishes the table-wide tag [8]. In the collecting functions.
    TruncatePublished = "truncate-published",
    /// Tags that can't be reckoned publish the table-wide tag [23]. In the collecting functions.
    WideWhenUnsure = "wide-when-unsure",
    /// Beyond the cap of tags the table-wide tag is published. In the collecting functions.
    WideBeyondCap = "wide-beyond-cap",

    // Stage two, in SQL.
    /// Publishing comes behind whatever else is deferred, so that no lock is held in mid-transaction [18]. In `publish`.
    SecondStage = "second-stage",
    /// The commit wait is read without a snapshot [4]. In `publish`.
    WaitWithoutSnapshot = "wait-without-snapshot",
    /// A commit waits between its intent and being visible. In `publish`.
    CommitWait = "commit-wait",
    /// The wait is slept in slices, and one more than needed, because the wall clock may be stepped [5]. In `publish`.
    CommitWaitSlices = "commit-wait-slices",
    /// Marks are taken before the intent is drawn [11]. In `publish`.
    MarkBeforeIntent = "mark-before-intent",
    /// All tags of a transaction are marked, not the first alone [10]. In `publish`.
    EveryTagMarked = "every-tag-marked",
    /// More tags than can be marked one by one are marked as everything [10]. In `publish`.
    EverythingMarked = "everything-marked",
    /// A drawn intent can be told from none [3]. In the model's sequences.
    FirstIntent = "first-intent",
    /// One watched commit at a time draws its position and becomes visible. In `publish`.
    OrderLock = "order-lock",
    /// A position that is not new is refused [2]. In `publish`.
    NewPosition = "new-position",
    /// Raising the lease outwaits the writers that go by the old wait [4]. In `set_lease`.
    DrainBeforeRaise = "drain-before-raise",
    /// Lowering the lease waits the old one out before the wait follows [4]. In `set_lease`.
    OutwaitBeforeLower = "outwait-before-lower",

    // Whose positions these are.
    /// The id of the boot is part of the incarnation: a crash begins another [1]. In the statements.
    BootId = "boot-id",
    /// The state of all triggers is part of the incarnation [8]. In the statements.
    TriggerEpoch = "trigger-epoch",
    /// An answer of another incarnation is not compared [1, 14]. In `judge_fence`.
    ForeignFence = "foreign-fence",
    /// A page of the log of another incarnation is not applied [14]. In `judge_page`.
    ForeignPage = "foreign-page",
    /// A position behind what was applied is another world [2]. In `judge_fence`, `judge_page` and `resumes`.
    RegressedPosition = "regressed-position",
    /// An intent behind what is settled is another world [2]. In `judge_fence`.
    RegressedIntent = "regressed-intent",
    /// After a regress the database begins another incarnation, so that entries of the undone time are foreign [2]. In `begin`.
    BeginAnew = "begin-anew",

    // The log, and the word of others.
    /// A page that lacks pruned rows is not taken for whole [13]. In `judge_page`.
    PrunedTo = "pruned-to",
    /// A page that was cut short is complete up to its last row only. In `judge_page`.
    PageEnd = "page-end",
    /// Jumping over rows raises `floor` [13]. In `World::skip_to`.
    FloorRaised = "floor-raised",
    /// Jumping over rows raises `floor` before `applied` [17]. In `World::skip_to`.
    FloorFirst = "floor-first",
    /// Folding rows in moves `applied` after the tags [17]. In `World::apply`.
    AppliedLast = "applied-last",
    /// A broadcast that leaves a gap is not applied [12]. In `judge_broadcast`.
    BroadcastGap = "broadcast-gap",
    /// A broadcast of another incarnation is not applied [12]. In `judge_broadcast`.
    BroadcastIncarnation = "broadcast-incarnation",
    /// A broadcast that is not sealed is a bell and nothing more [12]. In the codec of broadcasts.
    BroadcastSeal = "broadcast-seal",

    // The lease.
    /// A fence that sees an outstanding intent grants no full lease. In `judge_fence`.
    IntentHeeded = "intent-heeded",
    /// A lease ends a fifth early, since clocks are steered [15]. In `lease_end`.
    LeaseMargin = "lease-margin",
    /// A lease is counted from before its question. In the feed's fence.
    LeaseFromBefore = "lease-from-before",
    /// A lease ends on the clock that counts suspends [15]. In `Moment::is_before`.
    BootClock = "boot-clock",
    /// A lease ends on the clock that nobody steers [15]. In `Moment::is_before`.
    RawClock = "raw-clock",
    /// A lease does not cover the tags of outstanding writers [10]. In `Exceptions::touches`.
    LeaseExceptions = "lease-exceptions",
    /// A lease that a settlement grants counts once the settlement's position is applied [11]. In the feed's settlement.
    LeaseOnceApplied = "lease-once-applied",
    /// The newest intent is read before the locks [11]. In the model's settlement.
    IntentBeforeLocks = "intent-before-locks",
    /// The position is read after the locks [11]. In the model's settlement.
    LocksBeforePosition = "locks-before-position",
    /// Intents are settled once the position is applied that was read after the locks [11]. In `SettleVerdict::settle`.
    SettledOnceApplied = "settled-once-applied",
    /// Nothing is settled while a holder of the mark has no intent's lock [19]. In `judge_settle`.
    UnnamedWriter = "unnamed-writer",
    /// Intents below the newest one are outstanding while their locks are held [11]. In `judge_settle`.
    OutstandingHeeded = "outstanding-heeded",

    // A read.
    /// A read rests on a lease, or on a fence that was sent after it arrived. In the cache's entitlement.
    Entitlement = "entitlement",
    /// A read is entitled before it looks up [17]. In the model's reader.
    EntitlementFirst = "entitlement-first",
    /// A read never shares the fence under way [17]. In `Rounds::next`.
    NextFence = "next-fence",
    /// A fence entitles once its position is applied. In the feed's fence.
    FenceApplied = "fence-applied",
    /// Who accepts staleness accepts it within a bound [20]. In `within_bound`.
    StalenessBound = "staleness-bound",
    /// A token of another incarnation is not compared [20]. In `judge_token`.
    TokenIncarnation = "token-incarnation",
    /// The token of an answer covers the answer's own state [7]. In the cache's answer.
    TokenCoversEntry = "token-covers-entry",
    /// A fill that was joined is judged by the joining read. In the cache's fill.
    JoinJudged = "join-judged",
    /// `as_of` comes from the value's own snapshot [14]. In the statements.
    AsOfSnapshot = "as-of-snapshot",
    /// A batch is judged at the newest of its states [7]. In `batch_target`.
    BatchTarget = "batch-target",

    // The rule.
    /// An entry is not valid when one of its tags was invalidated after its state. In `World::judge`.
    TagsJudged = "tags-judged",
    /// An entry carries the table-wide tags of its tables. In the fill.
    TableTag = "table-tag",
    /// An entry from before `floor` is not valid. In `World::judge`.
    Floor = "floor",
    /// An entry of another incarnation is not valid [12]. In `World::judge`.
    StampIncarnation = "stamp-incarnation",
    /// An entry whose time has come is not valid [25]. In `World::judge`.
    NotAfter = "not-after",
    /// What comes from L2 is judged like anything else. In the cache's look into L2.
    L2Judged = "l2-judged",
    /// A value in L2 is bound to its view and key [12]. In the codec of L2.
    L2Key = "l2-key",
    /// A value in L2 is bound to its incarnation [12]. In the codec of L2.
    L2Incarnation = "l2-incarnation",
}

impl Safeguard {
    /// Finds a safeguard by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|safeguard| safeguard.name() == name)
    }
}

/// Says whether `safeguard` is in its place: always, but for a build that is made to be refuted.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn stands(_safeguard: Safeguard) -> bool {
    true
}

/// Says whether `safeguard` is in its place.
#[cfg(feature = "mutants")]
#[inline]
pub fn stands(safeguard: Safeguard) -> bool {
    !mutants::TAKEN_AWAY[safeguard as usize].load(std::sync::atomic::Ordering::Relaxed)
}

#[cfg(feature = "mutants")]
pub use mutants::take_away;

#[cfg(feature = "mutants")]
mod mutants {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::Safeguard;

    /// Process-wide, because a mutant is a property of what is built and not of one of its parts.
    pub(super) static TAKEN_AWAY: [AtomicBool; Safeguard::ALL.len()] =
        [const { AtomicBool::new(false) }; Safeguard::ALL.len()];

    /// Takes these safeguards away from this process, and puts all others back.
    pub fn take_away(safeguards: &[Safeguard]) {
        for safeguard in Safeguard::ALL {
            TAKEN_AWAY[*safeguard as usize].store(safeguards.contains(safeguard), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_safeguard_has_a_name_of_its_own_and_is_found_by_it() {
        let names: BTreeSet<_> = Safeguard::ALL.iter().map(|safeguard| safeguard.name()).collect();
        assert_eq!(names.len(), Safeguard::ALL.len());
        assert!(
            Safeguard::ALL
                .iter()
                .all(|safeguard| Safeguard::from_name(safeguard.name()) == Some(*safeguard))
        );
        assert_eq!(Safeguard::from_name("hope"), None);
    }

    #[test]
    fn all_stand_where_nothing_is_taken_away() {
        assert!(Safeguard::ALL.iter().all(|safeguard| stands(*safeguard)));
    }
}
