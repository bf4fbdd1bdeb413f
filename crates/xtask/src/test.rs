//! Runs every test that must pass: the workspace and the Python client on the system's PostgreSQL, and what uses PostgreSQL once more on 18.

use std::{
    env, fmt,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{PostgresVersion, chromium, postgres_binaries, prometheus_program, redis_server};
use serde_json::Value;

use crate::{
    cargo::{Profile, build_binary, cargo, has, metadata, shown},
    python, rollout,
    server::Server,
};

/// Packages below the testkit, or the testkit itself, which start PostgreSQL by themselves.
const OWN_SERVERS: [&str; 3] = ["neverstale-testkit", "neverstale-installation", "neverstale-flavour"];
/// What is about HTTP, pages and numbers, and so needs no other PostgreSQL, and takes long.
const NEEDS_NO_OTHER: &str = "test(/^(access_page::seen|alerts|door|door_rules|fuzz|otlp|page)::/)";

/// Says how many tests run at once; whoever sets it has a reason.
const AT_ONCE: &str = "NEXTEST_TEST_THREADS";

/// How many tests passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    passed: u64,
    failed: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl Totals {
    /// Fails unless something passed and nothing failed.
    pub(crate) fn judge(self) -> Result<()> {
        ensure!(self.failed == 0 && self.passed > 0, "tests: {self}");
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Provisions, builds and runs. The last line printed is the total.
pub(crate) fn run(filter: Option<&str>) -> Result<Totals> {
    println!("{}", redis_server()?.how);
    println!("{}", chromium()?.how);
    // Once, and not by each test that wants it.
    prometheus_program("prometheus")?;
    let previous = rollout::build_previous()?;
    if previous.is_none() {
        println!("SKIPPED: an upgrade from an earlier release: {}", rollout::NO_TAG);
    }
    let binary = build_binary(Profile::Dev)?;
    let mut totals = Totals::default();
    for version in [PostgresVersion::System, PostgresVersion::Wheel] {
        let postgres = postgres_binaries(version)?;
        println!("{}", postgres.how);
        let server = Server::start(version)?;
        for mut command in commands(version, filter)? {
            // Forty frames of a runtime would hide what a failing test has to say.
            command.env("RUST_BACKTRACE", "0");
            command.env("NEVERSTALE_TEST_POSTGRES_BIN", &postgres.path);
            server.lend_to(command.env("NEVERSTALE_BIN", &binary));
            if let Some(previous) = &previous {
                command.env("NEVERSTALE_PREVIOUS_BIN", previous);
            }
            println!("NEVERSTALE_TEST_POSTGRES={} {}", version.as_str(), shown(&command));
            totals.add(count(&mut command)?);
        }
    }
    println!("{totals}");
    Ok(totals)
}

/// Drives the real Open WebUI, two replicas each with its sidecar, and its own page behind the door. The last line printed is the total.
pub(crate) fn run_real() -> Result<Totals> {
    real(&[], None)
}

/// Drives the page alone, of the newer release, and keeps a picture of each stop.
pub(crate) fn run_real_page(pictures: &Path) -> Result<Totals> {
    real(&["-k", "page and 0.12.4"], Some(pictures))
}

fn real(arguments: &[&str], pictures: Option<&Path>) -> Result<Totals> {
    println!("{}", redis_server()?.how);
    println!("{}", chromium()?.how);
    let version = PostgresVersion::System;
    println!("{}", postgres_binaries(version)?.how);
    let mut command = python::real_tests()?.context("the tests with the real application need Python")?;
    command.args(arguments);
    if let Some(pictures) = pictures {
        command.env("NEVERSTALE_TEST_PICTURES", pictures);
    }
    let server = Server::start(version)?;
    server.lend_to(command.env("NEVERSTALE_BIN", build_binary(Profile::Dev)?));
    println!("{}", shown(&command));
    let totals = count(&mut command)?;
    println!("{totals}");
    Ok(totals)
}

fn commands(version: PostgresVersion, filter: Option<&str>) -> Result<Vec<Command>> {
    let whole = version == PostgresVersion::System;
    let packages = packages_with_servers(&metadata()?);
    let mut commands = Vec::new();
    if has("nextest") {
        let mut command = cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests", "pass"]);
        if env::var_os(AT_ONCE).is_none() {
            command.env(AT_ONCE, at_once().to_string());
        }
        if !whole {
            // The same selection of packages as before, so that nothing is built again.
            let set: Vec<String> = packages.iter().map(|package| format!("package({package})")).collect();
            command
                .arg("-E")
                .arg(format!("({}) - {NEEDS_NO_OTHER}", set.join(" + ")));
        }
        command.args(filter);
        commands.push(command);
        if whole && filter.is_none() {
            commands.push(cargo(&["test", "--workspace", "--doc", "--quiet"]));
        }
        commands.extend(python_tests(version, filter)?);
        return Ok(commands);
    }
    let mut command = cargo(&["test", "--no-fail-fast"]);
    if whole {
        command.arg("--workspace");
    } else {
        command.args(packages.iter().flat_map(|package| ["--package", package]));
    }
    command.args(filter);
    commands.push(command);
    commands.extend(python_tests(version, filter)?);
    Ok(commands)
}

/// How many tests run at once: half of their time they wait for a server, a lease or a fault.
fn at_once() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    cores + cores.div_ceil(2)
}

/// The Python client's tests, once: they are about the client, not about PostgreSQL.
fn python_tests(version: PostgresVersion, filter: Option<&str>) -> Result<Option<Command>> {
    if version != PostgresVersion::System || filter.is_some_and(|filter| filter != "python") {
        return Ok(None);
    }
    python::tests()
}

/// The packages whose tests use a PostgreSQL: the testkit's, or servers of their own.
fn packages_with_servers(metadata: &Value) -> Vec<String> {
    let uses = |package: &&Value| {
        let dependencies = package["dependencies"].as_array();
        dependencies.is_some_and(|all| all.iter().any(|one| one["name"] == "neverstale-testkit"))
    };
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let names = packages.filter(uses).filter_map(|package| package["name"].as_str());
    let chores = ["neverstale-xtask", "neverstale-benches"];
    names
        .filter(|name| !chores.contains(name))
        .map(str::to_owned)
        .chain(OWN_SERVERS.map(str::to_owned))
        .collect()
}

/// Runs a test runner, shows what it says, and reads its closing lines.
pub(crate) fn count(command: &mut Command) -> Result<Totals> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {}", shown(command)))?;
    let errors = child.stderr.take().context("read a test runner")?;
    let errors = std::thread::spawn(move || {
        relay(errors, |line| {
            eprintln!("{line}");
        })
    });
    let mut totals = relay(child.stdout.take().context("read a test runner")?, |line| {
        println!("{line}");
    });
    totals.add(errors.join().unwrap_or_default());
    let status = child.wait()?;
    if !status.success() && totals.failed == 0 {
        // It failed before or beside its tests: a build that broke, or a process that was killed.
        totals.failed += 1;
    }
    Ok(totals)
}

fn relay(stream: impl std::io::Read, mut show: impl FnMut(&str)) -> Totals {
    let mut totals = Totals::default();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        totals.add(closing_line(&line).unwrap_or_default());
        show(&line);
    }
    totals
}

