//! Whether this process should get traffic, and if not, why not.
//!
//! Each part that can stand in the way owns one key and sets or clears its reason; ready means that no key has one.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

/// The reasons against being ready, shared by all who set and read them.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<Reasons>>);

type Reasons = BTreeMap<&'static str, String>;

impl Readiness {
    /// Starts with one reason, so that nothing is ready before it was looked at.
    pub fn new(key: &'static str, reason: impl Into<String>) -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::from([(key, reason.into())]))))
    }

    /// Sets the reason of `key`, or clears it; repeating it changes and logs nothing.
    pub fn set(&self, key: &'static str, reason: Option<String>) {
        self.0.send_if_modified(|reasons| {
            if reasons.get(key) == reason.as_ref() {
                return false;
            }
            if let Some(reason) = reason {
                tracing::warn!(key, reason, "not ready");
                reasons.insert(key, reason);
            } else {
                reasons.remove(key);
                if reasons.is_empty() {
                    tracing::info!(key, "ready");
                }
            }
            true
        });
    }

    /// Lists the reasons by key.
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        self.0
            .borrow()
            .iter()
            .map(|(key, reason)| (*key, reason.clone()))
            .collect()
    }

    /// Says whether nothing stands in the way.
    pub fn is_ready(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Waits until nothing stands in the way.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn ready(&self) {
        self.wait_for(BTreeMap::is_empty).await;
    }

    /// Waits until something stands in the way.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn unready(&self) {
        self.wait_for(|reasons| !reasons.is_empty()).await;
    }

    async fn wait_for(&self, is_it: impl FnMut(&Reasons) -> bool) {
        let mut reasons = self.0.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = reasons.wait_for(is_it).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_means_that_no_key_has_a_reason() {
        let readiness = Readiness::new("fence", "no fence yet");
        readiness.set("installation", Some("trigger missing".into()));
        assert_eq!(readiness.reasons().len(), 2);
        readiness.set("fence", None);
        assert!(!readiness.is_ready());
        readiness.unready().await;
        readiness.set("installation", None);
        readiness.ready().await;
        assert!(readiness.is_ready());
    }
}
