//! What is there: one statement that reads the catalogs and our `installation` row, and its answer as a type.
//!
//! The catalog half works on any database; the contents half only where our tables exist. Together they are one statement
//! without parameters that gives one JSON text, so that a sidecar can run it in one snapshot with the incarnation.

use serde::Deserialize;
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use neverstale_flavour::Flavour;

use crate::{InstallationError, error::Operation, names};

/// Everything that plans and verdicts are made from.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct State {
    pub(crate) catalog: Catalog,
    /// `None` where our tables do not exist.
    pub(crate) contents: Option<Contents>,
}

/// The catalog half.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Catalog {
    pub(crate) server_version: i32,
    pub(crate) standby: bool,
    pub(crate) schema: Option<SchemaState>,
    pub(crate) may_create_schema: bool,
    pub(crate) relations: Vec<RelationState>,
    pub(crate) functions: Vec<FunctionState>,
    /// One for each watched table, in the flavour's order.
    pub(crate) tables: Vec<TableState>,
    /// All triggers that call functions of ours, on whatever relation.
    pub(crate) triggers: Vec<TriggerState>,
}

/// Schema `neverstale`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SchemaState {
    pub(crate) owner: String,
    pub(crate) owned: bool,
}

/// A relation in our schema.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RelationState {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) persistence: String,
    pub(crate) columns: String,
    /// `CACHE` of a sequence.
    pub(crate) cache: Option<i64>,
}

/// A function in our schema.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FunctionState {
    pub(crate) name: String,
    pub(crate) arguments: String,
    pub(crate) source_hash: String,
    pub(crate) definer: bool,
    pub(crate) config: Vec<String>,
}

/// A watched table.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TableState {
    pub(crate) name: String,
    /// `None` where it does not exist.
    pub(crate) oid: Option<i64>,
    /// `pg_class.relkind`.
    pub(crate) kind: Option<String>,
    /// Whether the current role has its owner's rights.
    pub(crate) owned: Option<bool>,
    pub(crate) row_security: Option<bool>,
    /// Whether other tables inherit from it, other than as partitions.
    pub(crate) inheritance_parent: bool,
    pub(crate) columns: Vec<ColumnState>,
    /// BEFORE UPDATE row triggers of the table and of its partitions.
    pub(crate) before_update: Vec<String>,
    pub(crate) partitions: Vec<PartitionState>,
}

/// A column of a watched table.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ColumnState {
    pub(crate) name: String,
    /// As `format_type` prints it without modifiers.
    pub(crate) kind: String,
    /// Whether equal texts are the same bytes.
    pub(crate) deterministic: bool,
    pub(crate) default_collation: bool,
}

impl ColumnState {
    fn text(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: "text".into(),
            deterministic: true,
            default_collation: true,
        }
    }
}

/// A partition, at any depth, of a watched table.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PartitionState {
    pub(crate) oid: i64,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) kind: String,
}

/// A trigger that calls a function of ours.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TriggerState {
    pub(crate) table_oid: i64,
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) function: String,
    pub(crate) kind: i16,
    pub(crate) enabled: String,
    pub(crate) has_when: bool,
    pub(crate) deferrable: bool,
    /// Columns of UPDATE OF; empty without.
    pub(crate) columns: Vec<String>,
    pub(crate) comment: Option<String>,
    /// Whether it is the copy, on a partition, of its parent's trigger.
    pub(crate) cloned: bool,
}

/// The contents half.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Contents {
    pub(crate) installation: Option<InstallationRow>,
    pub(crate) newest: Option<i64>,
    pub(crate) position: i64,
    pub(crate) position_called: bool,
    pub(crate) intent_called: bool,
    pub(crate) wait_ms: i64,
}

/// The row of `installation`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct InstallationRow {
    pub(crate) protocol: i32,
    pub(crate) flavour: String,
    pub(crate) app_schema: String,
    pub(crate) specification: String,
    pub(crate) lease_ms: i64,
    pub(crate) suspended: bool,
    pub(crate) lock_class: i32,
}

impl State {
    /// Reads the answer of [`state_sql`].
    pub(crate) fn parse(text: &str) -> Result<Self, InstallationError> {
        serde_json::from_str(text).map_err(|source| InstallationError::Unreadable { source })
    }

