//! A shared cache of whole objects into which every request writes back what it has spent.
//!
//! Imitates LiteLLM's spend tracking (#25553): after its work a request takes the cached key object that it was admitted with, adds
//! to `spend`, and puts the whole object back with a fresh expiry, whatever has been deleted in between. Leaves out the process's
//! own memory in front of Redis, which makes it worse.

use anyhow::Result;
use neverstale_testkit::Redis;
use serde_json::{Value, json};

pub(crate) struct ReadModifyWrite<'a>(pub(crate) &'a Redis);

impl ReadModifyWrite<'_> {
    /// Admits a request: the cached object, or a fresh one of `role`.
    pub(crate) async fn admit(&self, key: &str, role: &str) -> Result<Value> {
        if let Some(object) = self.get(key).await? {
            return Ok(object);
        }
        let object = json!({"role": role, "spend": 0});
        self.put(key, &object).await?;
        Ok(object)
    }

    /// Ends a request: what it has spent goes into the object it was admitted with, and back.
    pub(crate) async fn spend(&self, key: &str, mut object: Value) -> Result<()> {
        object["spend"] = json!(object["spend"].as_i64().unwrap_or(0) + 1);
        self.put(key, &object).await
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Value>> {
        let text = self.0.command(&["GET", key]).await?;
        Ok(if text.is_empty() {
            None
        } else {
            Some(serde_json::from_str(&text)?)
        })
    }

    pub(crate) async fn invalidate(&self, key: &str) -> Result<()> {
        self.0.command(&["DEL", key]).await.map(drop)
    }

    async fn put(&self, key: &str, object: &Value) -> Result<()> {
        let text = object.to_string();
        self.0.command(&["SET", key, &text, "EX", "60"]).await.map(drop)
    }
}
