//! Connects a command to the application's database.

use std::time::Duration;

use anyhow::anyhow;
use neverstale_postgres::{Connection, DatabaseSettings, Target};

use crate::exit::Failure;

/// Commands wait for locks and leases on purpose; whoever called them can end them.
const STATEMENT_LIMIT: Duration = Duration::from_hours(1);

/// Gives the database of the settings.
pub(crate) fn target(settings: &DatabaseSettings) -> Result<Target, Failure> {
    let url = settings
        .url
        .as_ref()
        .ok_or_else(|| Failure::usage(anyhow!(NO_DATABASE)))?;
    let mut target = Target::parse(url.expose()).map_err(Failure::usage)?;
    target.application_name(&settings.application_name);
    Ok(target)
}

pub(crate) const NO_DATABASE: &str = "nothing says where the database is; set DATABASE_URL or --database-url postgresql://user:password@host:5432/database";

/// Opens a connection whose statements may take long.
pub(crate) async fn connect(settings: &DatabaseSettings) -> Result<Connection, Failure> {
    connect_within(settings, STATEMENT_LIMIT).await
}

/// Opens a connection with a limit on each statement.
pub(crate) async fn connect_within(settings: &DatabaseSettings, limit: Duration) -> Result<Connection, Failure> {
    let target = target(settings)?;
    let opened = Connection::open(
        &target,
        settings.tls_ca_file.as_deref(),
        settings.connect_limit(),
        limit,
    )
    .await;
    Ok(opened.map(|(connection, _)| connection)?)
}
