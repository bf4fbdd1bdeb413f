//! The applications' schemas and a deterministic population: users, groups, memberships, API keys and settings, by plain SQL.
//!
//! User 1 is the first user and an admin, every 50th is an admin, every 20th otherwise is pending. Numbers begin at 1.

use std::fmt::Write;

use anyhow::{Context, Result};
use tokio_postgres::Client;

/// An application whose schema the product knows; the same names as the built-in flavours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Application {
    /// Open WebUI 0.12.
    OpenWebUi012,
    /// Open WebUI 0.6.41 to 0.6.43.
    OpenWebUi06,
    /// NAGA 0.5.18.
    Naga0518,
}

impl Application {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OpenWebUi012, Self::OpenWebUi06, Self::Naga0518];

    /// The name of its flavour.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenWebUi012 => "openwebui-0.12",
            Self::OpenWebUi06 => "openwebui-0.6",
            Self::Naga0518 => "naga-0.5.18",
        }
    }

    /// Its tables as its own migrations leave them; unqualified, so they go into the first schema of `search_path`.
    pub fn schema_sql(self) -> &'static str {
        match self {
            Self::OpenWebUi012 => include_str!("../../../flavours/schema/openwebui-0.12.sql"),
            Self::OpenWebUi06 => include_str!("../../../flavours/schema/openwebui-0.6.sql"),
            Self::Naga0518 => include_str!("../../../flavours/schema/naga-0.5.18.sql"),
        }
    }

    /// Fills empty tables.
    pub async fn populate(self, client: &Client, population: Population) -> Result<()> {
        let sql = match self {
            Self::OpenWebUi012 | Self::OpenWebUi06 => population.open_webui(self),
            Self::Naga0518 => population.naga(),
        };
        client
            .batch_execute(&sql)
            .await
            .with_context(|| format!("populate {}", self.name()))
    }
}

/// A small company in plain SQL, for tests and pictures of who may do what: over the schema of 0.12 with its first user and our
/// installation. One of its people has markup for a name.
pub const COMPANY: &str = include_str!("company.sql");

/// How many of each there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// Users, at least one.
    pub users: u32,
    /// Groups, at least one.
    pub groups: u32,
    /// Groups that each user is a member of; fewer when there are not so many groups.
    pub memberships: u32,
    /// Users, from the first, who have an API key.
    pub api_keys: u32,
}

impl Default for Population {
    fn default() -> Self {
        Self {
            users: 60,
            groups: 6,
            memberships: 2,
            api_keys: 60,
        }
    }
}

/// The id of a user.
pub fn user_id(number: u32) -> String {
    format!("u{number}")
}

/// The e-mail address of a user.
pub fn user_email(number: u32) -> String {
    format!("user{number}@example.com")
}

/// The id of a group.
pub fn group_id(number: u32) -> String {
    format!("g{number}")
}

/// The API key of a user.
pub fn api_key(number: u32) -> String {
    format!("sk-{number:032x}")
}

const ROLE: &str = "CASE WHEN n = 1 OR n % 50 = 0 THEN 'admin' WHEN n % 20 = 0 THEN 'pending' ELSE 'user' END";
const API_KEY: &str = "'sk-' || lpad(to_hex(n), 32, '0')";
const PERMISSIONS: &str = "json_build_object(
    'workspace', json_build_object('models', n % 3 = 0, 'knowledge', n % 2 = 0, 'prompts', false, 'tools', n % 5 = 0),
    'chat', json_build_object('file_upload', true, 'delete', n % 4 <> 0),
    'features', json_build_object('api_keys', true, 'web_search', n % 7 = 0))";
const DEFAULT_PERMISSIONS: &str = r#"{"workspace": {"models": false, "knowledge": false, "prompts": false, "tools": false},
    "chat": {"file_upload": true, "delete": true}, "features": {"api_keys": false, "web_search": true}}"#;

impl Population {
    /// `(n, g)`: user n is a member of group g; the k-th groups of a user are far apart, so that members mix.
    fn members(self) -> String {
        let Self {
            users,
            groups,
            memberships,
            ..
        } = self;
        format!(
            "SELECT DISTINCT n, (n * 7 + k * 13) % {groups} + 1 AS g FROM generate_series(1, {users}) AS n, generate_series(1, {memberships}) AS k"
        )
    }

