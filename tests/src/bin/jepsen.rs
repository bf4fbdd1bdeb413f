//! Runs the histories: `cargo xtask jepsen` builds the sidecar and starts this.

#![expect(clippy::disallowed_macros, reason = "it talks to a person at a terminal")]

use std::process::ExitCode;

use clap::Parser;
use neverstale_tests::jepsen::{Options, run};

/// Several real sidecars over real PostgreSQL and Redis, under faults, and a judge of everything that was read.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask jepsen", bin_name = "cargo xtask jepsen")]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let Arguments { options } = Arguments::parse();
    match run(&options).await {
        Ok(report) => {
            println!("{report}");
            if report.is_as_it_should_be() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
