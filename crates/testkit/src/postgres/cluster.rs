//! Makes data directories: `initdb` once per version and user, a copy for every server.
//!
//! Copies share a system identifier, which is what a base backup does too; `boot.id` and the database tell them apart.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::scratch::{Scratch, User, open_to_all, target_directory};

/// Fills an absent directory with a fresh cluster that belongs to the server's user.
pub(super) fn create(binaries: &Path, user: Option<User>, data: &Path) -> Result<()> {
    let original = original(binaries, user)?;
    let status = Command::new("cp")
        .arg("-a")
        .arg(&original)
        .arg(data)
        .status()
        .context("copy a cluster")?;
    ensure!(status.success(), "cp could not copy {} ({status})", original.display());
    Ok(())
}

/// The cluster to copy from, in the target directory; it is named after what made it.
fn original(binaries: &Path, user: Option<User>) -> Result<PathBuf> {
    let version = Command::new(binaries.join("postgres"))
        .arg("--version")
        .output()
        .context("ask postgres for its version")?;
    let version: String = String::from_utf8_lossy(&version.stdout)
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '.')
        .collect();
    let uid = user.map_or_else(|| rustix::process::getuid().as_raw(), |user| user.uid);
    let directory = target_directory().join("testkit");
    let original = directory.join(format!("cluster-{version}-{uid}"));
    if original.exists() {
        return Ok(original);
    }
    let home = Scratch::of(user)?;
    let fresh = home.path().join("data");
    let mut initdb = Command::new(binaries.join("initdb"));
    initdb.arg("--pgdata").arg(&fresh).args([
        "--username",
        "postgres",
        "--auth",
        "trust",
        "--encoding",
        "UTF8",
        "--no-locale",
        "--no-sync",
    ]);
    run(&mut initdb, user, home.path())?;
    // Under another name first: half a copy must never be found.
    let staging = directory.join(format!("staging-{}", std::process::id()));
    fs::create_dir_all(&directory).context("make the testkit's directory")?;
    let status = Command::new("cp")
        .arg("-a")
        .arg(&fresh)
        .arg(&staging)
        .status()
        .context("keep a cluster")?;
    ensure!(status.success(), "cp could not copy {} ({status})", fresh.display());
    if fs::rename(&staging, &original).is_err() {
        // Another process was faster.
        fs::remove_dir_all(&staging).ok();
    }
    Ok(original)
}

/// The binaries, where the server's user can run them: a copy in a public place if the workspace is closed to that user.
pub(super) fn reachable_binaries(binaries: &Path, user: Option<User>) -> Result<PathBuf> {
    let Some(user) = user else {
        return Ok(binaries.to_owned());
    };
    let mut probe = Command::new(binaries.join("postgres"));
    probe.arg("--version").uid(user.uid).gid(user.gid).current_dir("/");
    if probe.output().is_ok_and(|output| output.status.success()) {
        return Ok(binaries.to_owned());
    }
    // `bin`, `lib` and `share` stand beside each other, and PostgreSQL finds them relative to `bin`.
    let installation = binaries.parent().context("find the installation of PostgreSQL")?;
    let mut hasher = DefaultHasher::new();
    installation.hash(&mut hasher);
    let public = PathBuf::from(format!("/var/tmp/neverstale-postgres-{:x}", hasher.finish()));
    if let Ok(there) = fs::symlink_metadata(&public) {
        ensure!(
            there.is_dir() && there.uid() == 0,
            "{} is not ours: remove it",
            public.display()
        );
        return Ok(public.join("bin"));
    }
    let staging = public.with_extension(std::process::id().to_string());
    let status = Command::new("cp")
        .arg("-a")
        .arg(installation)
        .arg(&staging)
        .status()
        .context("copy PostgreSQL")?;
    ensure!(
        status.success(),
        "cp could not copy {} ({status})",
        installation.display()
    );
    open_to_all(&staging)?;
    if fs::rename(&staging, &public).is_err() {
        // Another process was faster.
        fs::remove_dir_all(&staging).ok();
    }
    Ok(public.join("bin"))
}

/// Runs a program of PostgreSQL as the server's user.
pub(super) fn run(command: &mut Command, user: Option<User>, directory: &Path) -> Result<()> {
    command.current_dir(directory).env("LC_ALL", "C");
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {program}"))?;
    ensure!(
        output.status.success(),
        "{program}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
