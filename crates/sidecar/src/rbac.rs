//! `rbac install`, `rbac uninstall`, `rbac verify`: the grants of functions and pipelines, as a whole.
//!
//! The table itself and its triggers are made by `install`, empty: without a row a function is its owner's alone.

use anyhow::{Context, anyhow};
use neverstale_installation as installation;
use neverstale_rbac::overlay;
use serde_json::json;
use tokio_postgres::Client;

use crate::{
    cli::{PrintSql, RbacCommand, Report},
    database,
    exit::{Exit, Failure},
    flavour, output,
    settings::Settings,
};

pub(crate) async fn run(settings: &Settings, asked: &RbacCommand) -> Result<Exit, Failure> {
    let connection = database::connect(&settings.database).await?;
    let flavour = flavour::choose(&connection, &settings.database).await?;
    let app_schema = &settings.database.app_schema;
    let access = flavour
        .access
        .as_ref()
        .ok_or_else(|| anyhow!("flavour {} has no rules of access", flavour.name))?;
    let client = connection.client();
    match asked {
        RbacCommand::Install(asked) => {
            perform(
                client,
                &access.backfill_sql(app_schema),
                asked,
                "functions got the grants that were implied",
            )
            .await
        }
        RbacCommand::Uninstall(asked) => perform(client, overlay::EMPTY, asked, "grants were taken away").await,
        RbacCommand::Verify(asked) => {
            let verdict = installation::verify(client, &flavour, app_schema).await?;
            let mut findings: Vec<String> = verdict
                .findings
                .iter()
                .map(|found| format!("{}: {}", found.object, found.problem.statement()))
                .collect();
            findings.extend(strays(client, app_schema).await?);
            Ok(tell(&findings, asked))
        }
    }
}

async fn perform(client: &Client, sql: &str, asked: &PrintSql, done: &str) -> Result<Exit, Failure> {
    if asked.print_sql {
        output::result(&format!("BEGIN;\n{sql};\nCOMMIT;"));
        return Ok(Exit::Ok);
    }
    must_exist(client).await?;
    let rows = client
        .execute(sql, &[])
        .await
        .context("change the grants of functions")?;
    output::result(&format!("{rows} {done}"));
    Ok(Exit::Ok)
}

/// The table is made with everything else that `install` makes.
pub(crate) async fn must_exist(client: &Client) -> Result<(), Failure> {
    let sql = "SELECT to_regclass('neverstale.access_overlay') IS NOT NULL";
    let exists: bool = client
        .query_one(sql, &[])
        .await
        .context("look for the table of grants")?
        .get(0);
    if exists {
        return Ok(());
    }
    Err(anyhow!("there is no table neverstale.access_overlay; run neverstale install first").into())
}

/// Lists grants of functions that do not exist, and documents without shape.
async fn strays(client: &Client, app_schema: &str) -> anyhow::Result<Vec<String>> {
    let sql = format!(
        "SELECT o.resource_type || ' ' || o.resource_id || CASE WHEN jsonb_typeof(o.access_control) = 'object' \
           THEN ': there is no such function' ELSE ': the document of its grants is no object, and grants nothing' END \
         FROM neverstale.access_overlay AS o \
         WHERE jsonb_typeof(o.access_control) <> 'object' OR o.resource_type = 'function' \
           AND NOT EXISTS (SELECT FROM \"{}\".\"function\" AS f WHERE f.id = o.resource_id) ORDER BY 1",
        app_schema.replace('"', "\"\"")
    );
    let rows = client.query(&sql, &[]).await.context("compare grants with functions")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn tell(findings: &[String], asked: &Report) -> Exit {
    if asked.json {
        output::json(&json!({ "whole": findings.is_empty(), "findings": findings }));
    } else if findings.is_empty() {
        output::result("the grants of functions and pipelines are whole, and watched");
    } else {
        output::result(&findings.join("\n"));
    }
    if findings.is_empty() { Exit::Ok } else { Exit::Findings }
}
