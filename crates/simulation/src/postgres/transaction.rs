//! Transactions of writers: rows locked and changed, tags collected, and the commit with its two stages (PROTOCOL §2).
//!
//! Between any two steps of a commit other sessions may come in, and the session may be ended. A commit is visible before its
//! locks are released, as in Postgres.

use std::collections::{BTreeMap, BTreeSet};

use neverstale_coherence::safeguard::{Safeguard, stands};

use super::{
    dialect::Change,
    session::Session,
    statements::{mark, person_tag, team_tag},
    wire::Refusal,
    world::{Advisory, Commit, LOCK_CLASS, LogRow, Person},
};

/// Tags that are marked one by one; more are marked as everything.
const MARKS_MAX: usize = 64;

/// What a session has done since BEGIN.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// Begun by a statement, not by BEGIN.
    pub(super) is_implicit: bool,
    pub(super) has_failed: bool,
    persons: BTreeMap<String, Option<Person>>,
    tags: BTreeSet<String>,
}

impl Session {
    pub(super) fn begin(&mut self, is_implicit: bool) {
        self.transaction.get_or_insert_with(|| Transaction {
            is_implicit,
            ..Transaction::default()
        });
    }

    pub(super) fn rollback(&mut self) {
        self.transaction = None;
        self.server.end_transaction(self.pid);
    }

    /// An error undoes what is implicit, and leaves what was begun for its ROLLBACK.
    pub(super) fn fail(&mut self) {
        match &mut self.transaction {
            Some(open) if !open.is_implicit => open.has_failed = true,
            _ => self.rollback(),
        }
    }

    /// A row as this transaction sees it now.
    pub(super) fn person(&self, id: &str) -> Option<Person> {
        let own = self.transaction.as_ref().and_then(|open| open.persons.get(id));
        own.cloned().unwrap_or_else(|| self.state().persons.get(id).cloned())
    }

    /// Performs an UPDATE; gives the versions of the rows that were there.
    pub(super) async fn change(&mut self, change: &Change) -> Vec<i64> {
        let mut versions = Vec::new();
        self.begin(true);
        for id in &change.ids {
            self.server.lock_row(self.pid, id).await;
            let Some(old) = self.person(id) else { continue };
            let new = Person {
                version: old.version + i64::from(change.counts),
                team: change.team.clone().unwrap_or_else(|| old.team.clone()),
            };
            versions.push(new.version);
            if new != old {
                self.replace(id, Some(old), Some(new));
            }
        }
        versions
    }

    pub(super) async fn insert(&mut self, id: &str, version: i64, team: String) -> Result<(), Refusal> {
        self.begin(true);
        self.server.lock_row(self.pid, id).await;
        if self.person(id).is_some() {
            return Err(Refusal::new(
                "23505",
                "duplicate key value violates unique constraint \"person_pkey\"",
            ));
        }
        self.replace(id, None, Some(Person { version, team }));
        Ok(())
    }

    pub(super) async fn delete(&mut self, id: &str) {
        self.begin(true);
        self.server.lock_row(self.pid, id).await;
        if let Some(old) = self.person(id) {
            self.replace(id, Some(old), None);
        }
    }

    /// Stage one: the tags of the old row and of the new one.
    fn replace(&mut self, id: &str, old: Option<Person>, new: Option<Person>) {
        let is_publishing = self.state().is_publishing;
        let Some(open) = &mut self.transaction else { return };
        if is_publishing {
            let old = old.filter(|_| new.is_none() || stands(Safeguard::OldTags));
            for person in old.iter().chain(&new) {
                open.tags.extend([person_tag(id), team_tag(&person.team)]);
            }
        }
        open.persons.insert(id.to_owned(), new);
    }

    /// Stage two.
    pub(super) async fn commit(&mut self) -> Result<(), Refusal> {
        let Some(open) = &self.transaction else { return Ok(()) };
        let (server, pid, tags) = (self.server.clone(), self.pid, open.tags.clone());
        let mut commit = Commit {
            persons: open.persons.clone(),
            row: None,
            is_synchronous: self.is_synchronous(),
        };
        if !tags.is_empty() {
            let intent = self.announce(&tags).await;
            if stands(Safeguard::OrderLock) && !server.take_order(pid).await {
                return Err(Refusal::new("55P03", "canceling statement due to lock timeout"));
            }
            server.think().await;
            let position = server.draw_position();
            server.think().await;
            commit.row = Some(LogRow { position, intent, tags });
        }
        let position = commit.row.as_ref().map(|row| row.position);
        if !commit.persons.is_empty() {
            let is_synchronous = commit.is_synchronous;
            server.lock().flushing.insert(pid, commit);
            if is_synchronous {
                server.flush().await;
            }
            server.show_flushed(pid);
            server.think().await;
        }
        self.transaction = None;
        server.end_transaction(pid);
        if let Some(position) = position {
            server.ring(&position.to_string());
        }
        Ok(())
    }

    /// The mark, and only then the wait; the marks of the tags, and only then the intent.
    async fn announce(&self, tags: &BTreeSet<String>) -> Option<u64> {
        let (server, pid) = (&self.server, self.pid);
        let hold = |class: i32, object: i32| {
            let class = LOCK_CLASS + class;
            server.lock().advisory.push(Advisory { pid, class, object });
        };
        hold(0, 0);
        server.think().await;
        let wait_ms = server.lock().wait_ms;
        if wait_ms == 0 {
            return None;
        }
        let mut marks: Vec<i32> = tags.iter().map(|tag| mark(tag)).collect();
        if marks.len() > MARKS_MAX {
            marks = vec![0];
        }
        if !stands(Safeguard::EveryTagMarked) {
            marks.truncate(1);
        }
        if stands(Safeguard::MarkBeforeIntent) {
            for mark in &marks {
                hold(2, *mark);
            }
            server.think().await;
        }
        let intent = server.draw_intent();
        server.think().await;
        if !stands(Safeguard::MarkBeforeIntent) {
            for mark in &marks {
                hold(2, *mark);
            }
        }
        hold(1, (intent & 0x7FFF_FFFF) as i32);
        if stands(Safeguard::CommitWait) {
            server.wait(wait_ms).await;
        }
        Some(intent)
    }
}
