//! Says what a run ran on: processor, memory, kernel, stores, commit, date. No names of hosts, users or places.

use std::{fmt::Write, fs, process::Command};

use anyhow::{Context, Result};

use crate::house::House;

/// What a run ran on.
#[derive(Debug)]
pub(crate) struct Machine {
    lines: Vec<(&'static str, String)>,
}

impl Machine {
    /// Looks at the machine, before anything is measured.
    pub(crate) async fn describe(house: &House) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let client = house.postgres.connect("postgres").await?;
        let postgres: String = client.query_one("SHOW server_version", &[]).await?.get(0);
        let info = house.redis.command(&["INFO", "server"]).await?;
        let redis = info
            .lines()
            .find_map(|line| line.trim().strip_prefix("redis_version:"))
            .context("read Redis' version")?;
        let pinned = if house.pinning.is_possible() {
            "in L1, fence and tier scenarios whoever serves has one core and whoever asks another"
        } else {
            "no"
        };
        let lines = vec![
            ("date", said_by("date", &["-u", "+%Y-%m-%d"])),
            ("commit", commit()),
            (
                "processor",
                format!("{}, {cores} cores", field("/proc/cpuinfo", "model name")),
            ),
            ("memory", memory()),
            ("kernel", kernel()),
            (
                "stores",
                format!("PostgreSQL {postgres}, Redis {redis}, both on loopback"),
            ),
            ("pinned", pinned.to_owned()),
            ("load average before", load_average()),
        ];
        Ok(Self { lines })
    }

    /// Writes the machine as a table.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::from("| run | |\n| --- | --- |\n");
        for (name, value) in &self.lines {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        text
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let mut all = vec!["-C", env!("CARGO_MANIFEST_DIR")];
        all.extend(arguments);
        said_by("git", &all)
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    if commit == UNKNOWN {
        return "none yet".to_owned();
    }
    // What this program writes itself does not make a different tree.
    let changed = git(&["status", "--porcelain", "--", ".", ":/", ":!/benches/RESULTS.md"]);
    if changed == UNKNOWN {
        commit
    } else {
        format!("{commit}, with changes")
    }
}

const UNKNOWN: &str = "unknown";

/// What a program says, or `unknown` if it fails or says nothing.
fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty())
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'));
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.trim().to_owned())
}

fn memory() -> String {
    let kibibytes = field("/proc/meminfo", "MemTotal");
    let kibibytes: Option<f64> = kibibytes.split(' ').next().and_then(|number| number.parse().ok());
    kibibytes.map_or_else(
        || UNKNOWN.to_owned(),
        |number| format!("{:.0} GiB", number / 1024.0 / 1024.0),
    )
}

/// The version alone: what follows it often names who built the kernel, and where.
fn kernel() -> String {
    let release = said_by("uname", &["-r"]);
    let version = release
        .split(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .next()
        .unwrap_or_default();
    format!("{} {version}", said_by("uname", &["-s"]))
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .filter(|number| !number.is_empty())
        .unwrap_or(UNKNOWN)
        .to_owned()
}
