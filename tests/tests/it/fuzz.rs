//! A schema fuzzer against the published contract: no 5xx but 503, and nothing that is not documented.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result};
use neverstale_testkit::{Application, python_packages};

use crate::house::Plan;

/// The release of PyPI's fuzzer.
const SCHEMATHESIS: &str = "schemathesis==4.*";
/// Where pip puts its program.
const PROGRAM: &str = "bin/schemathesis";
/// The same requests on every run.
const SEED: &str = "20260";
/// What each answer is held against.
const CHECKS: [&str; 7] = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
];
/// For one flavour.
const SECONDS: &str = "18";

#[tokio::test]
async fn a_schema_fuzzer_finds_no_fault_and_nothing_undocumented() {
    let fuzzer = tokio::task::spawn_blocking(|| python_packages(&[SCHEMATHESIS]));
    let fuzzer = fuzzer.await.unwrap().unwrap();
    for application in Application::ALL {
        let plan = Plan::of(application).sidecars(1).with_redis();
        let scratch = neverstale_testkit::Scratch::new().unwrap();
        let tokens = scratch.path().join("tokens");
        std::fs::write(&tokens, "a-token").unwrap();
        let house = plan
            .with("NEVERSTALE_API__TOKEN_FILE", tokens.display())
            .with("NEVERSTALE_API__WRITES_ALLOWED", true)
            .open()
            .await
            .unwrap();
        let port = house.sidecars[0].api_port();
        let fuzzer = fuzzer.clone();
        let home = scratch.path().to_owned();
        let output = tokio::task::spawn_blocking(move || fuzz(&fuzzer, port, &home))
            .await
            .unwrap()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{}: {report}\n{}",
            application.name(),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            report.contains("No issues found") || report.contains("passed"),
            "{report}"
        );
        // The sidecar has survived it, and every problem in it was the caller's.
        assert_eq!(house.sidecars[0].admin().get("/readyz").await.unwrap().status, 200);
        let metrics = house.sidecars[0].metrics().await.unwrap();
        let internal = metrics
            .lines()
            .find(|line| line.starts_with("neverstale_problems_total") && line.contains("internal"));
        assert!(internal.is_some_and(|line| line.ends_with(" 0")), "{internal:?}");
    }
}

fn fuzz(fuzzer: &Path, port: u16, home: &Path) -> Result<Output> {
    let url = format!("http://127.0.0.1:{port}/openapi.json");
    let mut command = Command::new("python3");
    command
        .arg(fuzzer.join(PROGRAM))
        .env("PYTHONPATH", fuzzer)
        .args(["run", &url, "--header", "Authorization: Bearer a-token"])
        // A caller that grants a millisecond gets what it asked for, a 504; that is judged in `contract::problems`.
        .args(["--header", "Neverstale-Timeout-Ms: 20000"])
        // One worker: the parser of CPython 3.11 trips over two threads ("AST constructor recursion depth mismatch").
        .args([
            "--seed",
            SEED,
            "--max-time",
            SECONDS,
            "--workers",
            "1",
            "--request-timeout",
            "10",
        ])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--checks", &CHECKS.join(",")])
        // A stream without end has no body that could be read to its end.
        .args(["--exclude-path", "/v1/events"])
        .args(["--no-color", "--generation-database", "none"])
        .current_dir(home);
    command.output().context("run schemathesis")
}
