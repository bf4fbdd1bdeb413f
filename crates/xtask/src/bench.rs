//! Runs the benches in release, beside a release binary.

use anyhow::Result;

use crate::cargo::{Profile, build_binary, cargo, succeed};

/// Builds the binary and runs the package `benches` with the given arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let binary = build_binary(Profile::Release)?;
    let mut command = cargo(&["run", "--release", "--package", "neverstale-benches", "--"]);
    command.args(arguments).env("NEVERSTALE_BIN", binary);
    succeed(&mut command)
}
