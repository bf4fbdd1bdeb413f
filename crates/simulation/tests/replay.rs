//! A seed tells the same story each time, and a few hundred of them meet everything that they are made for.

use std::{collections::BTreeSet, thread};

use neverstale_simulation::{flavour, run, run_many};

#[test]
fn a_seed_tells_the_same_story_on_any_thread_and_after_any_other() {
    let flavour = flavour();
    let here: Vec<String> = (1..=20).map(|seed| run(seed, &flavour).story).collect();
    let there = thread::scope(|scope| {
        let backwards = scope.spawn(|| (1..=20).rev().map(|seed| run(seed, &flavour).story).collect::<Vec<_>>());
        backwards.join().unwrap()
    });
    assert!(here.iter().eq(there.iter().rev()));
    let different: BTreeSet<&String> = here.iter().collect();
    assert_eq!(different.len(), here.len(), "and each seed has a story of its own");
}

#[test]
fn no_promise_is_broken_and_everything_has_happened() {
    let summary = run_many(1, 150, 1);
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    let rare = [
        "l1",
        "l2",
        "fill",
        "join",
        "bypass",
        "batch",
        "no answer",
        "kept another level",
    ];
    let faults = [
        "partition",
        "cut",
        "slow",
        "pause",
        "suspend",
        "kill",
        "terminate",
        "crash",
        "restart",
        "prune",
    ];
    let of_redis = [
        "redis partition",
        "redis restart",
        "redis rewind",
        "redis scramble",
        "redis forge",
    ];
    for what in rare
        .iter()
        .chain(&faults)
        .chain(&of_redis)
        .chain(&["triggers", "writer cut"])
    {
        assert!(
            summary.counts.contains_key(what),
            "in 150 seeds nothing was ever: {what}"
        );
    }
}
