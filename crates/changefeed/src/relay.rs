//! The relay: one sidecar of a database listens to Postgres and tells the others.
//!
//! Whoever holds a session lock on the primary is it. The others lose promptness when it dies, until one of them has the
//! lock; they lose nothing else (PROTOCOL §7).

use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use neverstale_coherence::{Incarnation, Position};
use neverstale_postgres::{FeedConnection, LogRow, PostgresError};
use neverstale_wire::{BroadcastCodec, Heard, Invalidation, InvalidationRow};
use tokio::{sync::mpsc, time::Instant};

use crate::{FeedParts, Serving, shared::Shared};

/// Messages that may wait to be sent or heard; beyond them the others look at the log by themselves.
const MESSAGES_MAX: usize = 256;

/// The two ends of the channel between the feed's task and those that talk to Redis.
pub(crate) struct Wires {
    pub(crate) to_say: mpsc::Receiver<Vec<u8>>,
    pub(crate) heard: mpsc::Sender<Heard>,
}

/// The feed's part in spreading the word.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    codec: Option<BroadcastCodec>,
    say: mpsc::Sender<Vec<u8>>,
    hear: mpsc::Receiver<Heard>,
    retry_every: Duration,
    next_try: Instant,
}

impl Relay {
    pub(crate) fn new(parts: &FeedParts, shared: Arc<Shared>) -> (Self, Wires) {
        let (say, to_say) = mpsc::channel(MESSAGES_MAX);
        let (heard, hear) = mpsc::channel(MESSAGES_MAX);
        let codec = parts.broadcast.as_ref().map(|channel| channel.codec.clone());
        let now = Instant::now();
        let relay = Self {
            shared,
            codec,
            say,
            hear,
            retry_every: Duration::from_millis(parts.settings.relay_retry_ms),
            next_try: now,
        };
        (relay, Wires { to_say, heard })
    }

    /// Waits for the word of another sidecar; for ever where there is no Redis. Dropping it loses nothing.
    pub(crate) async fn heard(&mut self) -> Heard {
        match self.hear.recv().await {
            Some(heard) => heard,
            None => pending().await,
        }
    }

    /// Tells the others, if that is our part. What does not fit into the queue they find in the log.
    pub(crate) fn spread(&self, incarnation: Incarnation, before: Position, up_to: Position, rows: &[LogRow]) {
        let Some(codec) = self.codec.as_ref().filter(|_| !rows.is_empty() && self.is_relay()) else {
            return;
        };
        let row = |row: &LogRow| InvalidationRow {
            position: row.position,
            intent: row.intent,
            tags: row.tags.clone(),
        };
        let rows = rows.iter().map(row).collect();
        let message = codec.write(&Invalidation {
            incarnation,
            previous_position: before,
            position: up_to,
            rows,
        });
        let _ = self.say.try_send(message);
    }

    /// Tries to become the relay.
    pub(crate) async fn keep_house(&mut self, feed: &FeedConnection, serving: &Serving) -> Result<(), PostgresError> {
        let now = Instant::now();
        if !self.is_relay() && now >= self.next_try {
            self.next_try = now + self.retry_every;
            if feed.try_relay(serving.lock_class).await? {
                tracing::info!("this sidecar is the relay now");
                self.set_relay(true);
                // Commits since the old relay died were told by nobody.
                self.shared.bell.notify_one();
            }
        }
        Ok(())
    }

    /// The session that held the lock is gone, and the lock with it.
    pub(crate) fn lost(&self) {
        self.set_relay(false);
    }

    fn is_relay(&self) -> bool {
        self.shared.is_relay.load(Ordering::Relaxed)
    }

    fn set_relay(&self, is_relay: bool) {
        self.shared.metrics.relay.set(i64::from(is_relay));
        if self.shared.is_relay.swap(is_relay, Ordering::Relaxed) != is_relay {
            self.shared.relay_changed.notify_one();
        }
    }
}
