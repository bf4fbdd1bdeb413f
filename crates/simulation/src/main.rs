//! The command `simulate`: one seed with its story, or many seeds with those that failed.

#![expect(clippy::disallowed_macros, reason = "it talks to a person at a terminal")]

use std::process::ExitCode;

use clap::Parser;
#[cfg(feature = "mutants")]
use neverstale_coherence::safeguard::Safeguard;
use neverstale_simulation::{flavour, run, run_many};

/// Runs the feed, the cache and the relay on simulated time, network and stores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask simulate")]
struct Arguments {
    /// Replays this seed and prints its story.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Runs so many seeds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// Begins with this seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Ends once so many seeds have failed.
    #[arg(long, default_value_t = 20)]
    enough: usize,
    /// Takes this safeguard away: some seeds must then fail. Needs the feature `mutants`.
    #[cfg(feature = "mutants")]
    #[arg(long, value_parser = safeguard)]
    without: Vec<Safeguard>,
}

#[cfg(feature = "mutants")]
fn safeguard(name: &str) -> Result<Safeguard, String> {
    Safeguard::from_name(name).ok_or_else(|| format!("there is no safeguard `{name}`"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    #[cfg(feature = "mutants")]
    neverstale_coherence::safeguard::take_away(&arguments.without);
    let is_kept = match arguments.seed {
        Some(seed) => replay(seed),
        None => many(arguments.first, arguments.seeds, arguments.enough),
    };
    if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(seed: u64) -> bool {
    let outcome = run(seed, &flavour());
    println!("{}", outcome.story);
    println!(
        "seed {seed}: {} violations, story {:016x}",
        outcome.violations.len(),
        outcome.digest()
    );
    outcome.violations.is_empty()
}

fn many(first: u64, seeds: u64, enough: usize) -> bool {
    let summary = run_many(first, seeds, enough);
    for (what, count) in &summary.counts {
        println!("{count:>9}  {what}");
    }
    for (seed, violations) in &summary.failures {
        println!("seed {seed}: {}", violations.first().map_or("", String::as_str));
        println!("    replay it: cargo xtask simulate --seed {seed}");
    }
    println!("{} seeds, {} failed", summary.seeds, summary.failures.len());
    summary.failures.is_empty()
}
