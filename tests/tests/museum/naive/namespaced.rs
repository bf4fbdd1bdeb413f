//! Nodes with memory of their own, grouped in namespaces, that tell each other over a Redis channel what to clear.
//!
//! Imitates bentocache before its issue #32 was mended: the message says `clear` and not which namespace. Two things were reported of
//! it, and a receiver can do either: clear everything, or clear its root and leave the namespace as it was. Leaves out L2, which was
//! cleared rightly, and other messages.

use std::collections::HashMap;

use anyhow::Result;
use neverstale_testkit::Redis;

use super::tracked::Connection;

const CHANNEL: &str = "museum:bus";
const ROOT: &str = "";

/// How a receiver understands a clear that names nothing.
#[derive(Clone, Copy)]
pub(crate) enum Reading {
    Everything,
    Root,
}

pub(crate) struct Node {
    reading: Reading,
    bus: Connection,
    values: HashMap<(String, String), String>,
}

impl Node {
    pub(crate) async fn start(redis: &Redis, reading: Reading) -> Result<Self> {
        let mut bus = Connection::to(redis.port()).await?;
        bus.send(&["SUBSCRIBE", CHANNEL]).await?;
        bus.reply().await?;
        Ok(Self {
            reading,
            bus,
            values: HashMap::new(),
        })
    }

    pub(crate) fn set(&mut self, namespace: &str, key: &str, value: &str) {
        self.values
            .insert((namespace.to_owned(), key.to_owned()), value.to_owned());
    }

    pub(crate) fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        let key = (namespace.to_owned(), key.to_owned());
        self.values.get(&key).map(String::as_str)
    }

    pub(crate) async fn clear(&mut self, redis: &Redis, namespace: &str) -> Result<()> {
        self.values.retain(|(of, _), _| of != namespace);
        redis.command(&["PUBLISH", CHANNEL, "clear"]).await.map(drop)
    }

    pub(crate) async fn hear(&mut self) -> Result<()> {
        self.bus.reply().await?;
        match self.reading {
            Reading::Everything => self.values.clear(),
            Reading::Root => self.values.retain(|(of, _), _| of != ROOT),
        }
        Ok(())
    }
}
