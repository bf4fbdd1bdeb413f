//! Compares what the documents say with what is in the tree: crates and their arrows, paths, options, metrics, promises.
//!
//! A document that describes what is not there is worse than none. What only a person can judge (length) is a hint and fails nothing.

mod crates;
mod markdown;
mod promises;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail, ensure};
use neverstale_testkit::workspace;

/// Above this many lines a file deserves a look for a second idea.
const LINES_HINT: usize = 350;

/// Runs all comparisons and reports every difference at once; with `write`, writes first what can be written: the crate table, and promises into tests.
pub(crate) fn run(write: bool) -> Result<()> {
    let tree = Tree::read()?;
    let packages = crates::packages(&crate::cargo::metadata()?)?;
    if write {
        crates::write_table(&packages)?;
        promises::write(&tree)?;
    }
    let mut problems = crates::check(&packages);
    problems.extend(markdown::check(&tree, &packages));
    problems.extend(promises::check(&tree));
    for (path, lines) in tree.long_files() {
        println!("hint: {path} has {lines} lines; look for the second idea in it");
    }
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    bail!("{} things are not tidy", problems.len());
}

/// The files of the repository, tracked or about to be, as paths from its root.
pub(crate) struct Tree {
    files: Vec<String>,
}

impl Tree {
    fn read() -> Result<Self> {
        let mut command = Command::new("git");
        command
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(workspace());
        let output = command.output().context("run git ls-files")?;
        ensure!(
            output.status.success(),
            "git ls-files: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let listed = String::from_utf8_lossy(&output.stdout);
        let root = workspace();
        let mut files: Vec<String> = listed
            .lines()
            .filter(|file| root.join(file).is_file())
            .map(str::to_owned)
            .collect();
        files.sort_unstable();
        files.dedup();
        Ok(Self { files })
    }

    /// The files whose name ends like this.
    fn ending(&self, extension: &str) -> impl Iterator<Item = &str> {
        self.files
            .iter()
            .map(String::as_str)
            .filter(move |file| file.ends_with(extension))
    }

    /// Whether a path names a file or a directory of the repository.
    fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.files.iter().any(|file| {
            file.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Whether something at the root is called so.
    fn has_root(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.split('/').next() == Some(name))
    }

    fn long_files(&self) -> Vec<(&str, usize)> {
        let lines = |file| fs::read_to_string(workspace().join(file)).map_or(0, |text| text.lines().count());
        self.ending(".rs")
            .map(|file| (file, lines(file)))
            .filter(|(_, lines)| *lines > LINES_HINT)
            .collect()
    }
}

/// Reads a file of the repository; the empty text when it is not there.
fn read(path: &str) -> String {
    fs::read_to_string(root_path(path)).unwrap_or_default()
}

fn root_path(path: &str) -> PathBuf {
    workspace().join(path)
}
