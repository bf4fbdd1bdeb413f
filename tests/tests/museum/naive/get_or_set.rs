//! Cache-aside with get-or-set and remove: on a miss load and keep, on a write remove.
//!
//! Imitates what FusionCache's get-or-set with a key removed during the load does (#613, #625), what a loader of any in-process cache
//! does, and what NAGA's `get`, query, `set` does in Redis. Leaves out expiry, which ends the anomaly and not its cause, and the
//! sharing of loads, which spreads it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

#[derive(Default)]
pub(crate) struct GetOrSet {
    values: Mutex<HashMap<String, String>>,
}

impl GetOrSet {
    pub(crate) async fn get_or_set(&self, key: &str, load: impl Future<Output = String>) -> String {
        if let Some(value) = self.get(key) {
            return value;
        }
        let value = load.await;
        self.values().insert(key.to_owned(), value.clone());
        value
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        self.values().get(key).cloned()
    }

    pub(crate) fn remove(&self, key: &str) {
        self.values().remove(key);
    }

    fn values(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