/// Reads nextest's `Summary […] 16 tests run: 15 passed, 1 failed, …`, libtest's `test result: ok. 5 passed; 0 failed; …`, or pytest's.
fn closing_line(line: &str) -> Option<Totals> {
    let line = line.trim();
    let rest = match line.strip_prefix("test result: ") {
        Some(rest) => rest,
        None if line.starts_with("Summary [") => {
            line.split_once("tests run: ")
                .or_else(|| line.split_once("test run: "))?
                .1
        }
        None => return closing_line_of_pytest(line),
    };
    let number = |word: &str| {
        let before = rest
            .split([',', ';', '.', '(', ')'])
            .map(str::trim)
            .find(|part| part.ends_with(word))?;
        before.split(' ').next()?.parse::<u64>().ok()
    };
    let failed = number(" failed").unwrap_or(0) + number(" timed out").unwrap_or(0);
    Some(Totals {
        passed: number(" passed").unwrap_or(0),
        failed,
    })
}

/// Reads pytest's `1 failed, 173 passed, 2 errors in 81.32s (0:01:21)`.
fn closing_line_of_pytest(line: &str) -> Option<Totals> {
    let (counts, time) = line.trim_matches(['=', ' ']).split_once(" in ")?;
    time.split_once('s')?.0.parse::<f64>().ok()?;
    let mut totals = Totals::default();
    for count in counts.split(", ") {
        let (number, word) = count.split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match word {
            "passed" => totals.passed += number,
            "failed" | "error" | "errors" => totals.failed += number,
            _ => {}
        }
    }
    Some(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_all_runners_are_read() {
        let totals = |passed, failed| Some(Totals { passed, failed });
        assert_eq!(
            closing_line("     Summary [   1.985s] 16 tests run: 15 passed, 1 failed, 0 skipped"),
            totals(15, 1)
        );
        assert_eq!(
            closing_line("     Summary [   0.003s] 1 test run: 1 passed, 3 skipped"),
            totals(1, 0)
        );
        assert_eq!(
            closing_line("  Summary [ 2.5s] 11/16 tests run: 9 passed (1 slow), 1 failed, 1 timed out, 0 skipped"),
            totals(9, 2)
        );
        assert_eq!(
            closing_line("test result: ok. 5 passed; 0 failed; 0 ignored; finished in 0.37s"),
            totals(5, 0)
        );
        assert_eq!(closing_line("running 5 tests"), None);
        assert_eq!(closing_line("174 passed in 60.10s (0:01:00)"), totals(174, 0));
        assert_eq!(
            closing_line("=== 1 failed, 3 passed, 2 skipped, 2 errors in 8.32s ==="),
            totals(3, 3)
        );
        assert_eq!(closing_line("it is known in the sidecar"), None);
    }
}
