//! `top`: watches running sidecars in the terminal, by what `/status` of their admin listeners tells.
//!
//! Without a terminal, and with `--once`, it prints the same picture as plain lines and ends.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::Context;
use futures_util::future::join_all;
use neverstale_wire::Status;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use serde::Deserialize;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::{
    caller::Caller,
    cli,
    exit::{Exit, Failure},
    output,
};

mod picture;

/// Of the picture without a terminal.
const COLUMNS: u16 = 120;

/// What a sidecar tells of itself; `/status` has more.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    #[serde(flatten)]
    status: Status,
    /// `serving`, `bypass` or `down`.
    standing: String,
    standing_reason: Option<String>,
    /// The last commits, the newest first.
    changes: Vec<Change>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Change {
    position: u64,
    tags: Vec<String>,
    tags_more: usize,
}

/// One sidecar as it was when it was asked last.
struct Watched {
    address: String,
    caller: Caller,
    asked: Instant,
    told: Result<Told, String>,
    rates: Rates,
}

/// Reads a second between the last two times, by where they were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rates {
    reads: f64,
    l1: f64,
    l2: f64,
    refused: f64,
}

pub(crate) async fn run(asked: &cli::Top) -> Result<Exit, Failure> {
    let mut watched = Vec::with_capacity(asked.sidecars.len());
    for address in &asked.sidecars {
        watched.push(Watched::new(address)?);
    }
    look(&mut watched).await;
    if asked.once || !io::stdout().is_terminal() {
        sleep(asked.interval).await;
        look(&mut watched).await;
        output::result(&plain(&watched));
        let is_well = watched.iter().all(Watched::is_ready);
        return Ok(if is_well { Exit::Ok } else { Exit::Findings });
    }
    let mut terminal = ratatui::try_init().context("take the terminal")?;
    let ended = watch(&mut terminal, &mut watched, asked.interval).await;
    ratatui::restore();
    ended.map(|()| Exit::Ok)
}

/// Draws and asks by turns, until somebody has had enough.
async fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    watched: &mut [Watched],
    interval: Duration,
) -> Result<(), Failure> {
    loop {
        terminal
            .draw(|frame| picture::draw(frame, watched))
            .context("draw into the terminal")?;
        let word = spawn_blocking(move || await_word(interval))
            .await
            .context("read keys")?;
        if word.context("read keys")? == Word::Enough {
            return Ok(());
        }
        look(watched).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Enough,
    GoOn,
}

/// Waits for a key that ends it, but not for longer than that.
fn await_word(interval: Duration) -> io::Result<Word> {
    if !event::poll(interval)? {
        return Ok(Word::GoOn);
    }
    let Event::Key(key) = event::read()? else {
        return Ok(Word::GoOn);
    };
    let is_break = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let is_end = is_break || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc);
    Ok(if is_end && key.kind == KeyEventKind::Press {
        Word::Enough
    } else {
        Word::GoOn
    })
}

async fn look(watched: &mut [Watched]) {
    join_all(watched.iter_mut().map(Watched::look)).await;
}

impl Watched {
    fn new(address: &str) -> Result<Self, Failure> {
        Ok(Self {
            address: address.to_owned(),
            caller: Caller::new(address, None)?,
            asked: Instant::now(),
            told: Err("not asked yet".to_owned()),
            rates: Rates::default(),
        })
    }

    async fn look(&mut self) {
        let told: Result<Told, String> = match self.caller.get("/status").await {
            Ok(answer) => serde_json::from_slice(&answer.body)
                .map_err(|_| format!("answers {} without a status: is this an admin listener?", answer.status)),
            Err(failure) => Err(failure.error.root_cause().to_string()),
        };
        let now = Instant::now();
        self.rates = match (&self.told, &told) {
            (Ok(before), Ok(after)) => Rates::between(&before.status, &after.status, now - self.asked),
            _ => Rates::default(),
        };
        (self.asked, self.told) = (now, told);
    }

    fn is_ready(&self) -> bool {
        self.told.as_ref().is_ok_and(|told| told.status.ready)
    }
}

impl Rates {
    fn between(before: &Status, after: &Status, passed: Duration) -> Self {
        // Less than before means that it was restarted in between.
        let rate = |count: fn(&Status) -> u64| {
            let grown = count(after).saturating_sub(count(before)) as f64;
            grown / passed.as_secs_f64().max(1e-3)
        };
        Self {
            reads: rate(|status| status.reads.total),
            l1: rate(|status| status.reads.l1_hits),
            l2: rate(|status| status.reads.l2_hits),
            refused: rate(|status| status.reads.unavailable),
        }
    }
}

/// The picture as lines of text.
fn plain(watched: &[Watched]) -> String {
    let backend = TestBackend::new(COLUMNS, picture::rows(watched));
    let Ok(mut terminal) = Terminal::new(backend);
    let Ok(drawn) = terminal.draw(|frame| picture::draw(frame, watched));
    let (width, cells) = (usize::from(COLUMNS), drawn.buffer.content());
    let lines = cells.chunks(width).map(|line| {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
