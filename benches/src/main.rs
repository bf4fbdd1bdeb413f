//! Measures what users feel, beside raw hyper, Postgres and Redis in the same run.
//!
//! The life of a run in order: arguments, stores and binary, one scenario after the other, report. Whatever is compared is
//! measured in rounds that take turns (A B A B …), on one machine, so that what the machine does meanwhile meets both
//! alike; a ratio is taken within a round. A whole run writes `benches/RESULTS.md`; part of one only prints. Nothing here
//! fails because a number is bad: a missed goal is a finding, and is written down as one.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a bench measures the real clock, reads its environment and talks to a person at a terminal"
)]

mod house;
mod machine;
mod pinning;

mod report;
mod series;

mod connection;
mod load;
mod raw_hyper;

mod microbenches;
mod scenarios;

use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::{
    house::{House, Scale},
    load::Load,
    machine::Machine,
    report::Report,
    scenarios::Scenario,
};

/// Measures what users feel, beside raw hyper, Postgres and Redis in the same run.
#[derive(Debug, Parser)]
#[command(name = "neverstale-benches")]
struct Arguments {
    /// Takes fewer and shorter rounds: at most two minutes instead of ten. Prints and writes nothing.
    #[arg(long)]
    quick: bool,
    /// Runs this scenario alone, or these. Prints and writes nothing.
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Scenario>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program runs of itself, in processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    /// Serves the answer that comes on standard input, by hyper and nothing else, until standard input ends.
    #[command(hide = true)]
    RawHyper,
    /// Loads a port and prints what came of it as JSON.
    #[command(hide = true)]
    Load(Load),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // One thread: what is measured in this process must not wait for another thread of it to wake.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    runtime.block_on(async {
        match arguments.part {
            Some(Part::RawHyper) => raw_hyper::serve().await,
            Some(Part::Load(load)) => {
                println!("{}", serde_json::to_string(&load.run().await?)?);
                Ok(())
            }
            None => measure(arguments.quick, &arguments.only).await,
        }
    })
}

async fn measure(quick: bool, only: &[Scenario]) -> Result<()> {
    let begun = Instant::now();
    let is_whole = !quick && only.is_empty();
    let house = House::open(if quick { Scale::Quick } else { Scale::Full }).await?;
    let mut report = Report::new(Machine::describe(&house).await?);
    let chosen = if only.is_empty() {
        Scenario::ALL.as_slice()
    } else {
        only
    };
    for scenario in chosen {
        let since = Instant::now();
        eprintln!("{} …", scenario.name());
        let section = scenario
            .run(&house)
            .await
            .with_context(|| format!("measure {}", scenario.name()))?;
        println!("{}", section.to_markdown());
        eprintln!("{}: {:.1} s", scenario.name(), since.elapsed().as_secs_f64());
        report.add(section);
    }
    let took = begun.elapsed();
    println!("{}", report.goals_to_markdown());
    if is_whole {
        let path = neverstale_testkit::workspace().join("benches").join("RESULTS.md");
        std::fs::write(&path, report.to_markdown(took)).context("write benches/RESULTS.md")?;
        eprintln!("written to benches/RESULTS.md");
    }
    eprintln!("{:.0} s in all", took.as_secs_f64());
    Ok(())
}
