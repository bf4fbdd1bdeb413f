//! Which proof carries which safeguard: what must find a violation once the safeguard is gone.

use neverstale_coherence::Safeguard;

/// What refutes the protocol without a safeguard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The scenario of the model with this name.
    Model(&'static str),
    /// Two threads at the world's atomics, since the model's steps are larger than theirs.
    Race,
    /// A history on real servers, in the package with this name; the test is called like the safeguard.
    History(&'static str),
}

/// Names the proof of a safeguard.
pub const fn proof(safeguard: Safeguard) -> Proof {
    use Proof::{History, Model, Race};
    match safeguard {
        Safeguard::OldTags
        | Safeguard::BinaryImage
        | Safeguard::EnableAlways
        | Safeguard::TruncatePublished
        | Safeguard::WideWhenUnsure
        | Safeguard::WideBeyondCap
        | Safeguard::SecondStage
        | Safeguard::WaitWithoutSnapshot
        | Safeguard::NewPosition
        | Safeguard::DrainBeforeRaise
        | Safeguard::OutwaitBeforeLower
        | Safeguard::TriggerEpoch
        | Safeguard::RegressedPosition
        | Safeguard::RegressedIntent
        | Safeguard::BeginAnew => History("neverstale-cache"),
        Safeguard::CommitWait
        | Safeguard::MarkBeforeIntent
        | Safeguard::EveryTagMarked
        | Safeguard::FirstIntent
        | Safeguard::IntentHeeded
        | Safeguard::LeaseMargin
        | Safeguard::LeaseFromBefore
        | Safeguard::LeaseExceptions
        | Safeguard::LeaseOnceApplied
        | Safeguard::IntentBeforeLocks
        | Safeguard::LocksBeforePosition
        | Safeguard::UnnamedWriter
        | Safeguard::OutstandingHeeded => Model("leases"),
        Safeguard::SettledOnceApplied => Model("settlements"),
        Safeguard::EverythingMarked => Model("floods"),
        Safeguard::CommitWaitSlices => Model("steps"),
        Safeguard::BootClock | Safeguard::RawClock => Model("clocks"),
        Safeguard::NotAfter => Model("expiry"),
        Safeguard::StalenessBound => Model("staleness"),
        Safeguard::OrderLock
        | Safeguard::Entitlement
        | Safeguard::EntitlementFirst
        | Safeguard::NextFence
        | Safeguard::FenceApplied
        | Safeguard::JoinJudged
        | Safeguard::AsOfSnapshot
        | Safeguard::TagsJudged => Model("reads"),
        Safeguard::BatchTarget => Model("batches"),
        Safeguard::TokenIncarnation | Safeguard::TokenCoversEntry => Model("tokens"),
        Safeguard::BootId | Safeguard::ForeignFence | Safeguard::ForeignPage | Safeguard::StampIncarnation => {
            Model("failover")
        }
        Safeguard::PrunedTo
        | Safeguard::PageEnd
        | Safeguard::FloorRaised
        | Safeguard::BroadcastGap
        | Safeguard::BroadcastIncarnation
        | Safeguard::BroadcastSeal
        | Safeguard::TableTag
        | Safeguard::Floor
        | Safeguard::L2Judged
        | Safeguard::L2Key
        | Safeguard::L2Incarnation => Model("fleet"),
        Safeguard::FloorFirst | Safeguard::AppliedLast => Race,
    }
}
