//! The crate table of ARCHITECTURE.md: each crate's sentence and the crates it stands on.
//!
//! The sentence is the `description` in Cargo.toml, and the first one of `lib.rs` must be the same. The table is written between two
//! marks by `cargo xtask tidy --write` and compared without.

use std::{fmt::Write, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{read, root_path};

const DOCUMENT: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- crates: written by `cargo xtask tidy --write` -->";
const END: &str = "<!-- end of crates -->";

/// A package of the workspace.
pub(super) struct Package {
    /// The directory, from the root: `crates/cache`.
    directory: String,
    /// The package's name in Cargo.toml.
    pub(super) name: String,
    description: String,
    /// The short names of our crates that it needs to be built (development dependencies are no arrows).
    needs: Vec<String>,
}

impl Package {
    fn short(&self) -> &str {
        self.directory.rsplit('/').next().unwrap_or(&self.directory)
    }
}

/// The workspace's packages, from `cargo metadata`.
pub(super) fn packages(metadata: &Value) -> Result<Vec<Package>> {
    let root = metadata["workspace_root"]
        .as_str()
        .context("find the workspace's root")?;
    let short = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let read_package = |package: &Value| {
        let manifest = package["manifest_path"].as_str()?.strip_suffix("/Cargo.toml")?;
        let dependencies = package["dependencies"].as_array()?;
        let normal = dependencies.iter().filter(|one| one["kind"].is_null());
        let mut needs: Vec<String> = normal.filter_map(|one| Some(short(one["path"].as_str()?))).collect();
        needs.sort_unstable();
        needs.dedup();
        Some(Package {
            directory: manifest.strip_prefix(root)?.trim_start_matches('/').to_owned(),
            name: package["name"].as_str()?.to_owned(),
            description: package["description"].as_str().unwrap_or_default().to_owned(),
            needs,
        })
    };
    let packages = metadata["packages"]
        .as_array()
        .context("find the workspace's packages")?;
    let packages: Vec<Package> = packages.iter().filter_map(read_package).collect();
    ensure!(!packages.is_empty(), "cargo metadata names no package");
    Ok(floors(packages))
}

/// Lists who stands on nothing first, and each crate after all that it stands on; equals by name.
fn floors(mut waiting: Vec<Package>) -> Vec<Package> {
    waiting.sort_by(|one, other| one.directory.cmp(&other.directory));
    let mut listed: Vec<Package> = Vec::new();
    while !waiting.is_empty() {
        let stands = |package: &Package| {
            package
                .needs
                .iter()
                .all(|need| listed.iter().any(|other| other.short() == need))
        };
        let (floor, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(stands);
        // Cargo refuses cycles, so a floor is never empty; if it were, the rest is listed as it is.
        let stuck = floor.is_empty();
        listed.extend(floor);
        waiting = rest;
        if stuck {
            listed.append(&mut waiting);
        }
    }
    listed
}

fn table(packages: &[Package]) -> String {
    let mut table = "| crate | what it does | stands on |\n| --- | --- | --- |\n".to_owned();
    for package in packages {
        let needs: Vec<String> = package.needs.iter().map(|need| format!("`{need}`")).collect();
        let needs = if needs.is_empty() {
            "–".to_owned()
        } else {
            needs.join(", ")
        };
        writeln!(table, "| `{}` | {} | {needs} |", package.directory, package.description).ok();
    }
    table
}

/// Writes the table between the marks.
pub(super) fn write_table(packages: &[Package]) -> Result<()> {
    let document = read(DOCUMENT);
    let (before, rest) = document
        .split_once(BEGIN)
        .with_context(|| format!("find `{BEGIN}` in {DOCUMENT}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("find `{END}` in {DOCUMENT}"))?;
    let written = format!("{before}{BEGIN}\n\n{}\n{END}{after}", table(packages));
    fs::write(root_path(DOCUMENT), written).with_context(|| format!("write {DOCUMENT}"))
}

/// What is wrong with the table and the sentences.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    let document = read(DOCUMENT);
    let there = document.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    match there {
        None => problems.push(format!("{DOCUMENT}: has no crate table between `{BEGIN}` and `{END}`")),
        Some((there, _)) => {
            let wanted = table(packages);
            let missing = wanted.lines().filter(|line| !there.contains(line));
            problems.extend(missing.map(|line| format!("{DOCUMENT}: lacks `{line}`; run `cargo xtask tidy --write`")));
            let extra = there
                .lines()
                .filter(|line| line.starts_with('|') && !wanted.contains(line));
            problems
                .extend(extra.map(|line| format!("{DOCUMENT}: `{line}` is not true; run `cargo xtask tidy --write`")));
        }
    }
    for package in packages {
        let library = format!("{}/src/lib.rs", package.directory);
        let source = if root_path(&library).exists() {
            library
        } else {
            format!("{}/src/main.rs", package.directory)
        };
        let sentence = first_sentence(&read(&source));
        if sentence != package.description {
            let description = &package.description;
            problems.push(format!(
                "{source}: begins with `{sentence}`, but Cargo.toml's description is `{description}`"
            ));
        }
    }
    problems
}

/// The first sentence of a file's head, which may run over several lines.
fn first_sentence(source: &str) -> String {
    let head = source.lines().skip_while(|line| !line.starts_with("//!"));
    let head = head
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty());
    let paragraph = head.collect::<Vec<_>>().join(" ");
    match paragraph.find(". ") {
        Some(end) => paragraph.get(..=end).unwrap_or(&paragraph).to_owned(),
        None => paragraph,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sentence_may_run_over_lines() {
        assert_eq!(
            first_sentence("//! Does one\n//! thing. And more.\n//!\n//! Else.\n"),
            "Does one thing."
        );
        assert_eq!(first_sentence("#![x]\n//! Does it.\nfn main() {}\n"), "Does it.");
    }

    #[test]
    fn a_crate_is_listed_after_what_it_stands_on() {
        let package = |name: &str, needs: &[&str]| Package {
            directory: format!("crates/{name}"),
            name: name.to_owned(),
            description: String::new(),
            needs: needs.iter().map(ToString::to_string).collect(),
        };
        let sorted = floors(vec![package("a", &["b"]), package("b", &["c"]), package("c", &[])]);
        assert_eq!(sorted.iter().map(Package::short).collect::<Vec<_>>(), ["c", "b", "a"]);
    }
}
