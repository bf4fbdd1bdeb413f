//! Without a safeguard some seed fails, and it fails again in the same words: the simulation can find what it looks for.
//!
//! Built with the feature `mutants` only. One test, because a safeguard is taken away from the whole process.
#![cfg(feature = "mutants")]

use neverstale_coherence::safeguard::{Safeguard, take_away};
use neverstale_simulation::{flavour, run, run_many};

/// Seeds in which a mutant must be found.
const SEEDS: u64 = 1_000;

const MUTANTS: [Safeguard; 30] = [
    Safeguard::CommitWait,
    Safeguard::IntentHeeded,
    Safeguard::LeaseExceptions,
    Safeguard::LeaseOnceApplied,
    Safeguard::OutstandingHeeded,
    Safeguard::EveryTagMarked,
    Safeguard::Entitlement,
    Safeguard::NextFence,
    Safeguard::FenceApplied,
    Safeguard::JoinJudged,
    Safeguard::AsOfSnapshot,
    Safeguard::BatchTarget,
    Safeguard::TagsJudged,
    Safeguard::OldTags,
    Safeguard::L2Judged,
    Safeguard::L2Key,
    Safeguard::BootClock,
    Safeguard::RawClock,
    Safeguard::BootId,
    Safeguard::TriggerEpoch,
    Safeguard::ForeignFence,
    Safeguard::StampIncarnation,
    Safeguard::StalenessBound,
    Safeguard::UnnamedWriter,
    Safeguard::OrderLock,
    Safeguard::CommitWaitSlices,
    Safeguard::Floor,
    Safeguard::FloorRaised,
    Safeguard::BroadcastGap,
    Safeguard::L2Incarnation,
];

#[test]
fn a_safeguard_that_is_taken_away_is_missed_and_the_seed_that_misses_it_replays() {
    for safeguard in MUTANTS {
        take_away(&[safeguard]);
        let summary = run_many(1, SEEDS, 1);
        let Some((seed, violations)) = summary.failures.first_key_value() else {
            panic!("without {}, none of {SEEDS} seeds failed", safeguard.name());
        };
        let (once, again) = (run(*seed, &flavour()), run(*seed, &flavour()));
        assert_eq!(once.violations, *violations, "seed {seed} without {}", safeguard.name());
        assert_eq!(once.story, again.story, "seed {seed} without {}", safeguard.name());
        take_away(&[]);
        let whole = run(*seed, &flavour());
        assert!(
            whole.violations.is_empty(),
            "seed {seed} fails by itself: {:?}",
            whole.violations
        );
    }
}
