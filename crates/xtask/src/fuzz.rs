//! Fuzzes the door's parsers for minutes, each for its share, beginning with the seeds in `fuzz/seeds`.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{target_directory, workspace};

use crate::cargo::{cargo, succeed};

const PARSERS: [&str; 3] = ["framing", "path", "credentials"];
/// Longer inputs find nothing that shorter ones do not.
const INPUT_BYTES_MAX: usize = 4_096;

/// What to fuzz for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct FuzzOptions {
    /// How long in all.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// One parser alone.
    #[arg(long, value_parser = PARSERS)]
    only: Option<String>,
}

/// Runs cargo-fuzz with the pinned toolchain. A finding ends it; its input is named, and becomes a seed when it is mended.
pub(crate) fn run(options: &FuzzOptions) -> Result<()> {
    let is_there = Command::new("cargo-fuzz").arg("--version").output().is_ok();
    ensure!(is_there, "fuzzing needs cargo-fuzz: `cargo install cargo-fuzz`");
    let parsers: Vec<_> = PARSERS
        .into_iter()
        .filter(|parser| options.only.as_ref().is_none_or(|only| only == parser))
        .collect();
    let seconds = options.minutes * 60 / parsers.len() as u64;
    for parser in parsers {
        let found = target_directory().join("fuzz").join("corpus").join(parser);
        fs::create_dir_all(&found).with_context(|| format!("make {}", found.display()))?;
        // Without a sanitizer, which the pinned toolchain has none of: the parsers are free of unsafe code, so that what can go wrong
        // is a panic, an overflow, or a property that does not hold.
        let mut fuzz = cargo(&["fuzz", "run", "--sanitizer", "none", "--debug-assertions", parser]);
        fuzz.env("RUSTC_BOOTSTRAP", "1")
            .arg(&found)
            .arg(workspace().join("fuzz").join("seeds").join(parser))
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg("-print_final_stats=1");
        succeed(&mut fuzz)?;
    }
    Ok(())
}