    fn open_webui(self, application: Application) -> String {
        let Self {
            users,
            groups,
            api_keys,
            ..
        } = self;
        let is_012 = application == Application::OpenWebUi012;
        let (stamp_column, stamp) = if is_012 {
            (", session_stamp", ", 'stamp-' || n")
        } else {
            ("", "")
        };
        let mut sql = format!(
            r#"
INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at, updated_at, created_at, settings, info)
SELECT 'u' || n, 'User ' || n, 'user' || n || '@example.com', {ROLE}, '/user.png', 1700000000, 1700000000, 1700000000 + n,
       '{{"ui": {{"theme": "dark"}}}}', '{{}}'
FROM generate_series(1, {users}) AS n;
INSERT INTO auth (id, email, password, active{stamp_column})
SELECT 'u' || n, 'user' || n || '@example.com', 'not a hash', true{stamp} FROM generate_series(1, {users}) AS n;
INSERT INTO "group" (id, user_id, name, description, data, meta, permissions, created_at, updated_at)
SELECT 'g' || n, 'u1', 'Group ' || n, '', '{{}}', '{{}}', {PERMISSIONS}, 1700000000, 1700000000 + n FROM generate_series(1, {groups}) AS n;
INSERT INTO group_member (id, group_id, user_id, created_at, updated_at)
SELECT 'm' || n || '-' || g, 'g' || g, 'u' || n, 1700000000, 1700000000 FROM ({members}) AS members;
INSERT INTO api_key (id, user_id, key, data, expires_at, last_used_at, created_at, updated_at)
SELECT 'k' || n, 'u' || n, {API_KEY}, '{{}}', NULL, NULL, 1700000000, 1700000000 FROM generate_series(1, least({api_keys}, {users})) AS n;
"#,
            members = self.members(),
        );
        let settings = if is_012 {
            format!(
                r#"
UPDATE "group" SET parent_group_id = 'g1' WHERE id <> 'g1' AND right(id, 1) = '0';
INSERT INTO config (key, value, updated_at) VALUES
    ('user.permissions', '{DEFAULT_PERMISSIONS}', 1700000000), ('ui.default_user_role', '"pending"', 1700000000),
    ('ui.enable_signup', 'true', 1700000000), ('auth.enable_api_keys', 'true', 1700000000), ('rag.top_k', '3', 1700000000),
    ('rag.openai_api_key', '"sk-global"', 1700000000), ('webui.name', '"Open WebUI"', 1700000000);
"#
            )
        } else {
            format!(
                r"
INSERT INTO config (data, version) VALUES (json_build_object(
    'user', json_build_object('permissions', '{DEFAULT_PERMISSIONS}'::json),
    'ui', json_build_object('default_user_role', 'pending', 'enable_signup', true),
    'auth', json_build_object('enable_api_keys', true),
    'rag', json_build_object('top_k', 3, 'openai_api_key', 'sk-global')), 0);
"
            )
        };
        write!(sql, "{settings}ANALYZE;").ok();
        sql
    }

    fn naga(self) -> String {
        let Self {
            users,
            groups,
            api_keys,
            ..
        } = self;
        format!(
            r#"
INSERT INTO "user" (id, name, email, role, profile_image_url, api_key, created_at, updated_at, last_active_at, settings, info)
SELECT 'u' || n, 'User ' || n, 'user' || n || '@example.com', {ROLE}, '/user.png', CASE WHEN n <= {api_keys} THEN {API_KEY} END,
       1700000000 + n, 1700000000, 1700000000, '{{"ui": {{"theme": "dark"}}}}', '{{}}'
FROM generate_series(1, {users}) AS n;
INSERT INTO auth (id, email, password, active)
SELECT 'u' || n, 'user' || n || '@example.com', 'not a hash', true FROM generate_series(1, {users}) AS n;
INSERT INTO "group" (id, user_id, created_by, name, description, data, meta, permissions, user_ids, created_at, updated_at)
SELECT 'g' || n, CASE WHEN n % 2 = 0 AND {users} >= 50 THEN 'u50' ELSE 'u1' END,
       CASE WHEN n % 2 = 0 AND {users} >= 50 THEN 'user50' ELSE 'user1' END || '@example.com',
       'Group ' || n, '', '{{}}', '{{}}', {PERMISSIONS},
       coalesce((SELECT json_agg('u' || members.n ORDER BY members.n) FROM ({members}) AS members WHERE members.g = groups.n), '[]'::json),
       1700000000, 1700000000 + n
FROM generate_series(1, {groups}) AS groups(n);
INSERT INTO config (email, data, version) VALUES
    ('system@default', json_build_object('ui', json_build_object('default_user_role', 'pending', 'enable_signup', true),
        'user', json_build_object('permissions', '{DEFAULT_PERMISSIONS}'::json), 'rag', json_build_object('top_k', 3)), 0),
    ('user1@example.com', '{{"rag": {{"top_k": 5, "openai_api_key": "sk-of-user-1"}}, "audio": {{"tts": {{"voice": "alloy"}}}}}}', 0),
    ('user50@example.com', '{{"rag": {{"top_k": 9, "openai_api_key": "sk-of-user-50"}}}}', 0);
ANALYZE;
"#,
            members = self.members(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Postgres;

    #[tokio::test]
    async fn every_application_is_populated_and_its_databases_are_dropped() {
        let postgres = Postgres::shared().await.unwrap();
        let mut names = Vec::new();
        for application in Application::ALL {
            let database = postgres.fresh_database(application).await.unwrap();
            let client = database.connect().await.unwrap();
            application.populate(&client, Population::default()).await.unwrap();
            let row = client
                .query_one(r#"SELECT count(*), min(created_at) FROM "user""#, &[])
                .await
                .unwrap();
            assert_eq!(
                (row.get::<_, i64>(0), row.get::<_, i64>(1)),
                (60, 1_700_000_001),
                "{}",
                application.name()
            );
            names.push(database.name().to_owned());
        }
        let admin = postgres.connect("postgres").await.unwrap();
        let left = admin
            .query("SELECT FROM pg_database WHERE datname = ANY($1)", &[&names])
            .await
            .unwrap();
        assert!(left.is_empty());
    }

    #[tokio::test]
    async fn a_key_in_postgres_is_the_key_that_rust_names() {
        let postgres = Postgres::shared().await.unwrap();
        let database = postgres.fresh_database(Application::OpenWebUi012).await.unwrap();
        let client = database.connect().await.unwrap();
        Application::OpenWebUi012
            .populate(&client, Population::default())
            .await
            .unwrap();
        let row = client
            .query_one("SELECT user_id FROM api_key WHERE key = $1", &[&api_key(42)])
            .await
            .unwrap();
        assert_eq!(row.get::<_, String>(0), user_id(42));
    }
}
