//! What CI runs, in the order in which it fails soonest.

use std::{process::Command, time::Instant};

use anyhow::{Context, Result};

use crate::{
    cargo::{Profile, cargo, has, succeed},
    chart,
    demo::{self, DemoOptions},
    docs, prove, simulate, test, tidy,
};

const DEMO_SECONDS: u64 = 10;
/// Seeds of the simulation; a release takes a hundred thousand, `cargo xtask simulate --seeds 100000`.
const SEEDS: u64 = 2_000;

/// Runs every step and stops at the first that fails. The last line is the tests' total.
pub(crate) fn run() -> Result<()> {
    let warnings_fail = |mut command: Command, variable: &str| {
        command.env(variable, "-D warnings");
        succeed(&mut command)
    };
    step("format", || succeed(&mut cargo(&["fmt", "--all", "--check"])))?;
    step("tidy", || tidy::run(false))?;
    step("clippy", || {
        succeed(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    step("documentation", || {
        warnings_fail(
            cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]),
            "RUSTDOCFLAGS",
        )
    })?;
    if has("deny") {
        step("licences and bans", || {
            succeed(&mut cargo(&[
                "deny",
                "--offline",
                "check",
                "licenses",
                "bans",
                "sources",
            ]))
        })?;
    }
    step("generated documents", || docs::run(true))?;
    step("chart", || chart::run(false))?;
    let totals = step("tests", || test::run(None))?;
    totals.judge()?;
    step("proof", || prove::model_and_mutants(false))?;
    step("simulation", || {
        simulate::run(&["--seeds".to_owned(), SEEDS.to_string()])
    })?;
    step("the simulation finds what it looks for", simulate::mutants)?;
    // The binary of the tests: a second build of everything in release would take longer than all other steps.
    let options = DemoOptions {
        profile: Profile::Dev,
        ..DemoOptions::once(DEMO_SECONDS)
    };
    step("demo", || demo::run(&options))?;
    println!("{totals}");
    Ok(())
}

fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("── {name}");
    let started = Instant::now();
    let done = work().with_context(|| format!("step {name}"));
    let word = if done.is_ok() { "passed" } else { "failed" };
    println!("── {name} {word} in {:.0} s", started.elapsed().as_secs_f64());
    done
}
