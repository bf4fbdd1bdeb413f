//! A short piece of the histories that `cargo xtask jepsen` plays for minutes: with a few faults, and with a judge that must find nothing.
//!
//! That the judge finds lies where there are some is shown where it lives; that a run finds a missing safeguard, by
//! `cargo xtask jepsen --without commit-wait`.

use neverstale_tests::jepsen::{Options, run};

/// P1, P5, P8, P10, P22: what was read under faults could have been answered by a single copy of the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_history_under_faults_has_an_order() {
    let faults = [
        "kill", "pause", "cut", "restart", "redis", "triggers", "prune", "rollback",
    ];
    let options = Options {
        minutes: 0.25,
        seed: 12,
        faults: faults.map(str::to_owned).to_vec(),
        ..Options::default()
    };
    let report = run(&options).await.unwrap();
    println!("{report}");
    assert!(report.is_as_it_should_be(), "{report}");
    // It has seen something: reads, writes and faults by the dozen.
    assert!(
        report.answered() > 3_000 && report.committed() > 50 && report.faults() > 12,
        "{report}"
    );
}
