//! Regenerates the documents that the binary itself can write, or says that they are stale.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail, ensure};
use neverstale_testkit::workspace;

use crate::cargo::{Profile, build_binary};

/// The command that writes a document, and the document.
const DOCUMENTS: [(&str, &str); 2] = [("settings", "docs/CONFIGURATION.md"), ("metrics", "docs/METRICS.md")];

/// Writes the documents; with `check`, fails if one differs.
pub(crate) fn run(check: bool) -> Result<()> {
    let binary = build_binary(Profile::Dev)?;
    let mut stale = Vec::new();
    for (command, document) in DOCUMENTS {
        let output = Command::new(&binary)
            .args([command, "--markdown"])
            .output()
            .context("run neverstale")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "neverstale {command} --markdown: {}\n{errors}",
            output.status
        );
        let path = workspace().join(document);
        if fs::read(&path).is_ok_and(|there| there == output.stdout) {
            continue;
        }
        if check {
            stale.push(document);
        } else {
            fs::create_dir_all(workspace().join("docs"))?;
            fs::write(&path, &output.stdout).with_context(|| format!("write {document}"))?;
            println!("wrote {document}");
        }
    }
    if !stale.is_empty() {
        bail!("stale: {}; run `cargo xtask docs`", stale.join(", "));
    }
    Ok(())
}
