//! Runs cargo: in the workspace's root, failing with the command that failed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{target_directory, workspace};
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
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace());
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
pub(crate) fn build_binary(profile: Profile) -> Result<PathBuf> {
    if let Some(chosen) = env::var_os("NEVERSTALE_BIN") {
        return Ok(PathBuf::from(chosen));
    }
    let (selection, directory): (&[&str], _) = match profile {
        // The features of the whole workspace, so that the tests build none of it again.
        Profile::Dev => (&["--workspace"], "debug"),
        Profile::Release => (&["--package", "neverstale-sidecar", "--release"], "release"),
    };
    succeed(cargo(&["build", "--bin", "neverstale"]).args(selection))?;
    Ok(target_directory().join(directory).join("neverstale"))
}

/// Builds a binary from which safeguards can be taken away, and gives the path of a copy: the one that cargo builds next replaces it.
pub(crate) fn build_mutant(profile: Profile) -> Result<PathBuf> {
    let mut build = cargo(&[
        "build",
        "--bin",
        "neverstale",
        "--package",
        "neverstale-sidecar",
        "--features",
        "mutants",
    ]);
    let directory = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            build.arg("--release");
            "release"
        }
    };
    succeed(&mut build)?;
    let built = target_directory().join(directory).join("neverstale");
    let copy = built.with_file_name("neverstale-mutant");
    fs::copy(&built, &copy).with_context(|| format!("copy {}", built.display()))?;
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
