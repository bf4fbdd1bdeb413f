//! Runs cargo: in the workspace's root, failing with the command that failed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::target_directory;
use serde_json::Value;

/// How the binary is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// As tests build it: quick to build.
    Dev,
    /// As it is shipped: quick to run.
    Release,
}

/// A cargo command in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = neverstale_testkit::cargo();
    command.args(arguments);
    command
}

/// Runs a command to its end.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("run {shown}"))?;
    ensure!(status.success(), "{shown}: {status}");
    Ok(())
}

/// Builds the binary `neverstale` and gives its path; `NEVERSTALE_BIN` names one that is built already.
///
/// Always by itself, as it is shipped: with the whole workspace it would have the features that other packages want of its parts,
/// `simulation` among them.
pub(crate) fn build_binary(profile: Profile) -> Result<PathBuf> {
    if let Some(chosen) = env::var_os("NEVERSTALE_BIN") {
        return Ok(PathBuf::from(chosen));
    }
    build_aside(profile, &[], "neverstale-shipped")
}

/// Builds a binary from which safeguards can be taken away, and gives its path.
pub(crate) fn build_mutant(profile: Profile) -> Result<PathBuf> {
    build_aside(profile, &["--features", "mutants"], "neverstale-mutant")
}

/// Builds the binary and gives the path of a copy: the one that cargo builds next, for the tests of the workspace, replaces it.
fn build_aside(profile: Profile, features: &[&str], name: &str) -> Result<PathBuf> {
    let (release, directory): (&[&str], _) = match profile {
        Profile::Dev => (&[], "debug"),
        Profile::Release => (&["--release"], "release"),
    };
    let mut build = cargo(&["build", "--bin", "neverstale", "--package", "neverstale-sidecar"]);
    succeed(build.args(features).args(release))?;
    let built = target_directory().join(directory).join("neverstale");
    let copy = built.with_file_name(name);
    // Under another name first: a process may still run the copy that is there.
    let staging = copy.with_extension(format!("staging-{}", std::process::id()));
    fs::copy(&built, &staging).with_context(|| format!("copy {}", built.display()))?;
    fs::rename(&staging, &copy).with_context(|| format!("put {} in its place", copy.display()))?;
    Ok(copy)
}

/// What cargo knows of the workspace's own packages.
pub(crate) fn metadata() -> Result<Value> {
    let mut command = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", output.status);
    serde_json::from_slice(&output.stdout).context("read cargo metadata")
}

/// Whether a cargo subcommand is installed.
pub(crate) fn has(subcommand: &str) -> bool {
    let probed = cargo(&[subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    probed.is_ok_and(|status| status.success())
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let mut words = vec![program.to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
