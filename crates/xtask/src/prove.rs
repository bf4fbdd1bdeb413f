//! Proves the protocol: the model holds, every safeguard is missed when it is gone, and the museum shows what others met.
//!
//! The mutants are builds of their own, with a feature that no other build has; this says so first.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use neverstale_testkit::{PostgresVersion, target_directory};

use crate::{
    cargo::{cargo, has, shown, succeed},
    server::Server,
};

/// What is to be proved.
#[derive(Debug, Args)]
pub(crate) struct ProveOptions {
    /// Only the table of mutants: what catches each, after how much, and the shortest way to it.
    #[arg(long)]
    mutants: bool,
    /// The model's larger scenarios too, which take some minutes.
    #[arg(long)]
    deep: bool,
}

/// Proves, or says what does not hold.
pub(crate) fn run(options: &ProveOptions) -> Result<()> {
    if options.mutants {
        the_feature_does_not_leak()?;
        return mutants();
    }
    model_and_mutants(options.deep)?;
    museum()?;
    println!("proved");
    Ok(())
}

/// What is no test of the workspace; the museum is.
pub(crate) fn model_and_mutants(is_deep: bool) -> Result<()> {
    the_feature_does_not_leak()?;
    println!("the model: every state of every scenario");
    let deep: &[&str] = if is_deep { &["--", "--deep"] } else { &[] };
    succeed(cargo(&["run", "--quiet", "--package", "neverstale-model"]).args(deep))?;
    mutants()
}

/// No build but those below has the feature that takes safeguards away.
fn the_feature_does_not_leak() -> Result<()> {
    let output = cargo(&["tree", "--workspace", "--prefix", "none", "--format", "{p} {f}"])
        .output()
        .context("run cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", output.status);
    let tree = String::from_utf8(output.stdout).context("read cargo tree")?;
    ensure!(
        tree.contains("neverstale-coherence "),
        "cargo tree does not name our packages"
    );
    let leak = tree.lines().find(|line| is_mutant(line));
    ensure!(
        leak.is_none(),
        "a normal build takes safeguards away: {}",
        leak.unwrap_or_default()
    );
    Ok(())
}

/// Whether a line of cargo's tree, a package with its features, is one with that feature.
fn is_mutant(line: &str) -> bool {
    let features = line.rsplit(' ').next().unwrap_or_default();
    line.starts_with("neverstale-") && features.split(',').any(|feature| feature == "mutants")
}

/// Takes each safeguard away, and prints what noticed.
fn mutants() -> Result<()> {
    let directory = fresh_directory()?;
    println!("the mutants: the model");
    let told = model_of_mutants("mutants").arg(&directory).output();
    let told = told.context("run the model's mutants")?;
    println!("{}", String::from_utf8_lossy(&told.stdout));

    println!("the mutants: histories on a real Postgres");
    // A process for each test, since a mutant is one of a process.
    ensure!(
        has("nextest"),
        "the histories need cargo-nextest: `cargo install cargo-nextest`"
    );
    let server = Server::start(PostgresVersion::System)?;
    let mut histories = cargo(&[
        "nextest",
        "run",
        "--package",
        "neverstale-cache",
        "--features",
        "mutants",
    ]);
    histories
        .args(["--test", "mutants", "--no-fail-fast", "--cargo-quiet"])
        .env("NEVERSTALE_PROOF", &directory);
    let status = server
        .lend_to(&mut histories)
        .status()
        .with_context(|| format!("run {}", shown(&histories)))?;

    let survivors = table(&directory)?;
    ensure!(survivors.is_empty(), "nobody missed {}", survivors.join(", "));
    ensure!(
        told.status.success() && status.success(),
        "a proof of the mutants failed"
    );
    Ok(())
}

/// A word to the model that is built to have safeguards taken away.
fn model_of_mutants(word: &str) -> Command {
    let build = ["--package", "neverstale-model", "--features", "mutants"];
    let mut command = cargo(&["run", "--quiet"]);
    command.args(build).args(["--", word]);
    command
}

fn fresh_directory() -> Result<PathBuf> {
    let directory = target_directory().join("proof");
    if directory.exists() {
        fs::remove_dir_all(&directory).context("remove the last proof")?;
    }
    fs::create_dir_all(&directory).context("make a place for the proof")?;
    Ok(directory)
}

/// Prints a line for each safeguard, and gives those that nobody missed.
fn table(directory: &Path) -> Result<Vec<String>> {
    let catalogue = model_of_mutants("catalogue").output();
    let catalogue = catalogue.context("read the catalogue of safeguards")?;
    let catalogue = String::from_utf8(catalogue.stdout).context("read the catalogue of safeguards")?;
    let rows: BTreeMap<&str, &str> = catalogue.lines().filter_map(|line| line.split_once('\t')).collect();
    ensure!(!rows.is_empty(), "the catalogue of safeguards is empty");
    println!("{:<24} {:<28} after", "without", "caught by");
    let mut survivors = Vec::new();
    for (safeguard, proof) in rows {
        let told = fs::read_to_string(directory.join(safeguard)).unwrap_or_default();
        let after = told.lines().next().unwrap_or("SURVIVES");
        println!("{safeguard:<24} {proof:<28} {after}");
        if told.is_empty() {
            survivors.push(safeguard.to_owned());
        }
    }
    println!("the shortest counterexample of each is in {}", directory.display());
    Ok(survivors)
}

/// The races that others shipped, each shown by a naive cache and absent in ours.
fn museum() -> Result<()> {
    println!("the museum");
    let mut museum = if has("nextest") {
        cargo(&["nextest", "run", "--package", "neverstale-tests", "--test", "museum"])
    } else {
        cargo(&["test", "--package", "neverstale-tests", "--test", "museum"])
    };
    succeed(Server::start(PostgresVersion::System)?.lend_to(&mut museum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_takes_safeguards_away_is_recognised() {
        assert!(is_mutant("neverstale-coherence v0.1.0 (crates/coherence) mutants"));
        assert!(is_mutant("neverstale-cache v0.1.0 (crates/cache) default,mutants"));
        assert!(!is_mutant("neverstale-coherence v0.1.0 (crates/coherence) "));
        assert!(!is_mutant("mutants v1.0.0 default"));
    }
}
