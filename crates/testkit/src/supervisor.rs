//! A child process that ends with us, however we end.
//!
//! A small shell stands between us and the server: it reads a pipe whose other end only we hold, and when that end closes without a word it
//! stops the server and removes its directory. (The kernel's parent-death signal would need unsafe code, and does not reach a server's own children.)

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{net::TcpStream, sync::watch};

use crate::scratch::User;

/// `$1` signal that stops the server · `$2` directory to remove when we die (or empty) · `$3` log · then the command.
const SCRIPT: &str = r#"
signal=$1 directory=$2 log=$3
shift 3
exec 3<&0
"$@" </dev/null >>"$log" 2>&1 3<&- &
server=$!
(
    if read -r word <&3; then exit 0; fi
    [ -e "$log.exited" ] || { kill -s CONT "$server"; kill -s "$signal" "$server"; }
    patience=50
    while [ ! -e "$log.exited" ] && [ $patience -gt 0 ]; do sleep 0.1; patience=$((patience - 1)); done
    [ -e "$log.exited" ] || kill -s KILL "$server"
    [ -z "$directory" ] || rm -rf "$directory"
) >/dev/null 2>&1 &
exec 3<&-
echo "$server"
wait "$server"
status=$?
: >"$log.exited"
echo "$status"
"#;

/// How a server is started.
pub(crate) struct Recipe<'a> {
    pub(crate) command: &'a [&'a OsStr],
    /// Beside our own `PATH` and `HOME`; the rest of our environment it does not get.
    pub(crate) environment: &'a [(&'a str, &'a str)],
    pub(crate) user: Option<User>,
    /// The server's home: working directory, log, and what is removed when we die.
    pub(crate) home: &'a Path,
    /// The log's file name in the home.
    pub(crate) log: &'a str,
    /// The server's quickest end that leaves nothing behind: sent when this is dropped, and by the shell when we died.
    pub(crate) end: Ending,
}

impl<'a> Recipe<'a> {
    /// A server of one process, which wants nothing else.
    pub(crate) fn new(command: &'a [&'a OsStr], home: &'a Path, log: &'a str) -> Self {
        Self {
            command,
            environment: &[],
            user: None,
            home,
            log,
            end: Ending::Kill,
        }
    }
}

/// A command that gets of our environment only `PATH` and `HOME`.
pub(crate) fn bare(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let kept = ["PATH", "HOME"].into_iter();
    command
        .env_clear()
        .envs(kept.filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// How a server is made to end at once.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    /// SIGQUIT: PostgreSQL's immediate shutdown, which takes the backends along.
    Quit,
    /// SIGKILL, for a server of one process.
    Kill,
}

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Quit => Signal::QUIT,
            Self::Kill => Signal::KILL,
        }
    }
}

/// A server under supervision.
#[derive(Debug)]
pub(crate) struct Supervised {
    shell: Child,
    /// Closing it without a word is our death.
    leash: Option<ChildStdin>,
    pid: Pid,
    exit: watch::Receiver<Option<i32>>,
    log: PathBuf,
    end: Ending,
}

