//! `install`, `uninstall`, `verify`, `suspend`, `resume`, `lease`: each connects, asks the installation crate, and tells.

use std::time::Duration;

use neverstale_flavour::Flavour;
use neverstale_installation::{self as installation, InstallOptions, Plan};
use neverstale_postgres::Connection;
use serde_json::json;

use crate::{
    cli::{Install, Lease, Locking, Report},
    database,
    exit::{Exit, Failure},
    flavour, output,
    settings::Settings,
};

pub(crate) async fn install(settings: &Settings, asked: &Install) -> Result<Exit, Failure> {
    let (connection, flavour) = connect(settings).await?;
    let options = InstallOptions {
        lease_ms: asked.lease_ms,
        reader: asked.reader.clone(),
        ..options(&asked.locking)
    };
    let (client, app_schema) = (connection.client(), &settings.database.app_schema);
    if asked.print_sql {
        let plan = installation::plan(client, &flavour, app_schema, &options).await?;
        output::result(&plan.to_sql());
        return Ok(Exit::Ok);
    }
    let plan = installation::install(client, &flavour, app_schema, &options).await?;
    tell(
        &format!("installed for {} in schema \"{app_schema}\"", flavour.name),
        &plan,
    );
    Ok(Exit::Ok)
}

pub(crate) async fn uninstall(settings: &Settings, asked: &Locking) -> Result<Exit, Failure> {
    let connection = database::connect(&settings.database).await?;
    installation::uninstall(connection.client(), Duration::from_millis(asked.lock_timeout_ms)).await?;
    output::result("nothing of neverstale is left in the database");
    Ok(Exit::Ok)
}

pub(crate) async fn verify(settings: &Settings, asked: &Report) -> Result<Exit, Failure> {
    let (connection, flavour) = connect(settings).await?;
    let (client, app_schema) = (connection.client(), &settings.database.app_schema);
    let mut verdict = installation::verify(client, &flavour, app_schema).await?;
    let unreadable = installation::unreadable(client, &flavour, app_schema).await?;
    verdict.findings.extend(unreadable);
    if asked.json {
        let finding = |finding: &installation::Finding| {
            let (what, next_step) = (finding.problem.statement(), finding.problem.next_step());
            json!({"object": finding.object, "what": what, "next_step": next_step})
        };
        let findings: Vec<_> = verdict.findings.iter().map(finding).collect();
        output::json(&json!({"flavour": flavour.name, "whole": verdict.is_green(), "findings": findings}));
    } else {
        output::result(&verdict.to_string());
    }
    Ok(if verdict.is_green() { Exit::Ok } else { Exit::Findings })
}

pub(crate) async fn suspend(settings: &Settings, asked: &Locking) -> Result<Exit, Failure> {
    let (connection, flavour) = connect(settings).await?;
    installation::suspend(
        connection.client(),
        &flavour,
        &settings.database.app_schema,
        &options(asked),
    )
    .await?;
    output::result("suspended: reads are passed through uncached; run neverstale resume when the migration is done");
    Ok(Exit::Ok)
}

pub(crate) async fn resume(settings: &Settings, asked: &Locking) -> Result<Exit, Failure> {
    let (connection, flavour) = connect(settings).await?;
    let app_schema = &settings.database.app_schema;
    let plan = installation::resume(connection.client(), &flavour, app_schema, &options(asked)).await?;
    tell("resumed", &plan);
    Ok(Exit::Ok)
}

pub(crate) async fn lease(settings: &Settings, asked: &Lease) -> Result<Exit, Failure> {
    let connection = database::connect(&settings.database).await?;
    if let Some(ms) = asked.ms {
        installation::set_lease(connection.client(), ms).await?;
        output::result(&format!("the lease is {ms} ms"));
        return Ok(Exit::Ok);
    }
    let flavour = flavour::choose(&connection, &settings.database).await?;
    let probe = installation::probe(connection.client(), &flavour, &settings.database.app_schema).await?;
    let (Some(lease_ms), Some(wait_ms)) = (probe.lease_ms, probe.wait_ms) else {
        return Err(installation::InstallationError::NotInstalled.into());
    };
    output::result(&format!("the lease is {lease_ms} ms, the commit wait {wait_ms} ms"));
    Ok(Exit::Ok)
}

async fn connect(settings: &Settings) -> Result<(Connection, Flavour), Failure> {
    let connection = database::connect(&settings.database).await?;
    let flavour = flavour::choose(&connection, &settings.database).await?;
    Ok((connection, flavour))
}

fn options(locking: &Locking) -> InstallOptions {
    InstallOptions {
        lock_timeout: Duration::from_millis(locking.lock_timeout_ms),
        ..InstallOptions::default()
    }
}

fn tell(done: &str, plan: &Plan) {
    if plan.is_empty() {
        output::result(&format!("{done}; nothing was to be done"));
        return;
    }
    let mut lines = vec![done.to_owned()];
    lines.extend(plan.steps.iter().map(|step| format!("  {}", step.title)));
    lines.extend(plan.lease_ms.map(|ms| format!("  set the lease to {ms} ms")));
    output::result(&lines.join("\n"));
}
