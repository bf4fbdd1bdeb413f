//! Reads the application's own keys, such as those that revoke a session.
//!
//! Unlike an L2 value, a revocation that can't be read is not the same as none: the caller hears which it was and fails closed.
//! The breaker of L2 has no say here, the time is bounded by `redis.session_budget_ms`.

use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::{ClientLike, KeysInterface};

use crate::client::{Redis, once_within};

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAnswer {
    /// It has this value.
    Value(Bytes),
    /// It does not exist.
    Absent,
    /// Redis could not be asked, did not answer in time, or holds no text there.
    Unknown,
}

impl Redis {
    /// Reads one key of the application, by its full name.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn get(&self, key: &str) -> KeyAnswer {
        let Ok(_place) = self.shared.reads.try_acquire() else {
            return KeyAnswer::Unknown;
        };
        let Some(client) = self.client() else {
            return KeyAnswer::Unknown;
        };
        let budget = Duration::from_millis(self.shared.settings.session_budget_ms);
        let client = client.with_options(&once_within(budget));
        match tokio::time::timeout(budget, client.get::<Option<Bytes>, _>(key)).await {
            Ok(Ok(Some(value))) => KeyAnswer::Value(value),
            Ok(Ok(None)) => KeyAnswer::Absent,
            Ok(Err(_)) | Err(_) => KeyAnswer::Unknown,
        }
    }
}
