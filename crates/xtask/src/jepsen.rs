//! Runs the histories: builds the sidecar, with or without its safeguards, and starts the program of the package `tests` that plays and judges.

use anyhow::Result;
use clap::Args;
use neverstale_testkit::target_directory;

use crate::cargo::{Profile, build_binary, build_mutant, cargo, succeed};

/// What is asked for; the program says it once more.
#[derive(Debug, Clone, Args)]
pub(crate) struct JepsenOptions {
    /// How long faults go on, in minutes; fractions are welcome.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// What all random choices follow from; how processes interleave does not.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The families of faults, separated by commas; all unless given, none with `none`.
    #[arg(long)]
    faults: Option<String>,
    /// Takes safeguards away, by their names, separated by commas: the run then succeeds if it finds that out.
    #[arg(long)]
    without: Option<String>,
    /// How the sidecar is built; without a safeguard it is `dev` unless given.
    #[arg(long, value_enum)]
    profile: Option<Profile>,
}

/// Builds and runs.
pub(crate) fn run(options: &JepsenOptions) -> Result<()> {
    let binary = match &options.without {
        Some(_) => build_mutant(options.profile.unwrap_or(Profile::Dev))?,
        None => build_binary(options.profile.unwrap_or(Profile::Release))?,
    };
    let mut command = cargo(&[
        "run",
        "--quiet",
        "--package",
        "neverstale-tests",
        "--bin",
        "jepsen",
        "--",
    ]);
    command.arg(format!("--minutes={}", options.minutes));
    command.arg(format!("--seed={}", options.seed));
    command.args(options.faults.iter().map(|faults| format!("--faults={faults}")));
    command.args(options.without.iter().map(|without| format!("--without={without}")));
    let directory = target_directory().join("jepsen");
    command.arg("--into").arg(&directory);
    println!("the history and its page come into {}", directory.display());
    succeed(command.env("NEVERSTALE_BIN", binary))
}
