//! Runs the simulation: one seed with its story, or many.

use anyhow::Result;

use crate::cargo::{cargo, succeed};

/// Goes to `neverstale-simulate`; with `--without` it is built so that safeguards can be taken away.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut command = cargo(&["run", "--quiet", "--package", "neverstale-simulation"]);
    if arguments.iter().any(|argument| argument.starts_with("--without")) {
        command.args(["--features", "mutants"]);
    }
    succeed(command.arg("--").args(arguments))
}

/// Takes safeguards away, one after the other: each must be missed by a seed that replays.
pub(crate) fn mutants() -> Result<()> {
    let arguments = [
        "test",
        "--package",
        "neverstale-simulation",
        "--features",
        "mutants",
        "--test",
        "mutants",
    ];
    succeed(&mut cargo(&arguments))
}
