//! What a sidecar needs when it connects as a role of its own: to read, and nothing else.
//!
//! Each grant that was really made is written down with the statement that takes it back, so that `uninstall` leaves the
//! role with what it had.

use std::collections::BTreeSet;

use neverstale_flavour::Flavour;
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use crate::{
    InstallationError,
    blueprint::Blueprint,
    error::Operation,
    names,
    verdict::{Finding, Problem, found},
};

/// A right to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Expression that is true where the role has it.
    held: String,
    give: String,
    /// `None` for objects of our own, whose rights go with them.
    revoke: Option<String>,
}

impl Grant {
    /// Statements that give it and note how to take it back.
    pub(crate) fn statements(&self) -> Vec<String> {
        let note = self.revoke.as_ref().map(|revoke| {
            format!(
                "INSERT INTO neverstale.reader_grant (revoke) VALUES ({}) ON CONFLICT DO NOTHING",
                names::literal(revoke)
            )
        });
        std::iter::once(self.give.clone()).chain(note).collect()
    }
}

/// All rights that a reader needs under a blueprint.
fn wanted(blueprint: &Blueprint<'_>, reader: &str) -> Vec<Grant> {
    let role = names::identifier(reader);
    let who = names::literal(reader);
    let ours = |held: String, what: String| Grant {
        held,
        give: format!("GRANT {what} TO {role}"),
        revoke: None,
    };
    let mut grants = vec![ours(
        format!("has_schema_privilege({who}, (SELECT oid FROM pg_namespace WHERE nspname = 'neverstale'), 'USAGE')"),
        "USAGE ON SCHEMA neverstale".into(),
    )];
    for relation in [
        "tag",
        "log",
        "pruned",
        "boot",
        "installation",
        "position",
        "intent",
        "wait",
    ] {
        let name = names::literal(&format!("neverstale.{relation}"));
        grants.push(ours(
            format!("has_table_privilege({who}, to_regclass({name})::oid, 'SELECT')"),
            format!("SELECT ON neverstale.{relation}"),
        ));
    }
    for function in blueprint.functions.iter().filter(|function| function.name != "publish") {
        let types = match function.name.as_str() {
            "tag" => "text, text[]",
            "tag_hashed" => "text, text",
            "prune" => "bigint",
            _ => "",
        };
        let name = names::literal(&format!("neverstale.{}({types})", function.name));
        grants.push(ours(
            format!("has_function_privilege({who}, to_regprocedure({name})::oid, 'EXECUTE')"),
            format!("EXECUTE ON FUNCTION {}", function.signature()),
        ));
    }
    let schema = names::identifier(blueprint.app_schema);
    grants.push(Grant {
        held: format!(
            "has_schema_privilege({who}, {}, 'USAGE')",
            names::literal(blueprint.app_schema)
        ),
        give: format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
        revoke: Some(format!("REVOKE USAGE ON SCHEMA {schema} FROM {role}")),
    });
    for column in columns(blueprint.flavour, blueprint.app_schema) {
        let table = names::qualified(column.schema, column.table);
        let quoted = names::identifier(&column.name);
        grants.push(Grant {
            // A table of ours may not be there yet.
            held: format!(
                "has_column_privilege({who}, to_regclass({})::oid, {}, 'SELECT')",
                names::literal(&table),
                names::literal(&column.name)
            ),
            give: format!("GRANT SELECT ({quoted}) ON {table} TO {role}"),
            revoke: (!column.ours).then(|| format!("REVOKE SELECT ({quoted}) ON {table} FROM {role}")),
        });
    }
    grants
}

/// A column that a sidecar reads.
struct Column<'a> {
    schema: &'a str,
    table: &'a str,
    name: String,
    /// Whether it is of a table of ours.
    ours: bool,
}

/// The watched columns, and those that views read besides whose answers are not kept.
fn columns<'a>(flavour: &'a Flavour, app_schema: &'a str) -> Vec<Column<'a>> {
    let watched = flavour.tables.iter().flat_map(|table| {
        let column = |name| Column {
            schema: table.schema(app_schema),
            table: &table.name,
            name,
            ours: table.ours,
        };
        names::watched_columns(table).into_iter().map(column)
    });
    let unwatched: BTreeSet<_> = flavour.views.iter().flat_map(|view| &view.unwatched).collect();
    let unwatched = unwatched.into_iter().map(|(table, name)| Column {
        schema: app_schema,
        table,
        name: name.clone(),
        ours: false,
    });
    watched.chain(unwatched).collect()
}

/// What views read and the current role may not, table by table. Says nothing of what does not exist.
///
/// Not part of [`verify`](crate::verify): what is cached stays right where a view can't be read.
///
/// # Errors
/// What the database answered.
///
/// # Cancel safety
/// Dropping it is safe.
pub async fn unreadable(
    client: &Client,
    flavour: &Flavour,
    app_schema: &str,
) -> Result<Vec<Finding>, InstallationError> {
    let columns = columns(flavour, app_schema);
    let sql = format!(
        "SELECT format('%s.%s (%s)', n.nspname, c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum)) \
         FROM unnest({}, {}, {}) AS wanted (namespace, relation, attribute) \
         JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.namespace \
         JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.relation \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = wanted.attribute \
         WHERE NOT (has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')) \
         GROUP BY n.nspname, c.relname ORDER BY 1",
        names::literals(columns.iter().map(|column| column.schema)),
        names::literals(columns.iter().map(|column| column.table)),
        names::literals(columns.iter().map(|column| column.name.as_str())),
    );
    let failed = |source| Operation::Inspect.failed(source);
    let answer = client.simple_query(&sql).await.map_err(failed)?;
    let finding = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some(found(Problem::Unreadable, row.get(0)?)),
        _ => None,
    };
    Ok(answer.iter().filter_map(finding).collect())
}

/// The rights that the reader still lacks. Wants all tables and columns of the application that are read to exist.
pub(crate) async fn missing(
    client: &Client,
    blueprint: &Blueprint<'_>,
    reader: &str,
) -> Result<Vec<Grant>, InstallationError> {
    let wanted = wanted(blueprint, reader);
    let held: Vec<&str> = wanted.iter().map(|grant| grant.held.as_str()).collect();
    let sql = format!(
        "SELECT ordinal FROM unnest(ARRAY[{}]) WITH ORDINALITY AS wanted (held, ordinal) WHERE held IS NOT TRUE",
        held.join(", ")
    );
    let answer = client.simple_query(&sql).await.map_err(|source| {
        if source.code() == Some(&SqlState::UNDEFINED_OBJECT) {
            InstallationError::UnknownRole {
                role: reader.to_owned(),
            }
        } else {
            Operation::Inspect.failed(source)
        }
    })?;
    let ordinals = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse::<usize>().ok(),
        _ => None,
    });
    Ok(ordinals
        .filter_map(|ordinal| wanted.get(ordinal - 1).cloned())
        .collect())
}
