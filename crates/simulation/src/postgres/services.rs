//! What the server does for its sessions: it knows their statements, hands out numbers and locks, shows commits and rings bells.
//!
//! Wherever a real server may let others come in between, [`Server::think`] lets them.

use std::time::Duration;

use neverstale_coherence::safeguard::{Safeguard, stands};
use neverstale_installation::simulated::{self, Numbers};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    SCHEMA, Server,
    statements::Prepared,
    world::{Advisory, LOCK_CLASS},
};

/// How long a commit waits for its turn.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// A commit waits in so many slices, and one more.
const SLICES: u64 = 10;

impl Server {
    pub(super) fn recognise(&self, sql: &str) -> Option<Prepared> {
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
    pub(super) fn inspection(&self, sql: &str) -> Option<String> {
        if sql != &*self.inspection {
            return None;
        }
        let (numbers, is_publishing) = {
            let world = self.lock();
            let state = world.snapshot();
            let numbers = Numbers {
                lock_class: LOCK_CLASS,
                lease_ms: state.lease_ms as u64,
                wait_ms: world.wait_ms,
                newest: state.log.last().map(|row| row.position),
                position: world.position,
            };
            (numbers, state.is_publishing)
        };
        let mut state = simulated::whole(&self.flavour, SCHEMA, numbers, &[("version", "bigint")]);
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
    pub(super) async fn think(&self) {
        if self.chance.percent(self.temper.lingers_percent) {
            sleep(Duration::from_millis(self.chance.among(self.temper.lingers_ms.clone()))).await;
        }
    }

    pub(super) async fn flush(&self) {
        let flush_ms = self.chance.among(self.temper.flush_ms.clone());
        if flush_ms > 0 {
            sleep(Duration::from_millis(flush_ms)).await;
        }
    }

    /// The commit wait, by the server's own clock: one slice more than it needs, since a step of the wall clock spoils one [5].
    pub(super) async fn wait(&self, wait_ms: u64) {
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

    pub(super) fn draw_intent(&self) -> u64 {
        let mut world = self.lock();
        world.intent += 1;
        world.intent
    }

    pub(super) fn draw_position(&self) -> u64 {
        let mut world = self.lock();
        world.position += 1;
        world.position
    }

    pub(super) async fn lock_row(&self, pid: i32, id: &str) {
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
    pub(super) async fn take_order(&self, pid: i32) -> bool {
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

    pub(super) fn show_flushed(&self, pid: i32) {
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

    pub(super) fn end_transaction(&self, pid: i32) {
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

    pub(super) fn try_relay(&self, pid: i32) -> bool {
        let mut world = self.lock();
        let holder = world.advisory.iter().find(|lock| is_relay(lock)).map(|lock| lock.pid);
        if holder.is_none() {
            world.advisory.push(Advisory {
                pid,
                class: LOCK_CLASS,
                object: 2,
            });
        }
        holder.is_none_or(|holder| holder == pid)
    }

    pub(super) fn listen(&self, pid: i32, bells: mpsc::Sender<String>) {
        if let Some(backend) = self.lock().backends.get_mut(&pid) {
            backend.bells = Some(bells);
        }
    }

    pub(super) fn ring(&self, payload: &str) {
        for backend in self.lock().backends.values() {
            if let Some(bells) = &backend.bells {
                let _ = bells.try_send(payload.to_owned());
            }
        }
    }

    /// Names the boot, if nobody has; or anew, in any case.
    pub(super) fn boot(&self, anew: bool) {
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

    pub(super) fn forget(&self, pid: i32) {
        self.end(&mut self.lock(), pid);
    }
}

fn is_relay(lock: &Advisory) -> bool {
    lock.class == LOCK_CLASS && lock.object == 2
}
