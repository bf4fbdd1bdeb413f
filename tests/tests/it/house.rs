//! One application's database with sidecars in front of it: built in one line, gone when dropped.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{
    Answer, Application, Client, Database, Population, Postgres, Redis, Scratch, Sidecar, SidecarOptions, run,
};
use tokio::time::{Instant, sleep};

use crate::{
    question::{Question, SESSION_SECRET},
    straight::{Straight, Truth},
};

/// What a house is to be.
pub(crate) struct Plan {
    application: Application,
    lease_ms: u32,
    sidecars: usize,
    has_redis: bool,
    population: Population,
    settings: Vec<(String, String)>,
}

/// A populated and installed database, its sidecars, and somebody who writes plain SQL.
pub(crate) struct House {
    // Dropped in this order: sidecars before what they stand on.
    pub(crate) sidecars: Vec<Sidecar>,
    pub(crate) options: SidecarOptions,
    pub(crate) writer: tokio_postgres::Client,
    pub(crate) straight: Straight,
    pub(crate) redis: Option<Redis>,
    pub(crate) database: Database,
    _keys: Scratch,
}

impl Plan {
    /// Three sidecars without Redis, and a lease of 50 ms.
    pub(crate) fn of(application: Application) -> Self {
        Self {
            application,
            lease_ms: 50,
            sidecars: 3,
            has_redis: false,
            population: Population::default(),
            settings: Vec::new(),
        }
    }

    pub(crate) fn lease_ms(self, lease_ms: u32) -> Self {
        Self { lease_ms, ..self }
    }

    pub(crate) fn sidecars(self, sidecars: usize) -> Self {
        Self { sidecars, ..self }
    }

    /// With a Redis of its own, in which values and broadcasts are sealed.
    pub(crate) fn with_redis(self) -> Self {
        Self {
            has_redis: true,
            ..self
        }
    }

    pub(crate) fn population(self, population: Population) -> Self {
        Self { population, ..self }
    }

    /// Sets a variable of the sidecars' environment.
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Builds it on the server that the tests of this process share.
    pub(crate) async fn open(self) -> Result<House> {
        self.open_on(Postgres::shared().await?).await
    }

    /// Builds it on a server that the test may stop.
    pub(crate) async fn open_on(self, postgres: &Postgres) -> Result<House> {
        let database = postgres.fresh_database(self.application).await?;
        let writer = database.connect().await?;
        writer.batch_execute("SET search_path = public, neverstale").await?;
        self.application.populate(&writer, self.population).await?;
        let lease_ms = self.lease_ms.to_string();
        run(
            &["install", "--lease-ms", &lease_ms],
            &[("DATABASE_URL", database.url())],
        )
        .await?;
        let keys = Scratch::new()?;
        let key_file = keys.path().join("keys");
        std::fs::write(&key_file, "5a".repeat(32)).context("write a key file")?;
        let mut options = SidecarOptions::new(database.url())
            .with("NEVERSTALE_API__SESSION_SECRET", SESSION_SECRET)
            .with("NEVERSTALE_FEED__RELAY_RETRY_MS", 200);
        let redis = if self.has_redis {
            Some(Redis::start().await?)
        } else {
            None
        };
        options = match &redis {
            // A machine that is busy with other tests answers late, which is no fault here.
            Some(redis) => options
                .with_redis(redis.url())
                .with("NEVERSTALE_REDIS__KEY_FILE", key_file.display())
                .with("NEVERSTALE_REDIS__BUDGET_MS", 100)
                .with("NEVERSTALE_REDIS__SESSION_BUDGET_MS", 2_000),
            None => options.with("NEVERSTALE_API__SESSION_REVOCATION_CHECKED", false),
        };
        for (name, value) in &self.settings {
            options = options.with(name, value);
        }
        let mut sidecars = Vec::new();
        for _ in 0..self.sidecars {
            sidecars.push(Sidecar::start(&options).await?);
        }
        Ok(House {
            straight: Straight::connect(self.application, &database).await?,
            sidecars,
            options,
            writer,
            redis,
            database,
            _keys: keys,
        })
    }
}

impl House {
    /// Writes, as plain SQL, in one transaction.
    pub(crate) async fn write(&self, sql: &str) -> Result<()> {
        let transaction = format!("BEGIN; {sql}; COMMIT");
        self.writer
            .batch_execute(&transaction)
            .await
            .with_context(|| format!("run {sql}"))
    }

    /// What is true of a question now.
    pub(crate) async fn truth(&self, question: &Question) -> Result<Truth> {
        Ok(self.straight.ask(&question.read(&self.straight.router)?).await?.truth)
    }

    /// Reads the role of a user from one sidecar; an error for anything but 200.
    pub(crate) async fn role(&self, sidecar: usize, user: &str) -> Result<String> {
        role(&self.sidecars[sidecar].get(&format!("/v1/users/{user}/role")).await?)
    }

    /// Sets the role of a user.
    pub(crate) async fn set_role(&self, user: &str, role: &str) -> Result<()> {
        self.write(&format!("UPDATE \"user\" SET role = '{role}' WHERE id = '{user}'"))
            .await
    }
}

/// The role that an answer shows.
pub(crate) fn role(answer: &Answer) -> Result<String> {
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    let body = answer.json()?;
    Ok(body["role"].as_str().context("a role")?.to_owned())
}

/// Waits until a condition holds, and gives how long that took.
pub(crate) async fn until(
    what: &str,
    patience: Duration,
    mut condition: impl AsyncFnMut() -> Result<bool>,
) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let held = condition().await;
        if let Ok(true) = held {
            return Ok(began.elapsed());
        }
        ensure!(
            began.elapsed() < patience,
            "waited {patience:?} in vain until {what} ({held:?})"
        );
        sleep(Duration::from_millis(5)).await;
    }
}

/// A client that may see secrets, and waits longer than any deadline of ours.
pub(crate) fn trusted(sidecar: &Sidecar) -> Client {
    sidecar.api_by_socket().with_timeout(Duration::from_secs(40))
}
