//! A cache that is filled behind the answer and judged by time: an entry is good if it is younger than the last invalidation.
//!
//! Imitates the first iterator cache of OpenFGA before PR #3155: results are gathered while they are read and written to the cache
//! at the end, with the time of that write; so an entry looks younger than an invalidation that came between the read and the write.
//! Time is a counter here, which is kinder than clocks. Leaves out what else a flush of theirs did.

use std::collections::HashMap;

#[derive(Default)]
pub(crate) struct WriteBehind {
    now: u64,
    entries: HashMap<String, (String, u64)>,
    invalidated: HashMap<String, u64>,
}

/// What was read and is not written yet.
pub(crate) struct Gathered {
    key: String,
    value: String,
}

impl Gathered {
    pub(crate) fn new(key: &str, value: String) -> Self {
        Self {
            key: key.to_owned(),
            value,
        }
    }
}

impl WriteBehind {
    pub(crate) fn flush(&mut self, gathered: Gathered) {
        let now = self.tick();
        self.entries.insert(gathered.key, (gathered.value, now));
    }

    pub(crate) fn invalidate(&mut self, key: &str) {
        let now = self.tick();
        self.invalidated.insert(key.to_owned(), now);
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let (value, written) = self.entries.get(key)?;
        let is_younger = self
            .invalidated
            .get(key)
            .is_none_or(|invalidated| written > invalidated);
        is_younger.then_some(value.as_str())
    }

    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }
}
