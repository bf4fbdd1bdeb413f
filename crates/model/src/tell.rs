//! Steps and violations in words, for whoever reads a counterexample.

use std::fmt;

use crate::{
    scenario::{Fault, Level},
    system::{Action, Violation},
};

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Old => "a read gave an old value",
            Self::Torn => "a batch gave what no state ever had together",
            Self::AnotherKeys => "a read gave another key's value",
            Self::Undone => "a read gave a value that was undone before it began",
            Self::Unanswered => "a read is never answered",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(writer) => write!(f, "writer {writer} takes its next step"),
            Self::Abort(writer) => write!(f, "writer {writer} aborts"),
            Self::Tick(None) => write!(f, "a tick goes by"),
            Self::Tick(Some((place, Fault::Suspend))) => write!(f, "sidecar {place}'s machine is suspended for a tick"),
            Self::Tick(Some((place, _))) => {
                write!(f, "a tick goes by, and sidecar {place}'s steered clock does not see it")
            }
            Self::StepClock(writer) => write!(f, "the wall clock is stepped while writer {writer} sleeps"),
            Self::Prune => write!(f, "the log is pruned"),
            Self::Lose(0) => write!(f, "the server crashes and recovers"),
            Self::Lose(commits) => write!(
                f,
                "the server fails over, and the last {commits} of its commits are lost"
            ),
            Self::Restart(place) => write!(f, "sidecar {place} restarts"),
            Self::Begin(place) => write!(f, "sidecar {place} begins a world"),
            Self::CatchUp(place) => write!(f, "sidecar {place} fetches a page of the log"),
            Self::Hear(place, _) => write!(f, "sidecar {place} hears a broadcast"),
            Self::HearForged(place) => write!(f, "sidecar {place} hears a forged broadcast"),
            Self::SendFence(place) => write!(f, "sidecar {place} sends a fence, and its snapshot is taken"),
            Self::AnswerFence(place) => write!(f, "the fence of sidecar {place} reads the intent"),
            Self::ReceiveFence(place) => write!(f, "the answer arrives at sidecar {place}"),
            Self::FinishFence(place) => write!(f, "the fence's position is applied at sidecar {place}"),
            Self::AskSettlement(place) => write!(f, "sidecar {place} takes the next statement of a settlement"),
            Self::Settle(place) => write!(f, "sidecar {place} settles"),
            Self::Arrive(place, reader, _, Level::Batch) => {
                write!(f, "a batch of both keys arrives at sidecar {place}, reader {reader}")
            }
            Self::Arrive(place, reader, key, level) => {
                let level = match level {
                    Level::FullyConsistent | Level::Batch => "fully consistent",
                    Level::AtLeastAsFresh => "with a token",
                    Level::MinimizeLatency => "within the bound",
                };
                write!(
                    f,
                    "a read of key {key}, {level}, arrives at sidecar {place}, reader {reader}"
                )
            }
            Self::LookIntoL1(place, reader) => write!(f, "reader {reader} of sidecar {place} looks into L1"),
            Self::LookIntoL2(place, reader, _) => write!(f, "reader {reader} of sidecar {place} finds a value in L2"),
            Self::Fill(place, reader) => write!(f, "reader {reader} of sidecar {place} fills, or joins a fill"),
            Self::Land(place, key) => write!(f, "the fill of key {key} ends at sidecar {place}"),
            Self::GiveUp(place, reader) => write!(f, "reader {reader} of sidecar {place} gives up"),
            Self::Gather(place, reader, key) => {
                write!(f, "reader {reader} of sidecar {place} takes key {key} into its batch")
            }
            Self::JudgeBatch(place, reader) => write!(f, "the batch of reader {reader} of sidecar {place} is judged"),
            Self::Drain => write!(f, "nobody arrives from here on"),
        }
    }
}
