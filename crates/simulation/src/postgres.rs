//! A model of Postgres, as far as the product and its writers rest on it: snapshots, sequences, locks, two-stage commits,
//! notifications, crashes. It speaks the wire protocol, so that the real driver talks to it.
//!
//! `postgres/tests.rs` plays the same scripts on it and on a real server and compares what they answer.

mod dialect;
mod services;
mod session;
mod statements;
#[cfg(test)]
mod tests;
mod transaction;
mod wire;
mod world;

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard},
};

use neverstale_flavour::Flavour;
use neverstale_installation::verification_sql;
use neverstale_postgres::Statements;
use tokio::{io::DuplexStream, sync::Notify};
use tokio_util::sync::CancellationToken;

use crate::{chance::Chance, story::Story};

use statements::Prepared;
use world::{Backend, Disk};
pub(crate) use {
    statements::body,
    world::{Person, State, Visible, World},
};

/// The schema of the application.
pub(crate) const SCHEMA: &str = "public";
/// A crash takes a sequence on by at most so much: its values are logged ahead.
const SEQUENCE_AHEAD_MAX: u64 = 32;

/// How the server behaves where Postgres leaves it open.
#[derive(Clone, Debug)]
pub(crate) struct Temper {
    /// How often, in a hundred, it lingers between two steps.
    pub(crate) lingers_percent: u64,
    /// For how long it does.
    pub(crate) lingers_ms: RangeInclusive<u64>,
    /// How long the disk takes for a commit.
    pub(crate) flush_ms: RangeInclusive<u64>,
    /// How far its clock is steered, in millionths.
    pub(crate) clock_ppm: i64,
    /// How often, in a hundred commits, the wall clock is stepped meanwhile.
    pub(crate) steps_percent: u64,
}

/// The server; clones are the same one.
#[derive(Clone)]
pub(crate) struct Server {
    world: Arc<Mutex<World>>,
    /// A lock was released.
    released: Arc<Notify>,
    chance: Chance,
    temper: Arc<Temper>,
    story: Story,
    flavour: Arc<Flavour>,
    statements: Arc<Statements>,
    recognised: Arc<Mutex<BTreeMap<String, Option<Prepared>>>>,
    inspection: Arc<str>,
}

impl Server {
    /// Starts with an installation that is whole, and these rows.
    pub(crate) fn start(
        flavour: Arc<Flavour>,
        persons: BTreeMap<String, Person>,
        lease_ms: u64,
        temper: Temper,
        chance: Chance,
        story: Story,
    ) -> Self {
        Self {
            world: Arc::new(Mutex::new(World::new(persons, lease_ms))),
            released: Arc::default(),
            chance,
            temper: Arc::new(temper),
            story,
            statements: Arc::new(Statements::for_plain_tables(&flavour, SCHEMA)),
            recognised: Arc::default(),
            inspection: verification_sql(&flavour, SCHEMA).into(),
            flavour,
        }
    }

    /// Takes a connection, if it is up; else the stream is closed.
    pub(crate) fn accept(&self, stream: DuplexStream) {
        let mut world = self.lock();
        if !world.is_up {
            return;
        }
        world.next_pid += 1;
        let pid = world.next_pid;
        let ended = CancellationToken::new();
        let backend = Backend {
            ended: ended.clone(),
            bells: None,
        };
        world.backends.insert(pid, backend);
        drop(world);
        tokio::spawn(session::serve(self.clone(), pid, ended, stream));
    }

    /// Gives the number of the newest state.
    pub(crate) fn now(&self) -> usize {
        self.lock().visible.len() - 1
    }

    /// The server as it is.
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nobody panics while holding the server")
    }

    /// Crashes; says whether commits are lost that had been visible.
    pub(crate) fn crash(&self) -> bool {
        self.story.tell("postgres", "crashes");
        let mut world = self.lock();
        let flushing = std::mem::take(&mut world.flushing).into_values().next();
        self.end_all(&mut world);
        // A commit on its way to the disk has reached it or not; with it, all that came before.
        let disk = flushing
            .filter(|_| self.chance.percent(50))
            .map_or(Disk::Durable, Disk::AndMore);
        let is_lost = matches!(disk, Disk::Durable) && world.durable + 1 < world.visible.len();
        world.crashed = Some(disk);
        is_lost
    }

    /// Is shut down in order.
    pub(crate) fn stop(&self) {
        self.story.tell("postgres", "is shut down");
        let mut world = self.lock();
        self.end_all(&mut world);
        world.starts += 1;
        world.show(self.story.now_ms(), |_| {});
    }

    /// Is up again; after a crash what is not on disk is gone, and the unlogged table is empty.
    pub(crate) fn come_back(&self) {
        let mut world = self.lock();
        world.is_up = true;
        if let Some(disk) = world.crashed.take() {
            let at_ms = self.story.now_ms();
            match disk {
                Disk::AndMore(commit) => world.show_commit(at_ms, commit),
                Disk::Durable => world.lose(at_ms),
            }
            // A sequence is logged ahead of what was drawn; what was drawn after the last record on disk is drawn again.
            let state = world.snapshot();
            let intent = state.log.iter().filter_map(|row| row.intent).max().unwrap_or(1);
            world.intent = self.chance.among(intent..=world.intent + SEQUENCE_AHEAD_MAX);
            world.position = self
                .chance
                .among(state.newest().max(1)..=world.position + SEQUENCE_AHEAD_MAX);
            world.show(at_ms, |state| state.boot = None);
        }
        self.story
            .tell("postgres", format_args!("is up, at {}", world.snapshot().newest()));
    }

    /// Ends one session.
    pub(crate) fn terminate_one(&self) {
        let pids: Vec<i32> = self.lock().backends.keys().copied().collect();
        if !pids.is_empty() {
            self.terminate(self.chance.one(&pids));
        }
    }

    fn terminate(&self, pid: i32) {
        self.story.tell("postgres", format_args!("ends session {pid}"));
        self.end(&mut self.lock(), pid);
    }

    /// Prunes the log down to its newest `keep` rows; gives how many went.
    pub(crate) fn prune(&self, keep: usize) -> i64 {
        let mut world = self.lock();
        let state = world.snapshot();
        let Some(edge) = state.log.iter().rev().nth(keep.max(1)).map(|row| row.position) else {
            return 0;
        };
        let before = state.log.len();
        world.show(self.story.now_ms(), |state| {
            state.pruned_to = state.pruned_to.max(edge);
            state.log.retain(|row| row.position > edge);
        });
        self.story
            .tell("postgres", format_args!("the log is pruned up to {edge}"));
        (before - world.snapshot().log.len()) as i64
    }

    fn end_all(&self, world: &mut World) {
        world.is_up = false;
        let pids: Vec<i32> = world.backends.keys().copied().collect();
        for pid in pids {
            self.end(world, pid);
        }
    }

    fn end(&self, world: &mut World, pid: i32) {
        if let Some(backend) = world.backends.remove(&pid) {
            backend.ended.cancel();
        }
        world.release(pid);
        self.released.notify_waiters();
    }
}
