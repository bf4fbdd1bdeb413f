//! What is measured, in the order in which it is told.

mod door;
mod fence;
mod footprint;
mod l1_hit;
mod propagation;
mod tiers;
mod traces;
mod writer;

use anyhow::Result;
use clap::ValueEnum;

use crate::{house::House, microbenches, report::Section};

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A hit in L1 through HTTP, against raw hyper with the same bytes.
    L1Hit,
    /// Reads that take a fence, against `SELECT 1`.
    Fence,
    /// Hits in L2 and fills, against Postgres and Redis asked directly.
    Tiers,
    /// From a commit to its being visible on another sidecar, against LISTEN/NOTIFY alone.
    Propagation,
    /// What the triggers cost a writer, against none.
    Writer,
    /// A hit whose caller traces, against one whose caller does not.
    Traces,
    /// Requests through the door, against none and beside nginx.
    Door,
    /// Memory, start and size.
    Footprint,
    /// The pieces of a hit, in this process.
    Micro,
}

impl Scenario {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::L1Hit,
        Self::Fence,
        Self::Tiers,
        Self::Propagation,
        Self::Writer,
        Self::Traces,
        Self::Door,
        Self::Footprint,
        Self::Micro,
    ];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::L1Hit => "l1-hit",
            Self::Fence => "fence",
            Self::Tiers => "tiers",
            Self::Propagation => "propagation",
            Self::Writer => "writer",
            Self::Traces => "traces",
            Self::Door => "door",
            Self::Footprint => "footprint",
            Self::Micro => "micro",
        }
    }

    /// Runs it.
    pub(crate) async fn run(self, house: &House) -> Result<Section> {
        match self {
            Self::L1Hit => l1_hit::measure(house).await,
            Self::Fence => fence::measure(house).await,
            Self::Tiers => tiers::measure(house).await,
            Self::Propagation => propagation::measure(house).await,
            Self::Writer => writer::measure(house).await,
            Self::Traces => traces::measure(house).await,
            Self::Door => door::measure(house).await,
            Self::Footprint => footprint::measure(house).await,
            Self::Micro => Ok(microbenches::measure(house)),
        }
    }
}

/// A sidecar's answer to this path comes from this tier, by its `Cache-Status`; asked twice, since the first may fill.
async fn must_come_from(
    sidecar: &neverstale_testkit::Sidecar,
    path: &str,
    detail: &str,
) -> Result<neverstale_testkit::Answer> {
    let mut client = sidecar.api();
    client.get(path).await?;
    let answer = client.get(path).await?;
    let status = answer.header("cache-status").unwrap_or("none");
    anyhow::ensure!(
        answer.status == 200 && status.contains(detail),
        "{path}: {} with Cache-Status {status}",
        answer.status
    );
    Ok(answer)
}
