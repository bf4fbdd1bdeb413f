//! Does anything between us and Postgres change servers or sessions under an open connection?
//!
//! A pooler in transaction mode takes back settings, prepared statements and LISTEN. It shows in three ways: two of our
//! connections share one backend, a setting is lost, or a connection does not hear its own notification.

use std::time::Duration;

use anyhow::{Context, anyhow};
use neverstale_lifecycle::random_u64;
use neverstale_postgres::{Connection, DatabaseSettings};
use tokio::time::timeout;
use tokio_postgres::Client;

use super::Finding;
use crate::database;

/// How long a notification to ourselves may take.
const PATIENCE: Duration = Duration::from_secs(2);
const NEXT_STEP: &str = "connect directly, or through a pool in session mode (PgBouncer: pool_mode = session)";

pub(super) async fn examine(settings: &DatabaseSettings, client: &Client) -> Vec<Finding> {
    let sessions = sessions(settings, client).await;
    let bell = own_bell(settings).await;
    vec![
        sessions.unwrap_or_else(|error| Finding::unanswered("pooler.sessions", &error)),
        bell.unwrap_or_else(|error| Finding::unanswered("pooler.notify", &error)),
    ]
}

/// Holds a second connection's backend in a transaction: a pooler in transaction mode then shows its hand.
async fn sessions(settings: &DatabaseSettings, client: &Client) -> anyhow::Result<Finding> {
    const CHECK: &str = "pooler.sessions";
    let marker = format!("neverstale doctor {:x}", random_u64());
    client
        .batch_execute(&format!("SET application_name = '{marker}'"))
        .await
        .context("name our session")?;
    let before = backend(client).await?;
    let other = database::connect(settings).await.map_err(|failure| failure.error)?;
    other
        .client()
        .batch_execute("BEGIN")
        .await
        .context("begin a transaction on a second connection")?;
    let held = backend(other.client()).await?;
    let after = backend(client).await?;
    other.client().batch_execute("ROLLBACK").await.context("end it")?;
    let name: String = client
        .query_one("SELECT current_setting('application_name')", &[])
        .await?
        .get(0);
    client
        .batch_execute(&format!(
            "SET application_name = '{}'",
            settings.application_name.replace('\'', "''")
        ))
        .await?;
    Ok(if before != after || before == held {
        Finding::fail(
            CHECK,
            format!("two statements of one connection ran in backends {before} and {after}"),
            NEXT_STEP,
        )
    } else if name != marker {
        Finding::fail(
            CHECK,
            "a setting of our session was lost between two statements",
            NEXT_STEP,
        )
    } else {
        Finding::ok(CHECK, "a connection keeps its backend and its settings")
    })
}

async fn backend(client: &Client) -> anyhow::Result<i32> {
    Ok(client
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .context("ask for the backend's pid")?
        .get(0))
}

/// Listens on one connection and, after a statement of somebody else in between, notifies from another.
async fn own_bell(settings: &DatabaseSettings) -> anyhow::Result<Finding> {
    const CHECK: &str = "pooler.notify";
    let target = database::target(settings).map_err(|failure| failure.error)?;
    let limit = settings.statement_limit();
    let ca_file = settings.tls_ca_file.as_deref();
    let (listener, mut bells) = Connection::open(&target, ca_file, settings.connect_limit(), limit).await?;
    let channel = format!("neverstale_doctor_{:x}", random_u64());
    listener
        .client()
        .batch_execute(&format!("LISTEN {channel}"))
        .await
        .context("listen")?;
    let other = database::connect(settings).await.map_err(|failure| failure.error)?;
    other
        .client()
        .batch_execute(&format!("NOTIFY {channel}"))
        .await
        .context("notify ourselves")?;
    match timeout(PATIENCE, bells.recv()).await {
        Ok(Some(_)) => Ok(Finding::ok(CHECK, "a notification to ourselves arrives")),
        Ok(None) => Err(anyhow!("the listening connection was closed")),
        Err(_) => {
            let what = format!(
                "a notification to ourselves did not arrive within {} s",
                PATIENCE.as_secs()
            );
            Ok(Finding::fail(CHECK, what, NEXT_STEP))
        }
    }
}
