//! Puts the parts together into the one binary, neverstale.
//!
//! The life of the process in order: command line, settings, telemetry, then one command. Nothing is decided here but
//! the order and the exit code.

mod cli;
mod exit;
mod output;
mod settings;

mod caller;
mod database;
mod flavour;
mod run;

mod access;
mod audit;
mod check;
mod doctor;
mod documents;
mod installation;
mod rbac;
mod serve;
mod top;

#[cfg(feature = "mutants")]
mod mutant;

use std::process::ExitCode;

use crate::{
    cli::{Cli, Command},
    exit::{Exit, Failure},
    settings::Loaded,
};

/// Entries live long between buffers that do not; this one keeps sizes apart, so that the buffers' room is used again.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let line = match Cli::read(std::env::args_os()) {
        Ok(line) => line,
        // `--help` and `--version` come this way too.
        Err(error) => {
            output::best_effort(error.print());
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Ok.into()
            };
        }
    };
    match perform(line) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::error(&format!("{:#}", failure.error));
            failure.exit.into()
        }
    }
}

fn perform(line: Cli) -> Result<Exit, Failure> {
    let environment = neverstale_settings::environment();
    #[cfg(feature = "mutants")]
    let environment = mutant::take_away(environment)?;
    match line.command {
        Command::Settings(asked) => Ok(documents::settings(&asked)),
        Command::Metrics(_) => Ok(documents::metrics()),
        command => {
            let loaded = Loaded::load(line.config, &environment, line.flags)?;
            with_settings(command, loaded)
        }
    }
}

fn with_settings(command: Command, loaded: Loaded) -> Result<Exit, Failure> {
    let Loaded { settings, merged } = loaded;
    match command {
        Command::Openapi => documents::openapi(&settings),
        Command::Check => check::run(&settings, &merged),
        Command::Serve => serve::run(settings),
        Command::Install(asked) => run::briefly(&settings, installation::install(&settings, &asked)),
        Command::Uninstall(asked) => run::briefly(&settings, installation::uninstall(&settings, &asked)),
        Command::Verify(asked) => run::briefly(&settings, installation::verify(&settings, &asked)),
        Command::Suspend(asked) => run::briefly(&settings, installation::suspend(&settings, &asked)),
        Command::Resume(asked) => run::briefly(&settings, installation::resume(&settings, &asked)),
        Command::Lease(asked) => run::briefly(&settings, installation::lease(&settings, &asked)),
        Command::Rbac(asked) => run::briefly(&settings, rbac::run(&settings, &asked.command)),
        Command::Access(asked) => run::briefly(&settings, access::run(&settings, &asked.command)),
        Command::Doctor(asked) => run::briefly(&settings, doctor::run(&settings, &asked)),
        Command::Audit(asked) => run::briefly(&settings, audit::run(&settings, &asked)),
        Command::Top(asked) => run::briefly(&settings, top::run(&asked)),
        Command::Settings(_) | Command::Metrics(_) => unreachable!("they need no settings"),
    }
}
