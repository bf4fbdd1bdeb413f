//! A model of Postgres, as far as the product and its writers rest on it: snapshots, sequences, locks, two-stage commits,
//! notifications, crashes. It speaks the wire protocol, so that the real driver talks to it.
//!
//! `postgres/tests.rs` plays the same scripts on it and on a real server and compares what they answer.

mod dialect;
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
    time::Duration,
};

use neverstale_coherence::safeguard::{Safeguard, stands};
use neverstale_flavour::Flavour;
use neverstale_installation::{simulated::Numbers, verification_sql};
use neverstale_postgres::Statements;
use tokio::{
    io::DuplexStream,
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{chance::Chance, story::Story};

use statements::Prepared;
use world::{Advisory, Backend};
pub(crate) use {
    statements::body,
    world::{Person, State, Visible, World},
};

/// The schema of the application.
pub(crate) const SCHEMA: &str = "public";
/// How long a commit waits for its turn.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// A commit waits in so many slices, and one more.
const SLICES: u64 = 10;
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
            statements: Arc::new(Statements::new(&flavour, SCHEMA, &[])),
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
        let flushed = flushing.filter(|_| self.chance.percent(50));
        let is_lost = flushed.is_none() && world.durable + 1 < world.visible.len();
        world.crashed = Some(flushed);
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
        if let Some(flushed) = world.crashed.take() {
            let at_ms = self.story.now_ms();
            match flushed {
                Some(commit) => world.show_commit(at_ms, commit),
                None => world.lose(at_ms),
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

/// What sessions do.
impl Server {
    fn recognise(&self, sql: &str) -> Option<Prepared> {
        let mut recognised = self.recognised.lock().expect("nobody panics while recognising");
        if let Some(known) = recognised.get(sql) {
            return known.clone();
        }
        let prepared = match sql {
            "SELECT pg_catalog.pg_try_advisory_lock($1, 2)" => Some(Prepared::TryRelay),
            "SELECT neverstale.prune($1)" => Some(Prepared::Prune),
            _ => self.statements.asked(sql).map(Prepared::Asked),
        };
        recognised.insert(sql.to_owned(), prepared.clone());
        prepared
    }

    /// Answers the inspection of the installation.
    fn inspection(&self, sql: &str) -> Option<String> {
        if sql != &*self.inspection {
            return None;
        }
        let (numbers, is_publishing) = {
            let world = self.lock();
            let state = world.snapshot();
            let numbers = Numbers {
                lock_class: world::LOCK_CLASS,
                lease_ms: state.lease_ms as u64,
                wait_ms: world.wait_ms,
                newest: state.log.last().map(|row| row.position),
                position: world.position,
            };
            (numbers, state.is_publishing)
        };
        let mut state =
            neverstale_installation::simulated::whole(&self.flavour, SCHEMA, numbers, &[("version", "bigint")]);
        if !is_publishing {
            for trigger in state["catalog"]["triggers"].as_array_mut()? {
                if trigger["table"] == "person" {
                    trigger["enabled"] = "D".into();
                }
            }
        }
        Some(state.to_string())
    }

    /// Lingers, now and then, so that others come in between.
    async fn think(&self) {
        if self.chance.percent(self.temper.lingers_percent) {
            sleep(Duration::from_millis(self.chance.among(self.temper.lingers_ms.clone()))).await;
        }
    }

    async fn flush(&self) {
        let flush_ms = self.chance.among(self.temper.flush_ms.clone());
        if flush_ms > 0 {
            sleep(Duration::from_millis(flush_ms)).await;
        }
    }

    /// The commit wait, by the server's own clock: one slice more than it needs, since a step of the wall clock spoils one [5].
    async fn wait(&self, wait_ms: u64) {
        let slices = if stands(Safeguard::CommitWaitSlices) {
            SLICES + 1
        } else {
            1
        };
        let slice_micros = 1_000 * if slices == 1 { wait_ms } else { wait_ms / SLICES };
        let is_stepped = self.chance.percent(self.temper.steps_percent);
        let micros = slice_micros * (slices - u64::from(is_stepped));
        let steered = i128::from(micros) * 1_000_000 / (1_000_000 + i128::from(self.temper.clock_ppm));
        sleep(Duration::from_micros(steered as u64)).await;
    }

    fn draw_intent(&self) -> u64 {
        let mut world = self.lock();
        world.intent += 1;
        world.intent
    }

    fn draw_position(&self) -> u64 {
        let mut world = self.lock();
        world.position += 1;
        world.position
    }

    async fn lock_row(&self, pid: i32, id: &str) {
        loop {
            let released = self.released.notified();
            {
                let mut world = self.lock();
                let may_write = !world.is_altered || world.rows.values().any(|holder| *holder == pid);
                if may_write && *world.rows.entry(id.to_owned()).or_insert(pid) == pid {
                    return;
                }
            }
            released.await;
        }
    }

    /// Waits for the order lock, whoever came first having it first; false when that takes too long.
    async fn take_order(&self, pid: i32) -> bool {
        self.lock().order.push_back(pid);
        let waiting = async {
            loop {
                let released = self.released.notified();
                if self.lock().order.front() == Some(&pid) {
                    return;
                }
                released.await;
            }
        };
        let is_taken = timeout(LOCK_TIMEOUT, waiting).await.is_ok();
        if !is_taken {
            self.lock().order.retain(|waiting| *waiting != pid);
        }
        is_taken
    }

    fn show_flushed(&self, pid: i32) {
        let mut world = self.lock();
        if let Some(commit) = world.flushing.remove(&pid) {
            let what = commit.row.as_ref().map_or_else(
                || "a commit that nobody watches is visible".to_owned(),
                |row| {
                    format!(
                        "commit {} is visible: {}",
                        row.position,
                        row.tags.iter().cloned().collect::<Vec<_>>().join(" ")
                    )
                },
            );
            self.story.tell("postgres", what);
            world.show_commit(self.story.now_ms(), commit);
        }
    }

    fn end_transaction(&self, pid: i32) {
        let mut world = self.lock();
        // The relay's lock belongs to the session.
        let relay = world
            .advisory
            .iter()
            .copied()
            .find(|lock| lock.pid == pid && is_relay(lock));
        world.release(pid);
        world.advisory.extend(relay);
        self.released.notify_waiters();
    }

    fn try_relay(&self, pid: i32) -> bool {
        let mut world = self.lock();
        let holder = world.advisory.iter().find(|lock| is_relay(lock)).map(|lock| lock.pid);
        if holder.is_none() {
            world.advisory.push(Advisory {
                pid,
                class: world::LOCK_CLASS,
                object: 2,
            });
        }
        holder.is_none_or(|holder| holder == pid)
    }

    fn listen(&self, pid: i32, bells: mpsc::Sender<String>) {
        if let Some(backend) = self.lock().backends.get_mut(&pid) {
            backend.bells = Some(bells);
        }
    }

    fn ring(&self, payload: &str) {
        for backend in self.lock().backends.values() {
            if let Some(bells) = &backend.bells {
                let _ = bells.try_send(payload.to_owned());
            }
        }
    }

    /// Names the boot, if nobody has; or anew, in any case.
    fn boot(&self, anew: bool) {
        let id = self.chance.number();
        let mut world = self.lock();
        if anew || world.snapshot().boot.is_none() {
            world.show(self.story.now_ms(), |state| state.boot = Some(id));
        }
    }

    /// Disables the triggers of the application's table, or has them fire again. As any ALTER TABLE of theirs it waits for the
    /// transactions that have written the table, and lets no other write it meanwhile.
    pub(crate) async fn set_triggers(&self, enabled: bool) {
        self.lock().is_altered = true;
        loop {
            let released = self.released.notified();
            if self.lock().rows.is_empty() {
                break;
            }
            released.await;
        }
        let mut world = self.lock();
        world.is_altered = false;
        world.show(self.story.now_ms(), |state| {
            state.is_publishing = enabled;
            state.trigger_epoch += 1;
        });
        let word = if enabled { "fire again" } else { "are disabled" };
        self.story.tell("postgres", format_args!("the triggers {word}"));
        self.released.notify_waiters();
    }

    fn forget(&self, pid: i32) {
        self.end(&mut self.lock(), pid);
    }
}

fn is_relay(lock: &Advisory) -> bool {
    lock.class == world::LOCK_CLASS && lock.object == 2
}
