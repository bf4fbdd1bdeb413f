//! A throw-away PostgreSQL on a Unix socket, with one database per flavour: the application's tables in a schema with an awkward name, and the two
//! functions of the protocol that views call, with the overlay that they read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use neverstale_flavour::{Flavour, Router, ViewId, schema_fixture};
use tempfile::TempDir;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Statement};

/// Schema of the application's tables; it needs quotes.
pub(crate) const SCHEMA: &str = "app one";

const FUNCTIONS: &str = r"
CREATE SCHEMA neverstale;
CREATE FUNCTION neverstale.tag(rule text, VARIADIC keys text[]) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT CASE WHEN pg_catalog.array_position(keys, NULL) IS NULL THEN rule || ':' || (
    SELECT pg_catalog.string_agg(CASE WHEN pg_catalog.octet_length(key) > 200 THEN pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(key, 'UTF8')), 'hex') ELSE key END, ':' ORDER BY place)
    FROM pg_catalog.unnest(keys) WITH ORDINALITY AS part(key, place)) END $$;
CREATE FUNCTION neverstale.tag_hashed(rule text, key text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT rule || ':' || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(key, 'UTF8')), 'hex') $$;
CREATE TABLE neverstale.access_overlay (
  resource_type text NOT NULL CHECK (resource_type IN ('function', 'pipeline')),
  resource_id text NOT NULL, owner_id text, access_control jsonb NOT NULL, version bigint NOT NULL DEFAULT 1,
  PRIMARY KEY (resource_type, resource_id));
";

/// The server; stopped and removed when dropped.
pub(crate) struct Server {
    directory: TempDir,
    binaries: PathBuf,
}

/// One flavour's database.
pub(crate) struct Database {
    pub(crate) client: Client,
    pub(crate) flavour: Arc<Flavour>,
    pub(crate) router: Router,
    statements: RefCell<HashMap<ViewId, Statement>>,
}

/// What a view gives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) body: Option<serde_json::Value>,
    pub(crate) tags: Vec<String>,
    pub(crate) not_after: Option<i64>,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let binaries = newest_binaries().context("no PostgreSQL under /usr/lib/postgresql")?;
        let directory = tempfile::tempdir()?;
        if is_root() {
            ensure!(
                Command::new("chown")
                    .arg("postgres")
                    .arg(directory.path())
                    .status()?
                    .success(),
                "chown"
            );
        }
        let server = Self { directory, binaries };
        let data = server.directory.path().join("data");
        server.run(
            "initdb",
            &[
                "-D",
                path(&data),
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-locale",
                "-N",
            ],
        )?;
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c fsync=off",
            server.directory.path().display()
        );
        server.run(
            "pg_ctl",
            &[
                "-D",
                path(&data),
                "-l",
                path(&server.directory.path().join("log")),
                "-w",
                "-o",
                &options,
                "start",
            ],
        )?;
        Ok(server)
    }

    pub(crate) async fn database(&self, flavour: &str) -> Result<Database> {
        let maintenance = self.connect("postgres").await?;
        maintenance
            .batch_execute(&format!("CREATE DATABASE \"{flavour}\""))
            .await?;
        let client = self.connect(flavour).await?;
        // As the sidecar does: compiling a statement costs a hundred times what running it does.
        client.batch_execute("SET jit = off").await?;
        client.batch_execute(FUNCTIONS).await?;
        client
            .batch_execute(&format!(
                "CREATE SCHEMA \"{SCHEMA}\"; SET search_path = \"{SCHEMA}\", neverstale"
            ))
            .await?;
        client
            .batch_execute(schema_fixture(flavour).context("a fixture")?)
            .await?;
        let flavour = Arc::new(Flavour::parse(
            Flavour::builtin(flavour).context("a built-in")?,
            flavour,
        )?);
        let router = Router::new(flavour.clone(), &[].into())?;
        Ok(Database {
            client,
            flavour,
            router,
            statements: RefCell::default(),
        })
    }

    async fn connect(&self, database: &str) -> Result<Client> {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(self.directory.path())
            .user("postgres")
            .dbname(database);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        let program = self.binaries.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
                .arg(&program);
            command
        } else {
            Command::new(&program)
        };
        let status = command
            .args(args)
            .current_dir(self.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "{} failed", program.display());
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.directory.path().join("data");
        let _ = self.run("pg_ctl", &["-D", path(&data), "-m", "immediate", "stop"]);
    }
}

impl Database {
    /// Asks what a path asks, straight from the database.
    pub(crate) async fn ask(&self, path: &str) -> Result<Answer> {
        self.ask_with(&self.router, path).await
    }

    pub(crate) async fn ask_with(&self, router: &Router, path: &str) -> Result<Answer> {
        let read = router.route(path).with_context(|| path.to_owned())?;
        self.run(&read).await.with_context(|| path.to_owned())
    }

    pub(crate) async fn run(&self, read: &neverstale_flavour::Read) -> Result<Answer> {
        let known = self.statements.borrow().get(&read.view).cloned();
        let statement = if let Some(statement) = known {
            statement
        } else {
            let view = self.flavour.view_sql(read.view, SCHEMA);
            let sql = format!("SELECT body::text, tags, not_after FROM ({view}) AS answer");
            let statement = self
                .client
                .prepare_typed(&sql, &vec![Type::TEXT; read.params.len()])
                .await?;
            self.statements.borrow_mut().insert(read.view, statement.clone());
            statement
        };
        let params: Vec<&(dyn ToSql + Sync)> = read.params.iter().map(|param| param as _).collect();
        let row = self.client.query_one(&statement, &params).await?;
        let body: Option<String> = row.get(0);
        let body = body.map(|body| serde_json::from_str(&body)).transpose()?;
        Ok(Answer {
            body,
            tags: row.get(1),
            not_after: row.get(2),
        })
    }
}

fn newest_binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut versions: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop()
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"0"))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary directories are UTF-8")
}
