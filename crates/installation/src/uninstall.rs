//! Removes everything, in an order that lets no reader see an old value on the way: leases, triggers, grants, objects.
//!
//! What is removed is what the catalogs show to be ours, not what a flavour says, so it works whatever was installed.

use std::time::Duration;

use tokio_postgres::Client;

use neverstale_flavour::{Detect, Flavour};

use crate::{
    InstallationError, SCHEMA,
    error::Operation,
    inspect::{self, State},
    lease, names,
    plan::{self, Step},
    relations::RELATIONS,
    run,
    triggers::PUBLISH,
};

/// Removes all that was installed; where nothing is, nothing is done. An object that somebody else put into schema `neverstale`
/// makes it fail rather than go with it.
///
/// # Errors
/// [`InstallationError::Locked`] if a table could not be locked, and what the database answered otherwise.
///
/// # Cancel safety
/// Dropping it leaves an installation without some of its triggers, on which nothing is cached; uninstall again.
pub async fn uninstall(client: &Client, lock_timeout: Duration) -> Result<(), InstallationError> {
    let state = inspect::read(client, &nothing_watched(), "").await?;
    if state.catalog.schema.is_none() {
        return Ok(());
    }
    if state.installation().is_some() && state.relation("wait").is_some() {
        lease::end_leases(client, "").await?;
    }
    drop_triggers(client, &state, lock_timeout).await?;
    let revokes = match state.relation("reader_grant") {
        Some(_) => recorded_revokes(client).await?,
        None => Vec::new(),
    };
    let step = Step::new("remove schema neverstale", revokes.into_iter().chain(drops(&state)));
    run::perform(client, &step, lock_timeout).await
}

/// Drops the triggers of all watched tables, table by table: also those of ours that are watched, so that another release, which may know
/// nothing of them, can go on from here.
pub(crate) async fn drop_triggers(
    client: &Client,
    state: &State,
    lock_timeout: Duration,
) -> Result<(), InstallationError> {
    let ours = || {
        state
            .catalog
            .triggers
            .iter()
            .filter(|trigger| !trigger.cloned && (trigger.schema != SCHEMA || trigger.name != PUBLISH))
    };
    let mut tables: Vec<(&str, &str)> = ours()
        .map(|trigger| (trigger.schema.as_str(), trigger.table.as_str()))
        .collect();
    tables.sort_unstable();
    tables.dedup();
    for (schema, table) in tables {
        let drops = ours()
            .filter(|trigger| trigger.schema == schema && trigger.table == table)
            .map(plan::drop_trigger);
        run::perform(
            client,
            &Step::new(format!("unwatch table {table}"), drops),
            lock_timeout,
        )
        .await?;
    }
    Ok(())
}

/// The statements that take back what a reader was granted; those on tables that are gone are not among them.
async fn recorded_revokes(client: &Client) -> Result<Vec<String>, InstallationError> {
    let rows = client
        .query("SELECT revoke FROM neverstale.reader_grant ORDER BY revoke", &[])
        .await;
    let rows = rows.map_err(|source| Operation::Inspect.failed(source))?;
    // A table, column or role may be gone by now, and its grant with it.
    Ok(rows
        .iter()
        .map(|row| {
            format!(
                "DO $neverstale$ BEGIN EXECUTE {}; EXCEPTION WHEN undefined_table OR undefined_column OR undefined_object OR invalid_schema_name THEN NULL; END $neverstale$",
                names::literal(row.get(0))
            )
        })
        .collect())
}

/// Without CASCADE: what others made is not ours to drop. `seal` first, whose trigger holds `publish`.
fn drops(state: &State) -> Vec<String> {
    let relations = RELATIONS
        .iter()
        .filter(|relation| state.relation(relation.name).is_some())
        .map(|relation| {
            let what = if relation.kind == "S" { "SEQUENCE" } else { "TABLE" };
            format!("DROP {what} neverstale.{}", relation.name)
        });
    let functions = state.catalog.functions.iter();
    let functions = functions.map(|function| {
        format!(
            "DROP FUNCTION neverstale.{}({})",
            names::identifier(&function.name),
            function.arguments
        )
    });
    relations
        .chain(functions)
        .chain(["DROP SCHEMA neverstale".to_owned()])
        .collect()
}

fn nothing_watched() -> Flavour {
    Flavour {
        name: String::new(),
        description: String::new(),
        detect: Detect::default(),
        tables: Vec::new(),
        views: Vec::new(),
        writes: Vec::new(),
        settings: Vec::new(),
        options: Vec::new(),
        session: None,
        access: None,
    }
}
