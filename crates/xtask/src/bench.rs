//! Runs the benches in release, beside a release binary.

use anyhow::{Context, Result};

use crate::{
    cargo::{Profile, build_binary, cargo, succeed},
    python,
};

/// Builds the binary and runs the package `benches` with the given arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let binary = build_binary(Profile::Release)?;
    let mut command = cargo(&["run", "--release", "--package", "neverstale-benches", "--"]);
    command.args(arguments).env("NEVERSTALE_BIN", binary);
    succeed(&mut command)
}

/// Builds the binary and runs a script that measures on the real Open WebUI.
pub(crate) fn run_real(script: &str, arguments: &[String]) -> Result<()> {
    let binary = build_binary(Profile::Release)?;
    let mut command = python::real_bench(script)?.context("the benches with the real application need Python")?;
    command.args(arguments).env("NEVERSTALE_BIN", binary);
    succeed(&mut command)
}