    /// The `installation` row, if there is one.
    pub(crate) fn installation(&self) -> Option<&InstallationRow> {
        self.contents.as_ref()?.installation.as_ref()
    }

    /// A relation of ours by name.
    pub(crate) fn relation(&self, name: &str) -> Option<&RelationState> {
        self.catalog.relations.iter().find(|relation| relation.name == name)
    }

    /// Takes our own watched tables that are not there yet as if they were: the plan makes them before it watches them.
    pub(crate) fn with_ours(mut self, flavour: &Flavour) -> Self {
        for table in flavour.tables.iter().filter(|table| table.ours) {
            let Some(known) = self.catalog.tables.iter_mut().find(|known| known.name == table.name) else {
                continue;
            };
            if known.oid.is_none() {
                known.oid = Some(0);
                known.kind = Some("r".into());
                known.owned = Some(true);
                known.columns = table.columns.iter().map(|column| ColumnState::text(column)).collect();
            }
        }
        self
    }

    /// A watched table by name.
    pub(crate) fn table(&self, name: &str) -> Option<&TableState> {
        self.catalog.tables.iter().find(|table| table.name == name)
    }
}

/// Reads the state in a transaction of its own.
///
/// # Cancel safety
/// Dropping it is safe: the transaction is one message.
pub(crate) async fn read(client: &Client, flavour: &Flavour, app_schema: &str) -> Result<State, InstallationError> {
    // Where objects are missing, less is asked for: what can be read still decides how to mend the rest.
    for contents in [CONTENTS, INSTALLATION_ONLY] {
        match read_text(client, &statement(flavour, app_schema, contents)).await {
            Ok(text) => return State::parse(&text),
            Err(error) if is_absent(&error) => {}
            Err(source) => return Err(Operation::Inspect.failed(source)),
        }
    }
    let text = read_text(client, &statement(flavour, app_schema, "NULL")).await;
    State::parse(&text.map_err(|source| Operation::Inspect.failed(source))?)
}

/// Whether a statement failed because an object of ours does not exist, or has other columns.
fn is_absent(error: &tokio_postgres::Error) -> bool {
    [
        SqlState::UNDEFINED_TABLE,
        SqlState::INVALID_SCHEMA_NAME,
        SqlState::UNDEFINED_COLUMN,
    ]
    .iter()
    .any(|state| error.code() == Some(state))
}

async fn read_text(client: &Client, sql: &str) -> Result<String, tokio_postgres::Error> {
    let script = format!("BEGIN READ ONLY; SET LOCAL search_path = pg_catalog; {sql}; COMMIT");
    let answer = client.simple_query(&script).await;
    if answer.is_err() {
        client.batch_execute("ROLLBACK").await?;
    }
    let text = answer?.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(text.unwrap_or_default())
}

/// One statement giving the whole state as one JSON text. Wants `search_path = pg_catalog`.
pub(crate) fn state_sql(flavour: &Flavour, app_schema: &str) -> String {
    statement(flavour, app_schema, CONTENTS)
}

fn statement(flavour: &Flavour, app_schema: &str, contents: &str) -> String {
    let tables = names::literals(flavour.tables.iter().map(|table| table.name.as_str()));
    let schemas = names::literals(flavour.tables.iter().map(|table| table.schema(app_schema)));
    let catalog = names::fill(CATALOG, &[("tables", &tables), ("schemas", &schemas)]);
    format!("SELECT jsonb_build_object('catalog', {catalog}, 'contents', {contents})::text AS state")
}

const CONTENTS: &str = "(SELECT jsonb_build_object(
    'installation', (SELECT to_jsonb(installation) FROM neverstale.installation),
    'newest', (SELECT max(position) FROM neverstale.log),
    'position', position.last_value, 'position_called', position.is_called,
    'intent_called', intent.is_called, 'wait_ms', wait.last_value)
  FROM neverstale.position AS position, neverstale.intent AS intent, neverstale.wait AS wait)";

const INSTALLATION_ONLY: &str = "(SELECT jsonb_build_object(
    'installation', to_jsonb(installation), 'newest', NULL, 'position', 0, 'position_called', true,
    'intent_called', true, 'wait_ms', 0)
  FROM neverstale.installation)";

