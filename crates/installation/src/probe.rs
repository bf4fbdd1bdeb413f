//! What `doctor` asks about the watched tables: rights, BEFORE triggers, row security.
//!
//! Says what is; what to do about it is said by `doctor`.

use tokio_postgres::Client;

use neverstale_flavour::Flavour;

use crate::{InstallationError, inspect};

/// What was found about the database and its watched tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `server_version_num`.
    pub server_version: i32,
    /// Whether the server is a standby.
    pub standby: bool,
    /// Whether the current role may create schema `neverstale`.
    pub may_create_schema: bool,
    /// Owner of schema `neverstale`, if it exists.
    pub schema_owner: Option<String>,
    /// Whether the current role has that owner's rights; `None` without the schema.
    pub owns_schema: Option<bool>,
    /// Commit wait in ms; `None` where nothing is installed.
    pub wait_ms: Option<i64>,
    /// Lease in ms; `None` where nothing is installed.
    pub lease_ms: Option<i64>,
    /// Lock class of the installation; `None` where nothing is installed.
    pub lock_class: Option<i32>,
    /// The watched tables that exist.
    pub tables: Vec<TableProbe>,
}

/// What was found about one watched table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableProbe {
    /// Its name.
    pub name: String,
    /// Whether the current role has its owner's rights, which installing needs.
    pub owned: bool,
    /// Whether row security is on: with `row_security = off` a reader subject to a policy gets an error instead of fewer rows.
    pub row_security: bool,
    /// BEFORE UPDATE row triggers: with one of them our UPDATE trigger cannot name its columns, and noise costs a little.
    pub before_update: Vec<String>,
}

/// Looks at the database and the watched tables; changes nothing.
///
/// # Errors
/// What the database answered.
///
/// # Cancel safety
/// Dropping it is safe.
pub async fn probe(client: &Client, flavour: &Flavour, app_schema: &str) -> Result<Probe, InstallationError> {
    let state = inspect::read(client, flavour, app_schema).await?;
    let tables = state
        .catalog
        .tables
        .iter()
        .filter(|table| table.oid.is_some())
        .map(|table| TableProbe {
            name: table.name.clone(),
            owned: table.owned.unwrap_or_default(),
            row_security: table.row_security.unwrap_or_default(),
            before_update: table.before_update.clone(),
        });
    let schema = state.catalog.schema.as_ref();
    let installation = state.installation();
    Ok(Probe {
        server_version: state.catalog.server_version,
        standby: state.catalog.standby,
        may_create_schema: state.catalog.may_create_schema,
        schema_owner: schema.map(|schema| schema.owner.clone()),
        owns_schema: schema.map(|schema| schema.owned),
        wait_ms: installation
            .and(state.contents.as_ref())
            .map(|contents| contents.wait_ms),
        lease_ms: installation.map(|row| row.lease_ms),
        lock_class: installation.map(|row| row.lock_class),
        tables: tables.collect(),
    })
}
