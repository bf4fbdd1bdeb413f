//! The real binary: found or built, run for a command, or started as a sidecar and watched.
//!
//! A sidecar gets a bare environment, because a test's own variables are unknown settings to it, which it refuses.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal};

use crate::{
    fetch::quietly,
    http::{Answer, Client, Target},
    ports::free_port,
    scratch::{Scratch, target_directory, workspace},
    supervisor::{Recipe, Supervised, bare},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// The binary: `NEVERSTALE_BIN`, else what cargo builds now, in the profile of whoever asks.
pub fn neverstale() -> Result<PathBuf> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if let Some(chosen) = env::var_os("NEVERSTALE_BIN") {
        return Ok(PathBuf::from(chosen));
    }
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(built) = BUILT.get() {
        return Ok(built.clone());
    }
    let mut command = cargo();
    command.args(["build", "--quiet", "--package", "neverstale-sidecar"]);
    let directory = if cfg!(debug_assertions) {
        "debug"
    } else {
        command.arg("--release");
        "release"
    };
    let status = command.status().context("run cargo build")?;
    ensure!(status.success(), "cargo could not build the binary ({status})");
    Ok(BUILT
        .get_or_init(|| target_directory().join(directory).join("neverstale"))
        .clone())
}

/// Cargo in the workspace's root, as from a shell.
///
/// Whoever was started by cargo has variables about its own package. Build scripts of others read variables of these names, so
/// cargo would build ring, and what stands on it, again for each that asks.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command.current_dir(workspace());
    command
}

/// A command of the binary with a bare environment, to be completed and run by the caller.
pub fn command(arguments: &[&str]) -> Result<Command> {
    Ok(command_of(&neverstale()?, arguments))
}

fn command_of(binary: &Path, arguments: &[&str]) -> Command {
    let mut command = bare(binary);
    command.args(arguments);
    command
}

/// Runs a command such as `install` against a database; fails with its output if it fails.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
    run_binary(&neverstale()?, arguments, environment).await
}

/// Runs a command of a given binary; fails with its output if it fails.
pub async fn run_binary(binary: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
    let mut command = command_of(binary, arguments);
    command.envs(environment.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await?
        .context("run neverstale")?;
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "neverstale {}: {}\n{text}{errors}",
        arguments.join(" "),
        output.status
    );
    Ok(output)
}

/// How a sidecar is started.
#[derive(Debug, Clone, Default)]
pub struct SidecarOptions {
    /// Where the application's database is.
    pub database_url: String,
    /// Redis, if there is one.
    pub redis_url: Option<String>,
    /// Further environment, such as `("NEVERSTALE_CACHE__L1__BYTES_MAX", "1048576")`.
    pub environment: Vec<(String, String)>,
}

impl SidecarOptions {
    /// Options for a database.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            ..Self::default()
        }
    }

    /// Uses Redis too.
    #[must_use]
    pub fn with_redis(mut self, url: impl Into<String>) -> Self {
        self.redis_url = Some(url.into());
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }
}

/// A running sidecar. It is killed when dropped.
#[derive(Debug)]
pub struct Sidecar {
    api_port: u16,
    admin_port: u16,
    process: Supervised,
    home: Scratch,
}

impl Sidecar {
    /// Starts a sidecar and waits until it is ready.
    pub async fn start(options: &SidecarOptions) -> Result<Self> {
        Self::start_binary(&neverstale()?, options).await
    }

    /// Starts a sidecar from a given binary and waits until it is ready.
    pub async fn start_binary(binary: &Path, options: &SidecarOptions) -> Result<Self> {
        let sidecar = Self::launch_binary(binary, options)?;
        sidecar.ready(PATIENCE).await?;
        Ok(sidecar)
    }

    /// Starts a sidecar and does not wait.
    pub fn launch(options: &SidecarOptions) -> Result<Self> {
        Self::launch_binary(&neverstale()?, options)
    }

