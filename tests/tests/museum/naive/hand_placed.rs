//! Projections of a user kept in Redis, and invalidated by whichever function of the application remembers to.
//!
//! Imitates `utils/cache.py` of NAGA: what is kept under which name, and which of its functions delete which names. Each write here
//! does the SQL of that function and then its deletions, no more. Leaves out expiry (10 and 15 minutes there).

use anyhow::Result;
use neverstale_testkit::Redis;

use crate::house::House;

pub(crate) struct HandPlaced<'a> {
    pub(crate) redis: &'a Redis,
    pub(crate) house: &'a House,
}

impl HandPlaced<'_> {
    /// Reads a projection: from Redis, else by `sql`, and keeps it.
    pub(crate) async fn read(&self, name: &str, sql: &str) -> Result<String> {
        let kept = self.redis.command(&["GET", name]).await?;
        if !kept.is_empty() {
            return Ok(kept);
        }
        let value: String = self.house.writer.query_one(sql, &[]).await?.get(0);
        self.redis.command(&["SET", name, &value]).await?;
        Ok(value)
    }

    /// Like `update_user_role_by_id`: deletes what it knows of.
    pub(crate) async fn update_role(&self, user: &str, role: &str) -> Result<()> {
        self.house.set_role(user, role).await;
        self.forget(&[format!("cache:user:role:{user}"), format!("cache:auth:user:{user}")])
            .await
    }

    /// Like `update_user_by_id`: deletes the entry of the authenticated user, and not that of the role.
    pub(crate) async fn update_user(&self, user: &str, role: &str) -> Result<()> {
        self.house.set_role(user, role).await;
        self.forget(&[format!("cache:auth:user:{user}")]).await
    }

    /// Like `update_user_settings_by_id`: deletes the settings, and not the entry of the authenticated user, which holds them too.
    pub(crate) async fn update_name(&self, user: &str, name: &str) -> Result<()> {
        self.house
            .write(&format!("UPDATE \"user\" SET name = '{name}' WHERE id = '{user}'"))
            .await;
        self.forget(&[format!("cache:user:settings:{user}")]).await
    }

    async fn forget(&self, names: &[String]) -> Result<()> {
        for name in names {
            self.redis.command(&["DEL", name]).await?;
        }
        Ok(())
    }
}
