//! Ties processes to cores, where the machine has `taskset` and two cores: the server under load to one, the load to another.
//!
//! Without it the numbers are still right, only more spread.

use std::process::{Command, Stdio};

/// The core of whatever is being loaded.
pub(crate) const SERVER_CORE: usize = 0;
/// The core of what makes the load.
pub(crate) const LOAD_CORE: usize = 1;

/// Whether processes can be tied to cores here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pinning {
    is_possible: bool,
}

impl Pinning {
    /// Looks what the machine has.
    pub(crate) fn probe() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            is_possible: cores > LOAD_CORE && runs(Command::new("taskset").arg("--version")),
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
        if self.is_possible {
            let mut command = Command::new("taskset");
            command.args([
                "--all-tasks",
                "--cpu-list",
                "--pid",
                &core.to_string(),
                &process.to_string(),
            ]);
            runs(&mut command);
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
