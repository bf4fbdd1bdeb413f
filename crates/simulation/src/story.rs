//! The story of one seed: a line for each event, with its simulated time.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use tokio::time::Instant;

/// Collects lines; clones write the same story.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    start: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Story {
    /// Begins now.
    pub(crate) fn begin() -> Self {
        Self {
            start: Instant::now(),
            lines: Arc::default(),
        }
    }

    /// Gives the simulated time since the beginning, in ms.
    pub(crate) fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Tells an event.
    pub(crate) fn tell(&self, who: impl fmt::Display, what: impl fmt::Display) {
        let line = format!("{:>6} ms  {who:<9} {what}", self.now_ms());
        self.lines.lock().expect("nobody panics while telling").push(line);
    }

    /// Gives the whole story.
    pub(crate) fn text(&self) -> String {
        self.lines.lock().expect("nobody panics while telling").join("\n")
    }
}