impl Supervised {
    pub(crate) fn start(recipe: &Recipe<'_>) -> Result<Self> {
        let log = recipe.home.join(recipe.log);
        let marker = recipe.home.join(format!("{}.exited", recipe.log));
        fs::remove_file(marker).ok();
        let mut command = bare("sh");
        command
            .arg("-c")
            .arg(SCRIPT)
            .arg("supervisor")
            .arg(recipe.end.name())
            .arg(recipe.home)
            .arg(&log)
            .args(recipe.command);
        command
            .envs(recipe.environment.iter().copied())
            .current_dir(recipe.home);
        // A group of its own: Ctrl-C in a terminal is for us, and we end our servers in order.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        if let Some(user) = recipe.user {
            command.uid(user.uid).gid(user.gid);
        }
        let mut shell = command.spawn().context("start a shell that supervises a server")?;
        let leash = shell.stdin.take();
        let mut lines = BufReader::new(shell.stdout.take().context("read the supervising shell")?).lines();
        let first = lines.next().context("read a server's process id")??;
        let pid = first
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .with_context(|| format!("read a process id from `{first}`"))?;
        let (sender, exit) = watch::channel(None);
        thread::spawn(move || {
            let status = lines.next().and_then(|line| line.ok()?.parse().ok());
            // Without a status the shell itself was killed, and the server is nobody's any more.
            sender.send(Some(status.unwrap_or(-1))).ok();
        });
        Ok(Self {
            shell,
            leash,
            pid,
            exit,
            log,
            end: recipe.end,
        })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// Sends a signal; a server that has exited already is no error.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        if self.has_exited() {
            return Ok(());
        }
        match kill_process(self.pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("signal process {}", self.pid.as_raw_nonzero())),
        }
    }

    /// Waits for the exit status, as a shell gives it: 128 + signal for a server that was killed.
    pub(crate) async fn exited(&self, patience: Duration) -> Result<i32> {
        let mut exit = self.exit.clone();
        let status = tokio::time::timeout(patience, exit.wait_for(Option::is_some)).await;
        let status =
            status.with_context(|| format!("process {} still runs after {patience:?}", self.pid.as_raw_nonzero()))?;
        Ok(status.context("watch a server")?.unwrap_or(-1))
    }

    /// Waits until it takes connections on a loopback port; fails with its log if it ends before.
    pub(crate) async fn listens(&self, port: u16, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            ensure!(
                !self.has_exited() && Instant::now() < deadline,
                "nothing listens on port {port}:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Somebody else's server on this port would take connections too.
        ensure!(!self.has_exited(), "it ended:\n{}", self.log());
        Ok(())
    }

    /// The whole log so far.
    pub(crate) fn log(&self) -> String {
        fs::read(&self.log).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Fails with the end of the log when the server is gone.
    pub(crate) fn must_live(&self, name: &str) -> Result<()> {
        let log = self.log();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        ensure!(
            !self.has_exited(),
            "{name} ended with status {:?}:\n{}",
            *self.exit.borrow(),
            tail.join("\n")
        );
        Ok(())
    }

    fn await_exit_blocking(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.has_exited() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        self.has_exited()
    }
}

impl Drop for Supervised {
    /// Ends the server at once: whoever wants an orderly end has asked for it before.
    fn drop(&mut self) {
        self.signal(self.end.signal()).ok();
        self.signal(Signal::CONT).ok();
        if !self.await_exit_blocking(Duration::from_secs(5)) {
            self.signal(Signal::KILL).ok();
        }
        if self.await_exit_blocking(Duration::from_secs(5))
            && let Some(mut leash) = self.leash.take()
        {
            leash.write_all(b"done\n").ok();
        }
        self.shell.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn sleeper(home: &Path) -> Supervised {
        let command: Vec<&OsStr> = ["sleep", "60"].iter().map(AsRef::as_ref).collect();
        Supervised::start(&Recipe::new(&command, home, "log")).unwrap()
    }

    #[tokio::test]
    async fn a_killed_server_is_noticed_with_its_status() {
        let scratch = Scratch::new().unwrap();
        let server = sleeper(scratch.path());
        server.signal(Signal::KILL).unwrap();
        assert_eq!(server.exited(Duration::from_secs(5)).await.unwrap(), 128 + 9);
    }

    #[tokio::test]
    async fn a_server_and_its_directory_end_with_their_owner() {
        let scratch = Scratch::new().unwrap();
        let mut server = sleeper(scratch.path());
        // Closing the leash without a word is what our death looks like.
        drop(server.leash.take());
        assert_eq!(server.exited(Duration::from_secs(5)).await.unwrap(), 128 + 9);
        let deadline = Instant::now() + Duration::from_secs(5);
        while scratch.path().exists() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!scratch.path().exists());
    }
}
