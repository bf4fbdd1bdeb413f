//! Runs the proof that needs no server: every scenario to its end, or, in a build with mutants, every safeguard refuted.
//!
//! `neverstale-model [--deep]` explores, and fails on a violation or on another number of states than is written down.
//! `neverstale-model mutants [directory]` takes one safeguard away after the other and fails if a scenario still holds;
//! what it found goes into a file for each safeguard. `neverstale-model catalogue` names the proof of each safeguard.

#![expect(clippy::disallowed_macros, reason = "it talks to a person at a terminal")]

use std::process::ExitCode;

use neverstale_coherence::Safeguard;
use neverstale_model::{DEEP_SCENARIOS, Race, SCENARIOS, Scenario, explore, proof, race};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let holds = match arguments[..] {
        [] => race_all() & explore_all(SCENARIOS),
        ["--deep"] => race_all() & explore_all(SCENARIOS) & explore_all(DEEP_SCENARIOS),
        ["race"] => race_all(),
        ["--only", name] => {
            let all = SCENARIOS.iter().chain(DEEP_SCENARIOS);
            explore_all(
                &all.filter(|scenario| scenario.name == name)
                    .copied()
                    .collect::<Vec<_>>(),
            )
        }
        ["catalogue"] => {
            for safeguard in Safeguard::ALL {
                println!("{}\t{}", safeguard.name(), proof(*safeguard));
            }
            true
        }
        #[cfg(feature = "mutants")]
        ["mutants"] => mutants::refute_all(None, None),
        #[cfg(feature = "mutants")]
        ["mutants", directory] => mutants::refute_all(Some(directory.as_ref()), None),
        #[cfg(feature = "mutants")]
        ["mutants", "--only", name] => mutants::refute_all(None, Some(name)),
        _ => {
            eprintln!(
                "usage: neverstale-model [--deep | race | --only <scenario> | catalogue | mutants [<directory>]]"
            );
            false
        }
    };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Positions that a race passes through.
const ROUNDS: u64 = 2_000_000;

/// Races two threads at a world; false if one of them saw what it must not.
fn race_all() -> bool {
    [Race::Apply, Race::Skip].map(|what| match race(what, ROUNDS) {
        None => {
            println!("{what:?} raced through {ROUNDS} positions");
            true
        }
        Some(reads) => {
            println!("{what:?} raced, and after {reads} reads one was old");
            false
        }
    }) == [true; 2]
}

/// Explores scenarios and says of each how large it is; false if one does not hold as it is written down.
fn explore_all(scenarios: &[Scenario]) -> bool {
    let mut all_hold = true;
    for scenario in scenarios {
        let explored = explore(scenario, 2);
        println!(
            "{:<12} {:>10} states {:>11} steps, depth {:>3}, {:>5.1} s   {}",
            scenario.name,
            explored.states,
            explored.steps,
            explored.depth,
            explored.took.as_secs_f64(),
            scenario.about
        );
        let mut failures = Vec::new();
        failures.extend(explored.counterexample.map(|found| found.to_string()));
        failures.extend(explored.missed.iter().map(|missed| format!("       never: {missed}")));
        if failures.is_empty() && explored.states != scenario.states {
            failures.push(format!(
                "       {} states are written down in crates/model/src/scenario.rs: a model that shrinks proves less",
                scenario.states
            ));
        }
        for failure in &failures {
            println!("{failure}");
        }
        all_hold &= failures.is_empty();
    }
    all_hold
}

#[cfg(feature = "mutants")]
mod mutants {
    use std::{fs, path::Path};

    use neverstale_coherence::{Safeguard, safeguard};
    use neverstale_model::{Proof, Race, SCENARIOS, explore, proof, race};

    use super::ROUNDS;

    /// Refutes the protocol without each safeguard that needs no server; false if one is not missed.
    pub(super) fn refute_all(directory: Option<&Path>, only: Option<&str>) -> bool {
        let mut survivors = Vec::new();
        let is_meant = |taken: &Safeguard| only.is_none_or(|only| taken.name() == only);
        // Histories on real servers are tests.
        let is_ours = |taken: &Safeguard| proof(*taken) != Proof::History;
        for taken in Safeguard::ALL.iter().copied().filter(is_meant).filter(is_ours) {
            safeguard::take_away(&[taken]);
            let by = proof(taken).to_string();
            match refute(taken) {
                Some((after, counterexample)) => {
                    println!("{:<24} {by:<22} after {after}\n{counterexample}", taken.name());
                    if let Some(directory) = directory {
                        let told = format!("{after}\n{counterexample}\n");
                        fs::write(directory.join(taken.name()), told).expect("the directory can be written to");
                    }
                }
                None => {
                    println!("{:<24} {by:<22} SURVIVES", taken.name());
                    survivors.push(taken);
                }
            }
        }
        survivors.is_empty()
    }

    /// After how much the protocol was refuted, and how, if it was.
    fn refute(taken: Safeguard) -> Option<(String, String)> {
        match proof(taken) {
            Proof::History => None,
            Proof::Model(name) => {
                let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
                // One thread, so that the way is the shortest.
                let scenario = scenario.expect("the catalogue names scenarios").readable();
                let explored = explore(&scenario, 1);
                let found = explored.counterexample;
                found.map(|found| {
                    let size = format!("{} states, {} steps", explored.states, found.steps.len());
                    (size, found.to_string())
                })
            }
            Proof::Race => {
                let what = if taken == Safeguard::FloorFirst {
                    Race::Skip
                } else {
                    Race::Apply
                };
                let how = "       a reader saw a position applied, and its tags or floor not yet";
                race(what, ROUNDS).map(|reads| (format!("{reads} reads"), how.to_owned()))
            }
        }
    }
}
