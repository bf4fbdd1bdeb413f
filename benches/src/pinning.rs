//! Ties processes to cores, where the machine has `taskset` and two cores: whoever serves to one, whoever asks to another.
//!
//! A round trip costs twice as much between two cores as within one, and the kernel's scheduler changes its mind about which
//! it is to be; so two latencies can be compared only when both are held to the same. Without it the numbers are still right,
//! only more spread.

use std::process::{Command, Stdio};

/// The core of whatever is being loaded.
pub(crate) const SERVER_CORE: usize = 0;
/// The core of what makes the load.
pub(crate) const LOAD_CORE: usize = 1;

/// Whether processes can be tied to cores here, and how many cores there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pinning {
    is_possible: bool,
    cores: usize,
}

impl Pinning {
    /// Looks what the machine has.
    pub(crate) fn probe() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            is_possible: cores > LOAD_CORE && runs(Command::new("taskset").arg("--version")),
            cores,
        }
    }

    /// Says whether processes can be tied to cores here.
    pub(crate) fn is_possible(self) -> bool {
        self.is_possible
    }

    /// Makes a command that runs on one core.
    pub(crate) fn command(self, core: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        if !self.is_possible {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.arg("--cpu-list").arg(core.to_string()).arg(program);
        command
    }

    /// Ties all threads of a running process to one core.
    pub(crate) fn pin(self, process: u32, core: usize) {
        self.set(process, &core.to_string());
    }

    /// Lets a process run on every core again.
    fn release(self, process: u32) {
        self.set(process, &format!("0-{}", self.cores - 1));
    }

    fn set(self, process: u32, cores: &str) {
        if self.is_possible {
            let mut command = Command::new("taskset");
            command.args(["--all-tasks", "--cpu-list", "--pid", cores, &process.to_string()]);
            runs(&mut command);
        }
    }
}

/// Holds stores, sidecars and this process to their cores; lets go when dropped.
#[derive(Debug)]
pub(crate) struct Apart {
    pinning: Pinning,
    held: Vec<u32>,
}

impl Apart {
    /// Ties the stores to the core of servers: what they start from here on stays there.
    pub(crate) fn new(pinning: Pinning, stores: Vec<u32>) -> Self {
        for store in &stores {
            pinning.pin(*store, SERVER_CORE);
        }
        Self { pinning, held: stores }
    }

    /// Ties running sidecars to the core of servers, and this process, which asks them, to the core of loads. Nothing should
    /// be started after this: it would inherit the core.
    pub(crate) fn begin(&mut self, sidecars: &[u32]) {
        for sidecar in sidecars {
            self.pinning.pin(*sidecar, SERVER_CORE);
        }
        self.pinning.pin(std::process::id(), LOAD_CORE);
        self.held.push(std::process::id());
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        for process in &self.held {
            self.pinning.release(*process);
        }
    }
}

fn runs(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
