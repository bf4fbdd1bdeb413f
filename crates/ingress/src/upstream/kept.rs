//! Connections to the application that nobody uses now.
//!
//! The last one that was given back is the first to be used again, so that those that are too many fall idle and are closed. What
//! is given back or taken is looked at: a connection that has ended, or on which anything has come unasked, is closed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
    time::Duration,
};

use neverstale_lifecycle::Tasks;
use tokio::time::{Instant, sleep};

use super::line::Line;

/// More are closed when they fall idle.
const IDLE_CONNECTIONS_MAX: usize = 256;

/// Idle connections, the last one used at the end.
pub(super) struct Kept {
    idle: Mutex<Vec<Idle>>,
    /// How long one is kept; not at all if zero.
    keep_alive: Duration,
}

struct Idle {
    line: Box<Line>,
    since: Instant,
}

impl Kept {
    /// Begins to keep connections, and to close those that nobody has used for so long.
    pub(super) fn start(keep_alive: Duration, tasks: &Tasks) -> Arc<Self> {
        let kept = Arc::new(Self {
            idle: Mutex::default(),
            keep_alive,
        });
        if keep_alive.is_zero() {
            return kept;
        }
        let (closing, shutdown) = (Arc::clone(&kept), tasks.shutdown());
        tasks.spawn("ingress.kept", async move {
            let look = async {
                loop {
                    sleep(keep_alive).await;
                    closing.close_old(Instant::now());
                }
            };
            shutdown.run_until_cancelled(look).await;
        });
        kept
    }

    /// Takes a connection that can be used, if there is one.
    pub(super) fn take(&self, now: Instant) -> Option<Box<Line>> {
        loop {
            let Idle { mut line, since } = self.lock().pop()?;
            if now.saturating_duration_since(since) >= self.keep_alive {
                continue;
            }
            look_at(&mut line);
            if line.is_free() {
                return Some(line);
            }
        }
    }

    /// Keeps a connection, if it can be used again.
    pub(super) fn put(&self, mut line: Box<Line>) {
        if !line.is_free() {
            look_at(&mut line);
        }
        if self.keep_alive.is_zero() || !line.is_free() {
            return;
        }
        let since = Instant::now();
        let mut idle = self.lock();
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(Idle { line, since });
        }
    }

    fn close_old(&self, now: Instant) {
        let mut idle = self.lock();
        let is_old = |idle: &Idle| now.saturating_duration_since(idle.since) >= self.keep_alive;
        let old = idle.iter().take_while(|idle| is_old(idle)).count();
        let closed: Vec<_> = idle.drain(..old).collect();
        drop(idle);
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees what has come meanwhile, and whether the other side has closed.
fn look_at(line: &mut Line) {
    line.drive(&mut Context::from_waker(Waker::noop()));
}
