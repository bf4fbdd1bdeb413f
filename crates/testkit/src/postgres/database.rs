//! A database for one test: cloned from a template that holds an application's schema, dropped at the end.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio_postgres::{Client, Config, NoTls};

use super::Postgres;
use crate::owui::Application;

/// Serialises the making of templates between processes; any number that nobody else uses on a throw-away server.
const TEMPLATE_LOCK: i64 = 7_380_738_073_807_380;

/// A database of one's own. It is dropped, with force, when this is.
#[derive(Debug)]
pub struct Database {
    name: String,
    port: u16,
    url: String,
}

impl Database {
    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, as applications write it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its URL through another port, such as a [`Link`](crate::Link)'s.
    pub fn url_through(&self, port: u16) -> String {
        self.url.replace(&format!(":{}/", self.port), &format!(":{port}/"))
    }

    /// Connects as the superuser.
    pub async fn connect(&self) -> Result<Client> {
        self.connect_as("postgres").await
    }

    /// Connects as any role.
    pub async fn connect_as(&self, role: &str) -> Result<Client> {
        connect(self.port, role, &self.name).await
    }
}

impl Postgres {
    /// Makes a database with an application's schema and nothing in it.
    pub async fn fresh_database(&self, application: Application) -> Result<Database> {
        self.database_with(application.name(), application.schema_sql()).await
    }

    /// Makes a database with a schema of one's own; equal SQL is run once per server and then cloned.
    pub async fn database_with(&self, label: &str, sql: &str) -> Result<Database> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut hasher = DefaultHasher::new();
        sql.hash(&mut hasher);
        let label: String = label
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' })
            .collect();
        let template = format!("template_{label}_{:x}", hasher.finish());
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = self.connect("postgres").await?;
        self.make_template(&admin, &template, sql)
            .await
            .with_context(|| format!("load the schema {label}"))?;
        let create = format!("CREATE DATABASE \"{name}\" TEMPLATE \"{template}\"");
        admin
            .batch_execute(&create)
            .await
            .with_context(|| format!("clone {template}"))?;
        Ok(Database {
            url: self.url(&name),
            name,
            port: self.port(),
        })
    }

    async fn make_template(&self, admin: &Client, template: &str, sql: &str) -> Result<()> {
        admin
            .execute("SELECT pg_catalog.pg_advisory_lock($1)", &[&TEMPLATE_LOCK])
            .await?;
        let exists = admin
            .query_opt("SELECT FROM pg_catalog.pg_database WHERE datname = $1", &[&template])
            .await?
            .is_some();
        if !exists {
            // Under another name until it is whole, for a process may be killed in between.
            let staging = format!("{template}_staging");
            admin
                .batch_execute(&format!("DROP DATABASE IF EXISTS \"{staging}\" WITH (FORCE)"))
                .await?;
            admin
                .batch_execute(&format!("CREATE DATABASE \"{staging}\" TEMPLATE template0"))
                .await?;
            let loader = self.connect(&staging).await?;
            loader.batch_execute(sql).await?;
            // Renaming needs a database without sessions, and a session ends a moment after its client has.
            drop(loader);
            let sessions =
                "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity WHERE datname = $1";
            admin.execute(sessions, &[&staging]).await?;
            admin
                .batch_execute(&format!("ALTER DATABASE \"{staging}\" RENAME TO \"{template}\""))
                .await?;
        }
        admin
            .execute("SELECT pg_catalog.pg_advisory_unlock($1)", &[&TEMPLATE_LOCK])
            .await?;
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (port, name) = (self.port, self.name.clone());
        // A thread with a runtime of its own: a test may drop its database within, outside or after its runtime.
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            runtime.block_on(async {
                // It is fine to fail: the server may be down, and its directory goes with all databases.
                let drop = async {
                    let admin = connect(port, "postgres", "postgres").await.ok()?;
                    admin
                        .batch_execute(&format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"))
                        .await
                        .ok()
                };
                tokio::time::timeout(Duration::from_secs(3), drop).await.ok()?
            })
        });
        dropping.join().ok();
    }
}

pub(super) async fn connect(port: u16, role: &str, database: &str) -> Result<Client> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user(role)
        .dbname(database)
        .connect_timeout(Duration::from_secs(5));
    let (client, connection) = config
        .connect(NoTls)
        .await
        .with_context(|| format!("connect to database {database}"))?;
    tokio::spawn(connection);
    Ok(client)
}
