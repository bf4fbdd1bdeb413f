//! L1: finished entries in this process's memory, by canonical path, bounded by size.
//!
//! Nothing is deleted for correctness: a stale entry is judged stale until a fill replaces it or space is needed.

use std::sync::Arc;

use moka::{notification::RemovalCause, sync::Cache as Moka};
use neverstale_telemetry::Metrics;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use crate::{Entry, L1Settings};

/// What an entry takes in moka's own tables, measured by the memory bench.
const OVERHEAD_BYTES: usize = 360;

/// The first tier.
pub struct L1 {
    entries: Moka<Box<str>, Arc<Entry>, Xxh3DefaultBuilder>,
    entry_bytes_max: usize,
}

impl L1 {
    /// Makes an empty L1.
    pub fn new(settings: &L1Settings, metrics: Arc<Metrics>) -> Self {
        #[expect(clippy::borrowed_box, reason = "moka hands out the key as it is kept")]
        let weigh = |key: &Box<str>, entry: &Arc<Entry>| {
            u32::try_from(key.len() + entry.bytes() + OVERHEAD_BYTES).unwrap_or(u32::MAX)
        };
        let entries = Moka::builder()
            .max_capacity(settings.bytes_max)
            .weigher(weigh)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    metrics.l1_evictions_total.inc();
                }
            })
            .build_with_hasher(Xxh3DefaultBuilder::new());
        Self {
            entries,
            entry_bytes_max: settings.entry_bytes_max as usize,
        }
    }

    /// Looks an entry up; the caller judges it.
    pub fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    /// Keeps an entry, unless it is too large or the one that is there shows a later state of the same incarnation.
    pub fn put(&self, key: &str, entry: &Arc<Entry>) {
        if entry.body.len() > self.entry_bytes_max {
            return;
        }
        let is_newer =
            |kept: &Entry| kept.stamp.incarnation != entry.stamp.incarnation || kept.stamp.as_of <= entry.stamp.as_of;
        self.entries
            .entry(key.into())
            .or_insert_with_if(|| Arc::clone(entry), |kept| is_newer(kept));
    }

    /// Forgets everything: the auditor has found an answer that it can't explain.
    pub fn forget_all(&self) {
        self.entries.invalidate_all();
    }

    /// Counts entries and the bytes that they take, roughly: moka settles its books now and then.
    pub fn size(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}
