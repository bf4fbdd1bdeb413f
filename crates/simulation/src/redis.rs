//! A model of Redis, as far as the product rests on it: values that may be old, gone or garbage, and a channel that loses,
//! repeats and delays.
//!
//! `redis/tests.rs` plays the same script on it and on a real server and compares what they answer.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use neverstale_coherence::Position;
use neverstale_redis::{
    L2Miss, Received, RedisSettings,
    simulated::{Asking, StandIn},
};
use neverstale_wire::{BroadcastCodec, Invalidation};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{chance::Chance, network::Link, postgres::Server, story::Story};

/// Digits before an envelope.
const DIGITS: usize = 20;
/// Messages on their way to one subscriber.
const MESSAGES_MAX: usize = 64;
/// Between two attempts to subscribe.
const RETRY: Duration = Duration::from_millis(50);

/// The server; clones are the same one.
#[derive(Clone)]
pub(crate) struct Store {
    held: Arc<Mutex<Held>>,
    /// How often, in a hundred, a message is lost, and how often it is told twice.
    lossy_percent: u64,
    chance: Chance,
    story: Story,
}

#[derive(Default)]
struct Held {
    values: BTreeMap<Bytes, Bytes>,
    /// An earlier state of the values, which a failover may bring back.
    earlier: BTreeMap<Bytes, Bytes>,
    subscribers: Vec<mpsc::Sender<Bytes>>,
    /// Cancelled, and renewed, when all connections end.
    restarted: CancellationToken,
}

impl Store {
    /// An empty server.
    pub(crate) fn new(lossy_percent: u64, chance: Chance, story: Story) -> Self {
        Self {
            held: Arc::default(),
            lossy_percent,
            chance,
            story,
        }
    }

    /// Gives the server as a client at the other end of `link` meets it.
    pub(crate) fn by_way_of(&self, link: &Link) -> Arc<dyn StandIn> {
        Arc::new(Client {
            store: self.clone(),
            link: link.clone(),
        })
    }

    /// Ends all connections, and begins again empty.
    pub(crate) fn restart(&self) {
        let mut held = self.lock();
        held.values.clear();
        held.subscribers.clear();
        std::mem::take(&mut held.restarted).cancel();
        self.story.tell("redis", "is restarted, and empty");
    }

    /// Loses what was written since the last time that this happened, as a failover to a replica that lags does.
    pub(crate) fn rewind(&self) {
        let mut held = self.lock();
        let now = held.values.clone();
        held.values = std::mem::replace(&mut held.earlier, now);
        self.story.tell("redis", "has forgotten its last writes");
    }

    /// Puts garbage in the place of some values, and other keys' values in the place of others.
    pub(crate) fn scramble(&self) {
        let mut held = self.lock();
        let all: Vec<Bytes> = held.values.values().cloned().collect();
        for value in held.values.values_mut() {
            if self.chance.percent(40) {
                *value = self.chance.one(&all);
            } else if self.chance.percent(30) {
                *value = Bytes::from(self.chance.number().to_string());
            }
        }
        self.story
            .tell("redis", "is full of garbage, and of other keys' values");
    }

    /// Has a stranger say that nothing has happened up to a position that is still to come.
    pub(crate) fn forge(&self, server: &Server) {
        let now = server.lock().visible.last().cloned();
        let Some((now, incarnation)) = now.and_then(|now| Some((now.clone(), now.incarnation?))) else {
            return;
        };
        let forged = Invalidation {
            incarnation,
            previous_position: Position(0),
            position: Position(now.state.newest() + self.chance.among(1..=3)),
            rows: Vec::new(),
        };
        let channel = RedisSettings::default().channel();
        self.publish(&BroadcastCodec::new(None, channel).write(&forged).into());
        self.story
            .tell("redis", format_args!("hears a stranger speak of {}", forged.position.0));
    }

    /// Gives what lies under a key.
    fn get_range(&self, key: &Bytes, limit: usize) -> Bytes {
        let held = self.lock();
        let value = held.values.get(key).cloned().unwrap_or_default();
        value.slice(..value.len().min(limit))
    }

    fn put_unless_newer(&self, key: Bytes, digits: &str, envelope: &Bytes) -> bool {
        let mut held = self.lock();
        let there = held.values.get(&key).and_then(|value| value.get(..DIGITS));
        let is_newer = |there: &[u8]| there.iter().all(u8::is_ascii_digit) && there > digits.as_bytes();
        if there.is_some_and(is_newer) {
            return false;
        }
        let value = [digits.as_bytes(), envelope].concat();
        held.values.insert(key, value.into());
        true
    }

    fn publish(&self, message: &Bytes) -> u64 {
        let mut told = 0;
        self.lock().subscribers.retain(|subscriber| {
            let times = match self.chance.among(0..=99) {
                lost if lost < self.lossy_percent => 0,
                twice if twice < 2 * self.lossy_percent => 2,
                _ => 1,
            };
            told += 1;
            // A subscriber that does not keep up loses messages; one that is gone is forgotten.
            (0..times).all(|_| {
                !matches!(
                    subscriber.try_send(message.clone()),
                    Err(mpsc::error::TrySendError::Closed(_))
                )
            })
        });
        told
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nobody panics while holding the values")
    }
}

/// A process' way to the server.
struct Client {
    store: Store,
    link: Link,
}

impl Client {
    /// Does something at the server, with a way to it and a way back; a cut on the way leaves open whether it was done.
    fn there_and_back<T: Send + 'static>(&self, act: impl FnOnce(&Store) -> T + Send + 'static) -> Asking<T> {
        let (store, link) = (self.store.clone(), self.link.clone());
        Box::pin(async move {
            let cut = link.until_cut();
            let restarted = store.lock().restarted.clone();
            let asked = async {
                link.pass().await;
                let answer = act(&store);
                link.pass().await;
                answer
            };
            let answered = cut.run_until_cancelled(restarted.run_until_cancelled(asked)).await;
            answered.flatten().ok_or(L2Miss::Disconnected)
        })
    }
}

impl StandIn for Client {
    fn get_range(&self, key: Bytes, limit: usize) -> Asking<Bytes> {
        self.there_and_back(move |store| store.get_range(&key, limit))
    }

    fn put_unless_newer(&self, key: Bytes, digits: String, envelope: Bytes) -> Asking<bool> {
        self.there_and_back(move |store| store.put_unless_newer(key, &digits, &envelope))
    }

    fn publish(&self, _channel: String, message: Bytes) -> Asking<u64> {
        self.there_and_back(move |store| store.publish(&message))
    }

    fn subscribe(&self, _channel: &str) -> mpsc::Receiver<Received> {
        let (told, hearing) = mpsc::channel(MESSAGES_MAX);
        tokio::spawn(hear(self.store.clone(), self.link.clone(), told));
        hearing
    }
}

/// Keeps one process subscribed, and tells it of a gap each time that it begins to hear again.
async fn hear(store: Store, link: Link, told: mpsc::Sender<Received>) {
    while !told.is_closed() {
        let cut = link.until_cut();
        let restarted = store.lock().restarted.clone();
        let hearing = async {
            link.pass().await;
            let (heard, mut hearing) = mpsc::channel(MESSAGES_MAX);
            store.lock().subscribers.push(heard);
            link.pass().await;
            let mut next = Some(Received::Gap);
            while let Some(received) = next {
                if told.send(received).await.is_err() {
                    return;
                }
                next = hearing.recv().await.map(Received::Message);
                link.pass().await;
            }
        };
        cut.run_until_cancelled(restarted.run_until_cancelled(hearing)).await;
        sleep(RETRY).await;
    }
}