    fn launch_binary(binary: &Path, options: &SidecarOptions) -> Result<Self> {
        let (home, api_port, admin_port) = (Scratch::new()?, free_port()?, free_port()?);
        let (api, admin) = (format!("127.0.0.1:{api_port}"), format!("127.0.0.1:{admin_port}"));
        let socket = home.path().join("api.sock");
        let mut words: Vec<&OsStr> = vec![binary.as_os_str(), OsStr::new("serve")];
        words.extend(["--api-listen", &api, "--admin-listen", &admin, "--api-socket"].map(OsStr::new));
        words.push(socket.as_os_str());
        let mut environment = vec![("DATABASE_URL", options.database_url.as_str()), ("RUST_BACKTRACE", "1")];
        environment.extend(options.redis_url.iter().map(|url| ("REDIS_URL", url.as_str())));
        environment.extend(
            options
                .environment
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let process = Supervised::start(&Recipe {
            environment: &environment,
            ..Recipe::new(&words, home.path(), "neverstale.log")
        })?;
        Ok(Self {
            api_port,
            admin_port,
            process,
            home,
        })
    }

    /// Waits until `/readyz` says 200; fails with the log if the process ends before.
    pub async fn ready(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            self.process.must_live("neverstale serve")?;
            let answer = self.admin().with_timeout(Duration::from_secs(2)).get("/readyz").await;
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            let last = answer.map_or_else(|error| format!("{error:#}"), |answer| answer.text());
            ensure!(
                Instant::now() < deadline,
                "the sidecar is not ready after {patience:?}: {last}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The port of the `api` listener.
    pub fn api_port(&self) -> u16 {
        self.api_port
    }

    /// The port of the `admin` listener.
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// The Unix socket of the `api` listener.
    pub fn socket(&self) -> PathBuf {
        self.home.path().join("api.sock")
    }

    /// The sidecar's own directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// A client of the `api` listener over TCP.
    pub fn api(&self) -> Client {
        Client::port(self.api_port)
    }

    /// A client of the `api` listener over the Unix socket, which may see secrets.
    pub fn api_by_socket(&self) -> Client {
        Client::new(Target::Socket(self.socket()))
    }

    /// A client of the `admin` listener.
    pub fn admin(&self) -> Client {
        Client::port(self.admin_port)
    }

    /// One `GET` of the `api` listener on a connection of its own.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.api().get(path).await
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> Result<String> {
        Ok(self.admin().get("/metrics").await?.text())
    }

    /// The sum of a metric over all its labels; 0 when it does not appear.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.metrics().await?;
        let values = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        Ok(values
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// Stops the process in its tracks (SIGSTOP).
    pub fn pause(&self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets a paused process go on.
    pub fn resume(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Leaves the process the address space that it has and one MiB more, as a limit on memory does: it gets no other thread.
    pub fn deny_threads(&self) -> Result<()> {
        let pid = self.pid().as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read how large a process is")?;
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
        let kibibytes: u64 = size
            .and_then(|size| size.split_whitespace().next()?.parse().ok())
            .context("find a process' address space")?;
        let limit = format!("--as={}:", (kibibytes + 1_024) * 1_024);
        quietly(Command::new("prlimit").args([format!("--pid={pid}"), limit]))
    }

    /// Kills the process (SIGKILL) and waits for its end.
    pub async fn kill_nine(&self) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        self.process.exited(PATIENCE).await.map(drop)
    }

    /// Asks the process to end (SIGTERM) and does not wait.
    pub fn ask_to_end(&self) -> Result<()> {
        self.process.signal(Signal::TERM)
    }

    /// Asks the process to end (SIGTERM), waits, and gives its exit status.
    pub async fn terminate(&self) -> Result<i32> {
        self.ask_to_end()?;
        self.exited(PATIENCE).await
    }

    /// Waits for the exit status, as a shell gives it: 128 + signal for a process that was killed.
    pub async fn exited(&self, patience: Duration) -> Result<i32> {
        self.process.exited(patience).await
    }

    /// What the process has written to standard output and standard error so far.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // A failing test shows what its sidecar had to say; a passing one is silent.
        if std::thread::panicking() {
            eprintln!("--- log of the sidecar on port {} ---\n{}", self.api_port, self.log());
        }
    }
}
