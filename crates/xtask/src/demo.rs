//! The demo: a real application's schema, three sidecars, a load on each, somebody who changes things by plain SQL, and a judge.
//!
//! Everything is thrown away at the end. The judge knows every change with the moments at which it began and was acknowledged, and holds each
//! answer, of the story's own reads and of the load's, against them.

mod ledger;
pub(crate) mod load;
mod picture;
pub(crate) mod stage;
pub(crate) mod story;

use std::{
    io::IsTerminal,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    cargo::{Profile, build_binary},
    demo::{load::Load, picture::Picture, stage::Stage, story::Story},
};

const ONCE_SECONDS: u64 = 15;
/// A round of the story takes a few seconds; if it takes this long, something hangs.
const PATIENCE: Duration = Duration::from_mins(2);
/// The picture is drawn four times a second.
const FRAME: Duration = Duration::from_millis(250);

/// What the demo is asked for.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoOptions {
    /// Tells the story once, prints a summary, and fails if any read was stale.
    #[arg(long)]
    pub(crate) once: bool,
    /// Ends after this many seconds; 15 with --once, otherwise not before Ctrl-C.
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// How many users the application has.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub(crate) users: u32,
    /// How long a sidecar may answer without asking Postgres; a watched commit waits as long.
    #[arg(long, default_value_t = 50)]
    pub(crate) lease_ms: u64,
    /// How the binary is built.
    #[arg(long, value_enum, default_value = "release")]
    pub(crate) profile: Profile,
}

impl DemoOptions {
    /// The story once, this long.
    pub(crate) fn once(seconds: u64) -> Self {
        Self {
            once: true,
            seconds: Some(seconds),
            users: 3_000,
            lease_ms: 50,
            profile: Profile::Release,
        }
    }

    fn duration(&self) -> Option<Duration> {
        let seconds = self.seconds.or(self.once.then_some(ONCE_SECONDS));
        seconds.map(Duration::from_secs)
    }
}

/// Builds, sets the stage, plays, and judges.
pub(crate) fn run(options: &DemoOptions) -> Result<()> {
    println!("building neverstale");
    // The testkit starts what this names.
    let binary = build_binary(options.profile)?;
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    runtime.block_on(play(options, &binary))
}

async fn play(options: &DemoOptions, binary: &std::path::Path) -> Result<()> {
    let stage = Arc::new(Stage::set(options, binary).await?);
    let load = Load::start(&stage)?;
    let story = Story::start(&stage);
    let mut picture = Picture::new(std::io::stdout().is_terminal() && !options.once, &stage);
    let began = Instant::now();
    let mut frames = tokio::time::interval(FRAME);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        tokio::select! {
            _ = &mut interrupted => break,
            _ = frames.tick() => picture.draw(&stage, &load, &story).await?,
        }
        let is_over = options.duration().is_some_and(|duration| began.elapsed() >= duration);
        // A story that has begun a chapter is let to end it, and `--once` means at least one whole round.
        if is_over && (story.rounds() > 0 || began.elapsed() > PATIENCE) {
            break;
        }
    }
    story.stop().await;
    load.stop().await;
    let summary = picture.finish(&stage, &load, &story).await;
    println!("{summary}");
    let stale = load.stale() + story.stale();
    let failed = load.failed() + story.failed();
    ensure!(stale == 0, "{stale} reads were stale");
    ensure!(failed == 0, "{failed} reads or changes failed");
    ensure!(story.told() > 0 && load.judged() > 0, "nothing was judged");
    Ok(())
}
