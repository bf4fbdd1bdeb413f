//! A small application: users, groups, members and keys in schema `app`, owned by role `owner`, and a flavour that watches them.

use std::time::Duration;

use anyhow::Result;
use neverstale_flavour::{Detect, Flavour, Table, TagRule};
use neverstale_installation::{InstallOptions, Plan, Verdict, install, verify};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::server::Server;

const SCHEMA_SQL: &str = r#"
CREATE SCHEMA app;
CREATE TABLE app."user" (id varchar NOT NULL UNIQUE, email varchar, name text, role text, settings json, last_active_at bigint NOT NULL DEFAULT 0);
CREATE TABLE app."group" (id text PRIMARY KEY, name text, user_ids json, note text);
CREATE TABLE app.group_member (
  id text PRIMARY KEY,
  group_id text REFERENCES app."group" ON DELETE CASCADE,
  user_id varchar REFERENCES app."user" (id) ON DELETE CASCADE);
CREATE TABLE app.api_key (id text PRIMARY KEY, user_id varchar, key text, last_used_at bigint);
CREATE TABLE app.post (id bigint, title text, noise int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE app.post_low PARTITION OF app.post FOR VALUES FROM (0) TO (100);
CREATE TABLE app.post_high PARTITION OF app.post FOR VALUES FROM (100) TO (200);
INSERT INTO app."user" (id, email, name, role) SELECT 'u' || i, 'User' || i || '@Example.org', 'user ' || i, 'user' FROM generate_series(1, 5) AS i;
INSERT INTO app."group" VALUES ('g1', 'one', '["u1", "u2"]'), ('g2', 'two', '[]');
INSERT INTO app.group_member VALUES ('m1', 'g1', 'u1'), ('m2', 'g1', 'u2');
INSERT INTO app.api_key VALUES ('k1', 'u1', 'sk-1');
INSERT INTO app.post VALUES (1, 'low', 0), (101, 'high', 0);
"#;

/// The application with its server.
pub(crate) struct App {
    pub(crate) server: Server,
    pub(crate) owner: Client,
    pub(crate) flavour: Flavour,
}

impl App {
    /// An application on which nothing is installed.
    pub(crate) async fn start() -> Result<Self> {
        let server = Server::start().await?;
        let superuser = server.connect("postgres", "postgres").await?;
        superuser.batch_execute("CREATE ROLE owner LOGIN").await?;
        superuser.batch_execute("CREATE DATABASE app OWNER owner").await?;
        let owner = server.connect("owner", "app").await?;
        owner.batch_execute(SCHEMA_SQL).await?;
        Ok(Self {
            server,
            owner,
            flavour: flavour(),
        })
    }

    /// An application with an installation and no commit wait.
    pub(crate) async fn installed() -> Result<Self> {
        let app = Self::start().await?;
        app.install().await?;
        Ok(app)
    }

    pub(crate) async fn install(&self) -> Result<Plan> {
        Ok(install(&self.owner, &self.flavour, "app", &options()).await?)
    }

    pub(crate) async fn verify(&self) -> Result<Verdict> {
        Ok(verify(&self.owner, &self.flavour, "app").await?)
    }

    /// One more connection as the owner.
    pub(crate) async fn connect(&self) -> Result<Client> {
        self.server.connect("owner", "app").await
    }

    pub(crate) async fn superuser(&self) -> Result<Client> {
        self.server.connect("postgres", "app").await
    }

    /// Runs a script as the owner and gives the tags of all positions that it published, sorted.
    pub(crate) async fn tags_of(&self, script: &str) -> Result<Vec<String>> {
        self.tags_by(&self.owner, script).await
    }

    /// The same, run by somebody else.
    pub(crate) async fn tags_by(&self, client: &Client, script: &str) -> Result<Vec<String>> {
        let before = self.newest().await?;
        client.batch_execute(script).await?;
        self.tags_since(before).await
    }

    /// The tags of all positions after this one, sorted.
    pub(crate) async fn tags_since(&self, position: i64) -> Result<Vec<String>> {
        let sql =
            "SELECT DISTINCT tag FROM neverstale.log JOIN neverstale.tag USING (xid) WHERE position > $1 ORDER BY tag";
        Ok(self
            .owner
            .query(sql, &[&position])
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect())
    }

    pub(crate) async fn newest(&self) -> Result<i64> {
        self.number("SELECT coalesce(max(position), 0) FROM neverstale.log")
            .await
    }

    /// One bigint, as the owner.
    pub(crate) async fn number(&self, sql: &str) -> Result<i64> {
        Ok(self.owner.query_one(sql, &[]).await?.get(0))
    }
}

/// No commit wait.
pub(crate) fn options() -> InstallOptions {
    InstallOptions {
        lock_timeout: Duration::from_millis(200),
        lease_ms: Some(0),
        reader: None,
    }
}

pub(crate) fn flavour() -> Flavour {
    let tables = vec![
        Table {
            name: "user".into(),
            ours: false,
            columns: texts(&["id", "email", "name", "role", "settings"]),
            tags: vec![
                rule("user.id", &["id"]),
                TagRule {
                    lower: true,
                    ..rule("user.email", &["email"])
                },
                TagRule {
                    of: Some(texts(&["role"])),
                    ..rule("user.role", &[])
                },
            ],
        },
        Table {
            name: "group".into(),
            ours: false,
            columns: texts(&["id", "name", "user_ids"]),
            tags: vec![
                rule("group.id", &["id"]),
                TagRule {
                    each: Some("user_ids".into()),
                    ..rule("group.member", &[])
                },
            ],
        },
        Table {
            name: "group_member".into(),
            ours: false,
            columns: texts(&["group_id", "user_id"]),
            tags: vec![
                rule("group_member.user_id", &["user_id"]),
                rule("group_member.pair", &["group_id", "user_id"]),
            ],
        },
        Table {
            name: "api_key".into(),
            ours: false,
            columns: texts(&["user_id", "key"]),
            tags: vec![TagRule {
                hashed: true,
                ..rule("api_key.key", &["key"])
            }],
        },
        Table {
            name: "post".into(),
            ours: false,
            columns: texts(&["id", "title"]),
            tags: vec![rule("post.id", &["id"])],
        },
    ];
    Flavour {
        name: "small".into(),
        description: "A small application".into(),
        detect: Detect::default(),
        tables,
        views: Vec::new(),
        writes: Vec::new(),
        settings: Vec::new(),
        options: Vec::new(),
        session: None,
        access: None,
    }
}

/// A flavour that watches one table by its id.
pub(crate) fn flavour_of(table: &str, columns: &[&str]) -> Flavour {
    let table = Table {
        name: table.into(),
        ours: false,
        columns: texts(columns),
        tags: vec![rule(&format!("{table}.id"), &["id"])],
    };
    Flavour {
        tables: vec![table],
        ..flavour()
    }
}

pub(crate) fn rule(name: &str, key: &[&str]) -> TagRule {
    TagRule {
        name: name.into(),
        key: texts(key),
        ..TagRule::default()
    }
}

pub(crate) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// The first column of all rows, as text.
pub(crate) async fn column(client: &Client, sql: &str) -> Result<Vec<String>> {
    let rows = client.simple_query(sql).await?;
    let rows = rows.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    Ok(rows.collect())
}
