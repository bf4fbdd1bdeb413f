//! Places on this machine: throw-away directories, the workspace and its target directory.
//!
//! A throw-away directory names its owner's process id, so that the next one that is made can sweep what dead owners left behind.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, getuid, kill_process, test_kill_process};

const PREFIX: &str = "neverstale-scratch-";

/// A throw-away directory. It is removed when dropped, or swept by the next one when its owner was killed.
#[derive(Debug)]
pub struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    /// Makes a directory that only this user may enter.
    pub fn new() -> Result<Self> {
        static SWEPT: OnceLock<()> = OnceLock::new();
        SWEPT.get_or_init(sweep);
        let base = base();
        let directory = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .tempdir_in(&base)
            .with_context(|| format!("make a directory in {}", base.display()))?;
        Ok(Self { directory })
    }

    /// Makes a directory for a server, which belongs to the server's user.
    pub(crate) fn of(user: Option<User>) -> Result<Self> {
        let scratch = Self::new()?;
        if let Some(user) = user {
            chown(scratch.path(), Some(user.uid), Some(user.gid)).context("give a directory to the server's user")?;
        }
        Ok(scratch)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A user that a server runs as, because PostgreSQL refuses to run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// The unprivileged user for servers: `postgres`, or `nobody`; `None` when we are not root and servers may run as ourselves.
    pub(crate) fn for_servers() -> Result<Option<Self>> {
        if !getuid().is_root() {
            return Ok(None);
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| {
                Some(Self {
                    uid: number_from_id("-u", name)?,
                    gid: number_from_id("-g", name)?,
                })
                .filter(|user| user.uid != 0)
            })
            .map(Some)
            .context("find an unprivileged user (postgres or nobody) for a server that refuses to run as root")
    }
}

fn number_from_id(which: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([which, name]).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().parse().ok())?
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.to_owned(), Path::to_owned)
}

/// Cargo's target directory, where provisioned binaries are kept too.
pub fn target_directory() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |configured| workspace().join(configured))
}

/// Where throw-away directories are made: the short and everywhere readable `/tmp` for root, whose servers run as somebody else.
pub(crate) fn base() -> PathBuf {
    if getuid().is_root() {
        PathBuf::from("/tmp")
    } else {
        env::temp_dir()
    }
}

/// Ends the servers and removes the directories whose owner is dead.
fn sweep() {
    let Ok(entries) = fs::read_dir(base()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok());
        let Some(owner) = owner.and_then(Pid::from_raw) else {
            continue;
        };
        // Only a process that certainly does not exist is dead; one of another user answers EPERM and lives.
        if test_kill_process(owner) != Err(rustix::io::Errno::SRCH) {
            continue;
        }
        end_orphaned_postmaster(&entry.path().join("data"));
        // It is fine to fail: the directory may belong to another user, or another process sweeps it now.
        fs::remove_dir_all(entry.path()).ok();
    }
}

fn end_orphaned_postmaster(data: &Path) {
    let Ok(lock_file) = fs::read_to_string(data.join("postmaster.pid")) else {
        return;
    };
    let mut lines = lock_file.lines();
    let pid = lines
        .next()
        .and_then(|line| line.trim().parse().ok())
        .and_then(Pid::from_raw);
    // The second line is the data directory; the process's working directory must be the same, or the id now belongs to somebody else.
    if let (Some(pid), Some(directory)) = (pid, lines.next())
        && fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).is_ok_and(|cwd| cwd == Path::new(directory))
    {
        kill_process(pid, Signal::KILL).ok();
    }
}

/// Makes a directory and its files readable to every user, as a server that runs as somebody else needs.
pub(crate) fn open_to_all(directory: &Path) -> Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("open {} to the server's user", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_a_dead_owner_is_swept() {
        let mut child = Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let left_behind = base().join(format!("{PREFIX}{dead}-left"));
        fs::create_dir_all(left_behind.join("data")).unwrap();
        sweep();
        assert!(!left_behind.exists());
    }

    #[test]
    fn a_directory_is_removed_when_dropped() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        assert!(path.is_dir());
        drop(scratch);
        assert!(!path.exists());
    }
}