/// Names are looked up when it runs (`to_regnamespace`, joins by name): a prepared statement would fold constants [8].
const CATALOG: &str = "(SELECT jsonb_build_object(
    'server_version', current_setting('server_version_num')::integer,
    'standby', pg_is_in_recovery(),
    'may_create_schema', has_database_privilege(current_database(), 'CREATE'),
    'schema', (SELECT jsonb_build_object('owner', pg_get_userbyid(nspowner), 'owned', pg_has_role(nspowner, 'USAGE'))
      FROM pg_namespace WHERE nspname = 'neverstale'),
    'relations', (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'name', relname, 'kind', relkind, 'persistence', relpersistence, 'cache', seqcache,
        'columns', CASE WHEN relkind = 'r' THEN (
          SELECT coalesce(string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum), '')
          FROM pg_attribute WHERE attrelid = relation.oid AND attnum > 0 AND NOT attisdropped) ELSE '' END)), '[]')
      FROM pg_class AS relation LEFT JOIN pg_sequence ON seqrelid = relation.oid
      WHERE relnamespace = ours.oid AND relkind IN ('r', 'S', 'v', 'm', 'p', 'f')),
    'functions', (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'name', proname, 'arguments', pg_get_function_identity_arguments(oid), 'definer', prosecdef,
        'source_hash', encode(sha256(convert_to(prosrc, 'UTF8')), 'hex'), 'config', coalesce(proconfig, '{}'))), '[]')
      FROM pg_proc WHERE pronamespace = ours.oid),
    'tables', (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'name', watched.name, 'oid', relation.oid::bigint, 'kind', relkind, 'owned', pg_has_role(relowner, 'USAGE'),
        'row_security', relrowsecurity,
        'inheritance_parent', relkind = 'r' AND relhassubclass AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = relation.oid) IS TRUE,
        'columns', (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'name', attname, 'kind', format_type(atttypid, NULL), 'deterministic', coalesce(collisdeterministic, true),
            'default_collation', coalesce(collname = 'default', true))), '[]')
          FROM pg_attribute LEFT JOIN pg_collation ON pg_collation.oid = attcollation
          WHERE attrelid = relation.oid AND attnum > 0 AND NOT attisdropped),
        'before_update', (SELECT coalesce(jsonb_agg(DISTINCT tgname), '[]') FROM pg_trigger
          WHERE tgtype & 19 = 19 AND NOT tgisinternal
            AND (tgrelid = relation.oid OR relkind = 'p' AND tgrelid IN (SELECT relid FROM pg_partition_tree(relation.oid)))),
        'partitions', (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'oid', part.oid::bigint, 'schema', part.relnamespace::regnamespace::name, 'name', part.relname, 'kind', part.relkind)), '[]')
          FROM pg_partition_tree(CASE WHEN relkind = 'p' THEN relation.oid END) AS tree JOIN pg_class AS part ON part.oid = tree.relid
          WHERE tree.level > 0)) ORDER BY watched.ordinal), '[]')
      FROM unnest({tables}, {schemas}) WITH ORDINALITY AS watched (name, schema, ordinal)
      LEFT JOIN (pg_class AS relation JOIN pg_namespace ON pg_namespace.oid = relnamespace)
        ON relname = watched.name AND nspname = watched.schema AND relkind IN ('r', 'p', 'v', 'm', 'f')),
    'triggers', (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'table_oid', tgrelid::bigint, 'schema', nspname, 'table', relname, 'name', tgname, 'function', proname,
        'kind', tgtype, 'enabled', tgenabled, 'has_when', tgqual IS NOT NULL, 'deferrable', tgdeferrable AND tginitdeferred,
        'columns', (SELECT coalesce(jsonb_agg(attname), '[]') FROM pg_attribute WHERE attrelid = tgrelid AND attnum = ANY (tgattr)),
        'comment', obj_description(pg_trigger.oid, 'pg_trigger'), 'cloned', tgparentid <> 0)), '[]')
      FROM pg_proc JOIN pg_trigger ON tgfoid = pg_proc.oid JOIN pg_class ON pg_class.oid = tgrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
      WHERE pronamespace = ours.oid))
  FROM (SELECT (SELECT oid FROM pg_namespace WHERE nspname = 'neverstale') AS oid) AS ours)";
