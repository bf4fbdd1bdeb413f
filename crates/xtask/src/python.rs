//! Runs the tests of `clients/python` by pytest, in a virtual environment of their own in the target directory.
//!
//! The environment is made once and again whenever the client's requirements change. Where there is no Python it says so; CI must have one.

use std::{
    collections::hash_map::DefaultHasher,
    env, fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{quietly, redis_server, target_directory, workspace};

/// Where the client is.
const CLIENT: &str = "clients/python";
/// Succeeds where there is a Python that is new enough and can make virtual environments.
const PROBE: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
/// How pytest is run.
const PYTEST: [&str; 6] = ["-m", "pytest", "--quiet", "--color=no", "-p", "no:cacheprovider"];
/// Written last into an environment: half an installation is none.
const COMPLETE: &str = "complete";

/// The command that runs the tests; none where there is no Python.
pub(crate) fn tests() -> Result<Option<Command>> {
    let Some(mut command) = command()? else {
        return Ok(None);
    };
    command.args(PYTEST);
    Ok(Some(command))
}

/// The command that runs those with the real Open WebUI, which they install from PyPI into the target directory; none where there is no
/// Python.
pub(crate) fn real_tests() -> Result<Option<Command>> {
    let Some(mut command) = command()? else {
        return Ok(None);
    };
    command.args(PYTEST).arg("real");
    // This very program lends its browser.
    let own = env::current_exe().context("find out which program this is")?;
    command.env("NEVERSTALE_TEST_XTASK", own);
    Ok(Some(command))
}

/// The command that measures on the real Open WebUI; none where there is no Python.
pub(crate) fn real_bench(script: &str) -> Result<Option<Command>> {
    let Some(mut command) = command()? else {
        return Ok(None);
    };
    command.arg(format!("real/{script}.py"));
    Ok(Some(command))
}

/// The environment's Python, where the client is.
fn command() -> Result<Option<Command>> {
    let Some(python) = environment()? else {
        return Ok(None);
    };
    let mut command = Command::new(python);
    command.current_dir(workspace().join(CLIENT));
    command.env("NEVERSTALE_TEST_REDIS_BIN", redis_server()?.path);
    command.env("CARGO_TARGET_DIR", target_directory());
    Ok(Some(command))
}

/// The Python of the environment, which is made if need be.
fn environment() -> Result<Option<PathBuf>> {
    let client = workspace().join(CLIENT);
    let requirements = fs::read_to_string(client.join("pyproject.toml")).context("read the client's pyproject.toml")?;
    let mut hasher = DefaultHasher::new();
    requirements.hash(&mut hasher);
    let home = target_directory().join(format!("python-{:016x}", hasher.finish()));
    let python = home.join("bin/python");
    if home.join(COMPLETE).exists() {
        return Ok(Some(python));
    }
    let probed = Command::new("python3").args(["-c", PROBE]).output();
    if !probed.is_ok_and(|output| output.status.success()) {
        ensure!(
            env::var_os("CI").is_none(),
            "install python3 (3.11 or newer) with venv: the tests of {CLIENT} must run on CI"
        );
        eprintln!(
            "SKIPPED: the tests of {CLIENT} need python3 (3.11 or newer) with venv, which is not on this machine"
        );
        return Ok(None);
    }
    eprintln!(
        "installing what the tests of {CLIENT} need from PyPI into {}",
        home.display()
    );
    quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--editable",
    ];
    quietly(Command::new(&python).args(pip).arg(with_tests(&client)))?;
    fs::write(home.join(COMPLETE), "").context("complete the Python environment")?;
    Ok(Some(python))
}

/// The client together with what its tests need, as pip names it.
fn with_tests(client: &Path) -> String {
    format!("{}[test]", client.display())
}
