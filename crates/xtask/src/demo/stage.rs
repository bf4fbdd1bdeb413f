//! Sets the stage: PostgreSQL, Redis, the application's schema with its people, the installation, three sidecars.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};
use neverstale_testkit::{
    Application, Client, Database, Population, Postgres, PostgresVersion, Redis, Sidecar, SidecarOptions,
    postgres_binaries, redis_server, run_binary, user_id,
};

use super::{DemoOptions, ledger::Ledger};

const SIDECARS: usize = 3;
const GROUPS: u32 = 100;
/// The user whom a person may change by hand; nobody knows when, so his role is not judged.
pub(crate) const BY_HAND: u32 = 99;

/// Everything that is running. Dropped from top to bottom, sidecars first.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) sidecars: Vec<Sidecar>,
    pub(crate) database: Database,
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) ledger: Ledger,
    pub(crate) users: u32,
}

impl Stage {
    /// Starts everything and tells what it does.
    pub(crate) async fn set(options: &DemoOptions, binary: &Path) -> Result<Self> {
        let began = Instant::now();
        let tell = |what: &str| println!("{:>5.1} s  {what}", began.elapsed().as_secs_f64());
        tell(&postgres_binaries(PostgresVersion::from_environment())?.how);
        tell(&redis_server()?.how);
        let postgres = Postgres::start(PostgresVersion::from_environment(), &[]).await?;
        let redis = Redis::start().await?;
        tell(&format!(
            "a throw-away PostgreSQL on port {} and Redis on port {}",
            postgres.port(),
            redis.port()
        ));
        let application = Application::OpenWebUi012;
        let database = postgres.fresh_database(application).await?;
        let population = Population {
            users: options.users,
            groups: GROUPS,
            memberships: 3,
            api_keys: options.users,
        };
        let client = database.connect().await?;
        application.populate(&client, population).await?;
        tell(&format!(
            "the schema of Open WebUI 0.12 with {} users, {GROUPS} groups, {} API keys",
            options.users, options.users
        ));
        let lease = options.lease_ms.to_string();
        run_binary(
            binary,
            &["install", "--lease-ms", &lease],
            &[("DATABASE_URL", database.url())],
        )
        .await?;
        tell(&format!("neverstale install --lease-ms {}", options.lease_ms));
        let ledger = Ledger::default();
        for row in client.query(r#"SELECT id, role FROM "user""#, &[]).await? {
            let id: String = row.get(0);
            if id != user_id(BY_HAND) {
                ledger.enter(&role_register(&id), row.get(1));
            }
        }
        let sidecar = SidecarOptions::new(database.url()).with_redis(redis.url());
        let mut sidecars = Vec::new();
        for number in 1..=SIDECARS {
            let sidecar = Sidecar::start_binary(binary, &sidecar)
                .await
                .with_context(|| format!("start sidecar {number}"))?;
            tell(&format!(
                "sidecar {number} is ready: http://127.0.0.1:{}",
                sidecar.api_port()
            ));
            sidecars.push(sidecar);
        }
        Ok(Self {
            sidecars,
            database,
            postgres,
            redis,
            ledger,
            users: options.users,
        })
    }

    /// A client of each sidecar's `api` listener.
    pub(crate) fn clients(&self) -> Vec<Client> {
        self.sidecars.iter().map(Sidecar::api).collect()
    }

    /// A client of each sidecar's Unix socket, which may see secrets.
    pub(crate) fn trusted_clients(&self) -> Vec<Client> {
        self.sidecars.iter().map(Sidecar::api_by_socket).collect()
    }
}

/// The ledger's name of a user's role.
pub(crate) fn role_register(user: &str) -> String {
    format!("role of {user}")
}
