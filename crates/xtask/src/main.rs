//! Runs the chores: demo, test, prove, bench, tidy and what CI runs.
//!
//! `cargo xtask --help` lists them. A chore that needs a server gets it from the testkit, which installs what is missing and says so.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the workshop talks to a person at a terminal and reads the real clock; the seams of the product are not for it"
)]

mod bench;
mod browser;
mod cargo;
mod chart;
mod ci;
mod demo;
mod docs;
mod fuzz;
mod jepsen;
mod pictures;
mod prove;
mod python;
mod rollout;
mod server;
mod simulate;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    demo::DemoOptions, fuzz::FuzzOptions, jepsen::JepsenOptions, prove::ProveOptions, rollout::RolloutOptions,
};

/// Chores of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Shows three sidecars that answer from cache on the real Open WebUI schema while somebody changes it by plain SQL.
    Demo(DemoOptions),
    /// Runs every test that must pass, on the system's PostgreSQL and on 18.
    Test {
        /// Runs only the tests whose name contains this; `python` also those of clients/python.
        filter: Option<String>,
        /// Runs those with the real Open WebUI instead: 0.12.4 and 0.6.43 from PyPI, two replicas each, and their own page in a browser.
        #[arg(long, conflicts_with = "filter")]
        real: bool,
    },
    /// Proves the protocol: the model, every safeguard taken away in turn, the museum.
    Prove(ProveOptions),
    /// Runs what CI runs.
    Ci,
    /// Compares what Markdown says (crates, paths, options, metrics) with what is in the tree.
    Tidy {
        /// Writes the crate table into ARCHITECTURE.md.
        #[arg(long)]
        write: bool,
    },
    /// Runs the benches in release and writes benches/RESULTS.md.
    Bench {
        /// Measures on the real Open WebUI instead, and prints tables: `bench`, or `tables` for staleness.
        #[arg(long, value_parser = ["bench", "tables"])]
        real: Option<String>,
        /// Goes to the benches as it is.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Breaks things around several sidecars for minutes, and judges every answer that they gave.
    Jepsen(JepsenOptions),
    /// Fuzzes the parsers of what strangers can send to the door, and stops at the first finding.
    Fuzz(FuzzOptions),
    /// Upgrades three replicas under load from an earlier release, built from git, to this one, and rolls them back.
    Rollout(RolloutOptions),
    /// Runs feed, cache and relay on simulated time, network and stores: `--seed N` replays one seed and prints its story,
    /// `--seeds N` runs many, `--without SAFEGUARD` shows that it would find what it looks for.
    Simulate {
        /// Goes to the simulation as it is.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Renders, validates and lints the Helm chart, and runs what it renders; tests alerts, workflows and the image's recipe.
    Chart {
        /// Writes the schema of values and the snapshots.
        #[arg(long)]
        write: bool,
    },
    /// Builds the binary as it is shipped, puts the image together, and builds it where there is a builder; checks its size.
    Image,
    /// Lends a browser without a window to a test in another language: a JSON object a line says what to do.
    #[command(hide = true)]
    Browser,
    /// Takes the pictures of docs/pictures: the status page by day, by night, on a phone and with a fault, who may do what, and the dashboard.
    Pictures {
        /// Only those of who may do what, which need no load
        #[arg(long, conflicts_with = "real")]
        access: bool,
        /// Takes those of the real Open WebUI's page behind the door instead.
        #[arg(long)]
        real: bool,
    },
    /// Regenerates docs/CONFIGURATION.md and docs/METRICS.md from the binary.
    Docs {
        /// Fails if they are stale, and writes nothing.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Demo(options) => demo::run(&options),
        Chore::Test { real: true, .. } => test::run_real().and_then(test::Totals::judge),
        Chore::Test { filter, .. } => test::run(filter.as_deref()).and_then(test::Totals::judge),
        Chore::Prove(options) => prove::run(&options),
        Chore::Ci => ci::run(),
        Chore::Tidy { write } => tidy::run(write),
        Chore::Bench {
            real: Some(script),
            arguments,
        } => bench::run_real(&script, &arguments),
        Chore::Bench { arguments, .. } => bench::run(&arguments),
        Chore::Jepsen(options) => jepsen::run(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Rollout(options) => rollout::run(&options),
        Chore::Simulate { arguments } => simulate::run(&arguments),
        Chore::Chart { write } => chart::run(write),
        Chore::Image => chart::image(),
        Chore::Browser => browser::run(),
        Chore::Pictures { real: true, .. } => pictures::run_real(),
        Chore::Pictures { real: false, access } => pictures::run(access),
        Chore::Docs { check } => docs::run(check),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
