//! The changes of late, for those who follow `/v1/events` and for the status page.
//!
//! A convenience with bounds: whoever is further behind than it reaches is told that there is a gap.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use neverstale_coherence::{Incarnation, Position};
use neverstale_postgres::LogRow;
use neverstale_wire::Token;
use tokio::sync::broadcast;

/// Commits remembered, and tags of all of them together.
const CHANGES_MAX: usize = 4_096;
const TAGS_MAX: usize = 65_536;
/// Changes that a slow follower may be behind before it has a gap.
const BEHIND_MAX: usize = 1_024;

/// Something that happened to the world.
#[derive(Clone, Debug)]
pub enum Change {
    /// A commit was applied.
    Commit {
        /// Whose position it is.
        incarnation: Incarnation,
        /// The commit with the text of its tags.
        row: Arc<LogRow>,
    },
    /// A new world began at this token.
    Incarnation(Token),
    /// Commits up to this token can't be told any more.
    Gap(Token),
}

/// What can be told to somebody who has seen everything up to a token.
#[derive(Clone, Debug)]
pub enum Replay {
    /// These came since.
    Since(Vec<Change>),
    /// Not known any more.
    Gap,
}

/// The last commits, and a channel of those to come.
pub struct History {
    told: broadcast::Sender<Change>,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    incarnation: Option<Incarnation>,
    /// The rows are complete above this position.
    since: Position,
    rows: VecDeque<Arc<LogRow>>,
    tags: usize,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            told: broadcast::Sender::new(BEHIND_MAX),
            recent: Mutex::default(),
        }
    }

    /// Follows what is to come, after what `token` has seen. Without a token only what is to come.
    pub fn follow(&self, token: Option<Token>) -> (Replay, broadcast::Receiver<Change>) {
        // Subscribed under the lock, so that no commit falls between the two.
        let recent = self.lock();
        let to_come = self.told.subscribe();
        let Some(token) = token else {
            return (Replay::Since(Vec::new()), to_come);
        };
        if recent.incarnation != Some(token.incarnation) || token.position < recent.since {
            return (Replay::Gap, to_come);
        }
        let newer = recent.rows.iter().filter(|row| row.position > token.position);
        let changes = newer.map(|row| Change::Commit {
            incarnation: token.incarnation,
            row: Arc::clone(row),
        });
        (Replay::Since(changes.collect()), to_come)
    }

    /// Gives the last commits, the newest first.
    pub fn last(&self, count: usize) -> Vec<Arc<LogRow>> {
        self.lock().rows.iter().rev().take(count).cloned().collect()
    }

    pub(crate) fn begin(&self, incarnation: Incarnation, position: Position) {
        let mut recent = self.lock();
        *recent = Recent {
            incarnation: Some(incarnation),
            since: position,
            rows: VecDeque::new(),
            tags: 0,
        };
        let _ = self.told.send(Change::Incarnation(Token { incarnation, position }));
    }

    pub(crate) fn gap(&self, incarnation: Incarnation, position: Position) {
        let mut recent = self.lock();
        *recent = Recent {
            incarnation: Some(incarnation),
            since: position,
            rows: VecDeque::new(),
            tags: 0,
        };
        let _ = self.told.send(Change::Gap(Token { incarnation, position }));
    }

    /// Remembers commits; those that are known already are left out.
    pub(crate) fn add(&self, incarnation: Incarnation, rows: &[LogRow]) {
        let mut recent = self.lock();
        for row in rows {
            if recent.rows.back().is_some_and(|last| last.position >= row.position) {
                continue;
            }
            recent.tags += row.tags.len();
            while recent.rows.len() == CHANGES_MAX || (recent.tags > TAGS_MAX && !recent.rows.is_empty()) {
                let Some(dropped) = recent.rows.pop_front() else { break };
                recent.since = dropped.position;
                recent.tags -= dropped.tags.len();
            }
            let row = Arc::new(row.clone());
            recent.rows.push_back(Arc::clone(&row));
            let _ = self.told.send(Change::Commit { incarnation, row });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().expect("nobody panics while remembering")
    }
}
