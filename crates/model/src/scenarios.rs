//! The scenarios: each looks at one part of the protocol, as large as can be explored to its end.

use crate::{
    reach::Reach,
    scenario::{BOTH, FIRST, Fault, Level, SECOND, Scenario, TABLE},
};

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "leases",
        about: "writers at every step, abort included; leases, settlements and exceptions",
        states: 322_454,
        transactions: &[BOTH, SECOND],
        lease_ticks: 1,
        has_renewal: true,
        faults: &[Fault::Abort],
        reaches: &[Reach::L1, Reach::Lease, Reach::Exceptions],
        ..Scenario::SMALL
    },
    Scenario {
        name: "settlements",
        about: "aborted writers, and settlements that overlap with fences",
        states: 646_526,
        transactions: &[FIRST, FIRST],
        lease_ticks: 1,
        overlaps: true,
        faults: &[Fault::Abort],
        reaches: &[Reach::L1, Reach::Lease],
        ..Scenario::SMALL
    },
    Scenario {
        name: "reads",
        about: "two readers, fills joined and given up, commits in two steps",
        states: 309_721,
        readers: 2,
        transactions: &[FIRST, FIRST, FIRST],
        commits_in_steps: true,
        fills_at_once: false,
        readers_give_up: true,
        has_renewal: true,
        reaches: &[Reach::L1, Reach::Join],
        ..Scenario::SMALL
    },
    Scenario {
        name: "pair",
        about: "the fleet with two sidecars, three reads and one fault, where mutants are quickly caught",
        states: 370_929,
        sidecars: 2,
        reads_max: Some(3),
        transactions: &[TABLE, SECOND],
        faults_max: 1,
        ..FLEET
    },
    Scenario {
        name: "echoes",
        about: "what was said before a failover, heard after it",
        states: 39_798,
        sidecars: 2,
        reads_max: Some(2),
        transactions: &[SECOND, FIRST],
        is_in_turn: true,
        has_broadcast: true,
        faults: &[Fault::LoseOne],
        faults_max: 1,
        reaches: &[Reach::L1, Reach::Broadcast, Reach::Incarnation],
        ..Scenario::SMALL
    },
    Scenario {
        name: "fleet",
        about: "three sidecars, two keys, three writes, two faults; L2, broadcasts, pruning",
        states: 4_668_298,
        sidecars: 3,
        reads_max: Some(2),
        transactions: &[FIRST, BOTH, TABLE],
        faults_max: 2,
        ..FLEET
    },
    Scenario {
        name: "failover",
        about: "leases over crashes and failovers that lose commits",
        states: 921_497,
        transactions: &[FIRST, FIRST],
        lease_ticks: 1,
        has_renewal: true,
        faults: &[Fault::Crash, Fault::LoseOne],
        faults_max: 1,
        reaches: &[Reach::L1, Reach::Lease, Reach::Incarnation],
        ..Scenario::SMALL
    },
    Scenario {
        name: "batches",
        about: "two keys read as one state",
        states: 1_026_972,
        levels: &[Level::Batch],
        keys: 2,
        readers: 2,
        transactions: &[BOTH, FIRST, BOTH],
        has_renewal: true,
        reaches: &[Reach::Refill],
        ..Scenario::SMALL
    },
    Scenario {
        name: "batches-over",
        about: "a batch over a failover that loses a commit",
        states: 261_456,
        levels: &[Level::Batch],
        transactions: &[BOTH, BOTH, SECOND],
        has_renewal: true,
        faults: &[Fault::LoseOne],
        faults_max: 1,
        reaches: &[Reach::Refill, Reach::Incarnation],
        ..Scenario::SMALL
    },
    Scenario {
        name: "tokens",
        about: "a client that brings its tokens from sidecar to sidecar, over a failover",
        states: 1_915_669,
        sidecars: 2,
        keys: 2,
        levels: &[Level::FullyConsistent, Level::AtLeastAsFresh],
        transactions: &[FIRST, SECOND],
        has_l2: true,
        faults: &[Fault::LoseOne],
        faults_max: 1,
        reaches: &[Reach::L1, Reach::L2],
        ..Scenario::SMALL
    },
    Scenario {
        name: "floods",
        about: "a transaction with more tags than can be marked one by one",
        states: 3_845,
        transactions: &[BOTH],
        lease_ticks: 1,
        has_renewal: true,
        marks_max: 1,
        faults: &[Fault::Abort],
        reaches: &[Reach::L1, Reach::Lease],
        ..Scenario::SMALL
    },
    Scenario {
        name: "clocks",
        about: "suspended machines and steered clocks",
        states: 772_285,
        transactions: &[FIRST, FIRST],
        lease_ticks: 1,
        has_renewal: true,
        faults: &[Fault::Suspend, Fault::Steer],
        faults_max: 2,
        reaches: &[Reach::L1, Reach::Lease],
        ..Scenario::SMALL
    },
    Scenario {
        name: "steps",
        about: "a wall clock that is stepped under the commit wait",
        states: 19_920,
        transactions: &[FIRST],
        lease_ticks: 2,
        has_renewal: true,
        faults: &[Fault::StepClock],
        faults_max: 1,
        reaches: &[Reach::L1, Reach::Lease],
        ..Scenario::SMALL
    },
    Scenario {
        name: "expiry",
        about: "a value that changes by time alone",
        states: 6_276,
        transactions: &[SECOND],
        keys: 2,
        expires_in: Some(2),
        fills_at_once: false,
        faults: &[Fault::Suspend, Fault::Steer],
        faults_max: 1,
        reaches: &[Reach::Expiry],
        ..Scenario::SMALL
    },
    Scenario {
        name: "staleness",
        about: "reads that accept a bound of staleness",
        states: 7_651,
        levels: &[Level::MinimizeLatency],
        transactions: &[FIRST, FIRST],
        has_renewal: true,
        reaches: &[Reach::L1],
        ..Scenario::SMALL
    },
    Scenario {
        name: "answers",
        about: "with nothing going wrong any more, every read is answered",
        states: 46_211,
        transactions: &[BOTH],
        lease_ticks: 1,
        fills_at_once: false,
        faults: &[Fault::Abort, Fault::Crash],
        faults_max: 1,
        drains: true,
        reaches: &[Reach::L1],
        ..Scenario::SMALL
    },
];

