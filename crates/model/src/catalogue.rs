//! Which proof carries which safeguard: what must find a violation once the safeguard is gone.

use std::fmt;

use neverstale_coherence::Safeguard;

/// What refutes the protocol without a safeguard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The scenario of the model with this name.
    Model(&'static str),
    /// Two threads at the world's atomics, since the model's steps are larger than theirs.
    Race,
    /// A history on a real Postgres, in `crates/cache/tests/mutants/main.rs`; the test is called like the safeguard.
    History,
}

impl fmt::Display for Proof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(scenario) => write!(formatter, "model, `{scenario}`"),
            Self::Race => write!(formatter, "race"),
            Self::History => write!(formatter, "history"),
        }
    }
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
        | Safeguard::BeginAnew => History,
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
        Safeguard::BootId | Safeguard::ForeignFence | Safeguard::StampIncarnation => Model("failover"),
        Safeguard::ForeignPage => Model("batches-over"),
        Safeguard::PrunedTo
        | Safeguard::PageEnd
        | Safeguard::FloorRaised
        | Safeguard::BroadcastGap
        | Safeguard::BroadcastSeal
        | Safeguard::TableTag
        | Safeguard::Floor
        | Safeguard::L2Judged
        | Safeguard::L2Key
        | Safeguard::L2Incarnation => Model("pair"),
        Safeguard::BroadcastIncarnation => Model("echoes"),
        Safeguard::FloorFirst | Safeguard::AppliedLast => Race,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SCENARIOS;

    #[test]
    fn the_protocol_names_the_proof_of_each_safeguard() {
        let protocol = include_str!("../../../docs/PROTOCOL.md");
        for safeguard in Safeguard::ALL {
            let row = format!("| {} |", proof(*safeguard));
            let name = format!("`{}`", safeguard.name());
            let mut rows = protocol.lines().filter(|line| line.contains(&name));
            assert!(rows.any(|line| line.starts_with(&row)), "{name}: {row}");
        }
    }

    #[test]
    fn a_proof_by_the_model_names_a_scenario() {
        for safeguard in Safeguard::ALL {
            if let Proof::Model(name) = proof(*safeguard) {
                assert!(SCENARIOS.iter().any(|scenario| scenario.name == name), "{name}");
            }
        }
    }

    #[test]
    fn a_history_is_called_like_its_safeguard() {
        let histories = [
            include_str!("../../cache/tests/mutants/publishing.rs"),
            include_str!("../../cache/tests/mutants/committing.rs"),
            include_str!("../../cache/tests/mutants/incarnations.rs"),
        ];
        for safeguard in Safeguard::ALL {
            let test = format!("async fn {}()", safeguard.name().replace('-', "_"));
            let is_there = histories.iter().any(|histories| histories.contains(&test));
            assert_eq!(is_there, proof(*safeguard) == Proof::History, "{test}");
        }
    }
}
