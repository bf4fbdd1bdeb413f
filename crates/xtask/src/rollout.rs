//! Upgrades three replicas under load from an earlier release to this one and rolls them back, with real processes in a cluster's order.
//!
//! The earlier release is built from git: the newest tag before this commit, or any revision. What is seen of it is judged by the tests
//! `rollout` of the package `tests`. Without a tag there is nothing to upgrade from, which is said, and is no success.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use clap::Args;
use neverstale_testkit::{PostgresVersion, postgres_binaries, redis_server, target_directory, workspace};

use crate::{
    cargo::{Profile, build_binary, cargo, succeed},
    server::Server,
    test,
};

/// Where from.
#[derive(Debug, Clone, Args)]
pub(crate) struct RolloutOptions {
    /// Names the git revision that is upgraded from; the newest tag before this commit unless given.
    #[arg(long, value_name = "REVISION")]
    from: Option<String>,
    /// Only while suspended: the old release suspends and the new one resumes, as an upgrade must whose notes say so.
    #[arg(long)]
    suspended: bool,
}

/// Why no earlier release was built.
pub(crate) const NO_TAG: &str = "no tag v* stands before this commit, so there is no earlier release to upgrade from";

/// Builds both releases and runs the tests. The last line printed is the total.
pub(crate) fn run(options: &RolloutOptions) -> Result<()> {
    let previous = match &options.from {
        Some(revision) => Some(build(revision)?),
        None => build_previous()?,
    };
    let previous =
        previous.with_context(|| format!("{NO_TAG}; name a revision: cargo xtask rollout --from REVISION"))?;
    println!("{}", redis_server()?.how);
    let version = PostgresVersion::System;
    println!("{}", postgres_binaries(version)?.how);
    let server = Server::start(version)?;
    let tests_of = if options.suspended {
        "while_suspended"
    } else {
        "rollout::"
    };
    let mut tests = cargo(&["test", "--package", "neverstale-tests", "--test", "it", "--", tests_of]);
    server.lend_to(tests.env("NEVERSTALE_BIN", build_binary(Profile::Dev)?));
    let totals = test::count(tests.env("NEVERSTALE_PREVIOUS_BIN", previous))?;
    println!("{totals}");
    totals.judge()
}

/// Builds the binary of the release before this one and gives its path; none as long as there is no tag. `NEVERSTALE_PREVIOUS` names
/// another git revision.
pub(crate) fn build_previous() -> Result<Option<PathBuf>> {
    let revision = env::var("NEVERSTALE_PREVIOUS");
    let tag = || told_by_git(&["describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^"]);
    revision
        .or_else(|_| tag())
        .ok()
        .map(|revision| build(&revision))
        .transpose()
}

/// Builds the binary of a revision from a work tree of its own, once.
fn build(revision: &str) -> Result<PathBuf> {
    let commit = told_by_git(&["rev-parse", &format!("{revision}^{{commit}}")])?;
    let home = target_directory().join("previous");
    let (tree, binary) = (home.join(&commit), home.join(format!("neverstale-{commit}")));
    if binary.exists() {
        return Ok(binary);
    }
    println!("building {revision}, the release before this one");
    if !tree.exists() {
        told_by_git(&["worktree", "prune"])?;
        told_by_git(&["worktree", "add", "--detach", &tree.to_string_lossy(), &commit])?;
    }
    let mut build = cargo(&[
        "build",
        "--locked",
        "--bin",
        "neverstale",
        "--package",
        "neverstale-sidecar",
    ]);
    // Into the same directory: what both releases take from elsewhere is built already.
    succeed(build.current_dir(&tree).env("CARGO_TARGET_DIR", target_directory()))?;
    let built = target_directory().join("debug/neverstale");
    fs::copy(&built, &binary).with_context(|| format!("copy {}", built.display()))?;
    told_by_git(&["worktree", "remove", "--force", &tree.to_string_lossy()])?;
    Ok(binary)
}

/// What git answers, without the line's end.
fn told_by_git(words: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(words)
        .current_dir(workspace())
        .output()
        .context("run git")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {errors}", words.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