/// Several sidecars with all that they share: two keys, L2, broadcasts and a log that is pruned; how many, and what happens, is to be said.
const FLEET: Scenario = Scenario {
    keys: 2,
    is_in_turn: true,
    has_bells: false,
    has_l2: true,
    has_broadcast: true,
    page_rows: 1,
    look_back: 1,
    faults: &[Fault::Prune, Fault::Restart, Fault::LoseOne],
    reaches: &[
        Reach::L1,
        Reach::L2,
        Reach::Broadcast,
        Reach::Pruned,
        Reach::Incarnation,
    ],
    ..Scenario::SMALL
};

/// Larger ones, which nobody waits for every day.
pub const DEEP_SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "deep-settlements",
        about: "settlements that overlap with fences which nobody waits for",
        states: 3_981_158,
        transactions: &[FIRST, FIRST],
        lease_ticks: 1,
        has_renewal: true,
        overlaps: true,
        faults: &[Fault::Abort],
        reaches: &[Reach::L1, Reach::Lease],
        ..Scenario::SMALL
    },
    Scenario {
        name: "deep-leases",
        about: "leases with exceptions, read on either side of them",
        states: 1_133_422,
        transactions: &[BOTH, SECOND],
        keys: 2,
        lease_ticks: 1,
        has_renewal: true,
        faults: &[Fault::Abort],
        reaches: &[Reach::L1, Reach::Lease, Reach::Exceptions],
        ..Scenario::SMALL
    },
];
