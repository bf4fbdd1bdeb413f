//! Fetches what tests need into the target directory, once. Nothing of the system changes, but that pip comes where there is none.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{
    provision::{install_pip, say},
    scratch::target_directory,
};

/// Gives a directory with these packages of PyPI and all that they need; its `bin` has their programs.
///
/// # Errors
/// There is no Python, or pip refuses.
pub fn python_packages(packages: &[&str]) -> Result<PathBuf> {
    let home = target_directory().join("pypi").join(packages.join("+"));
    fill_once(&home, |staging| {
        if !has_pip() {
            install_pip()?;
        }
        let mut pip = pip();
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
        ]);
        quietly(pip.arg("--target").arg(staging).args(packages))
    })?;
    Ok(home)
}

/// Fills a directory if it is not there, under another name first: half an installation must never be found.
///
/// # Errors
/// It can't be filled.
pub fn fill_once(home: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if home.exists() {
        return Ok(());
    }
    say(&format!("installing into {}", home.display()));
    // Of this process and for this place: tests that run side by side may want different ones.
    let mut staging = home.as_os_str().to_owned();
    staging.push(format!(".staging-{}", std::process::id()));
    let staging = PathBuf::from(staging);
    fs::remove_dir_all(&staging).ok();
    fs::create_dir_all(&staging).with_context(|| format!("make {}", staging.display()))?;
    fill(&staging)?;
    if fs::rename(&staging, home).is_err() {
        // Another process was faster.
        fs::remove_dir_all(&staging).ok();
    }
    Ok(())
}

/// Runs a command to its end. What it says is told only if it fails.
///
/// # Errors
/// It can't be run, or fails.
pub fn quietly(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    Ok(())
}

fn pip() -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pip"]);
    command
}

fn has_pip() -> bool {
    let probed = pip()
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    probed.is_ok_and(|status| status.success())
}
