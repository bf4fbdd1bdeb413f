//! What an install would do: steps of statements, only for what is missing or different.
//!
//! Deciding is pure. Each step is one short transaction: first our own objects, which nobody waits for; then the watched tables
//! one by one; last the row that says that all is there. Until that last step no sidecar caches anything, and a plan that was
//! broken off is simply made again.

use std::fmt::Write as _;

use crate::{
    PROTOCOL,
    blueprint::{Blueprint, Watched},
    compare,
    grants::Grant,
    inspect::{State, TableState, TriggerState},
    names,
    relations::{RELATIONS, RENEW_BOOT},
    triggers::{self, Event, UpdateOf},
    verdict::Problem,
};

/// What an install would do, in order; empty when there is nothing to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Transactions, in order.
    pub steps: Vec<Step>,
    /// A lease to be set afterwards, by [`set_lease`](crate::set_lease), because a running installation has another one.
    pub lease_ms: Option<u32>,
}

/// One transaction of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does, for people.
    pub title: String,
    /// Its statements, without BEGIN and COMMIT.
    pub statements: Vec<String>,
}

impl Plan {
    /// Whether everything is as it should be.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.lease_ms.is_none()
    }

    /// The plan as a script for `psql`.
    pub fn to_sql(&self) -> String {
        let mut script = String::new();
        for step in &self.steps {
            let _ = write!(script, "-- {}\n{}\n\n", step.title, step.to_sql(None));
        }
        if let Some(lease_ms) = self.lease_ms {
            let _ = writeln!(
                script,
                "-- then the lease is changed to {lease_ms} ms, as by neverstale lease {lease_ms}"
            );
        }
        script
    }
}

impl Step {
    pub(crate) fn new(title: impl Into<String>, statements: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            title: title.into(),
            statements: statements.into_iter().map(Into::into).collect(),
        }
    }

    /// The transaction as one script, with a bound on how long it waits for locks, in ms.
    pub(crate) fn to_sql(&self, lock_timeout_ms: Option<u128>) -> String {
        let mut script = String::from("BEGIN;\nSET LOCAL search_path = pg_catalog, pg_temp;\n");
        let _ = writeln!(script, "SET LOCAL lock_timeout = {};", lock_timeout_ms.unwrap_or(1_000));
        for statement in &self.statements {
            let _ = writeln!(script, "{statement};");
        }
        script.push_str("COMMIT;");
        script
    }
}

/// What a first installation begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct First {
    pub(crate) lease_ms: u32,
}

/// Decides what to do to get from a state to a blueprint.
pub(crate) fn decide(blueprint: &Blueprint<'_>, state: &State, first: First, grants: &[Grant]) -> Vec<Step> {
    let mut steps = Vec::new();
    let objects = objects(blueprint, state, first);
    if !objects.is_empty() {
        steps.push(Step::new("make the objects of schema neverstale", objects));
    }
    for watched in &blueprint.tables {
        let Some(table) = state.table(&watched.table.name) else {
            continue;
        };
        let statements = watch(blueprint, watched, table, state);
        if !statements.is_empty() {
            steps.push(Step::new(format!("watch table {}", watched.table.name), statements));
        }
    }
    let strays = strays(blueprint, state);
    if !strays.is_empty() {
        steps.push(Step::new("remove what an earlier flavour left", strays));
    }
    if !grants.is_empty() {
        steps.push(Step::new(
            "grant what a sidecar needs",
            grants.iter().flat_map(Grant::statements),
        ));
    }
    let complete = state.installation().is_some_and(|row| {
        !row.suspended
            && row.specification == blueprint.specification
            && row.flavour == blueprint.flavour.name
            && row.app_schema == blueprint.app_schema
    });
    if !complete {
        steps.push(Step::new(
            "declare the installation complete",
            [completion(blueprint), RENEW_BOOT.into()],
        ));
    }
    steps
}

/// Our own objects.
fn objects(blueprint: &Blueprint<'_>, state: &State, first: First) -> Vec<String> {
    let mut statements = Vec::new();
    if state.catalog.schema.is_none() {
        statements.push("CREATE SCHEMA neverstale".to_owned());
        statements.push("COMMENT ON SCHEMA neverstale IS 'What keeps answers of Neverstale sidecars coherent; removed by neverstale uninstall'".into());
    }
    let missing = RELATIONS
        .iter()
        .filter(|relation| compare::relation_problem(relation, state) == Some(Problem::MissingRelation));
    statements.extend(
        missing
            .flat_map(|relation| relation.create)
            .map(|&statement| statement.to_owned()),
    );
    if compare::is_position_rewound(state) {
        for column in ["position", "intent"] {
            statements.push(format!(
                "SELECT setval('neverstale.{column}', greatest(1, (SELECT last_value FROM neverstale.{column}), (SELECT max({column}) FROM neverstale.log)))"
            ));
        }
    }
    if state.installation().is_none() {
        // No trigger of this class publishes yet, so wait and lease may be set at once.
        statements.push(format!("SELECT setval('neverstale.wait', {})", first.lease_ms));
        statements.push(format!(
            "INSERT INTO neverstale.installation (protocol, flavour, app_schema, specification, lease_ms, lease_ms_resumed, lock_class)\n  \
             VALUES ({PROTOCOL}, {}, {}, '', {lease}, {lease}, {})",
            names::literal(&blueprint.flavour.name),
            names::literal(blueprint.app_schema),
            blueprint.lock_class,
            lease = first.lease_ms,
        ));
    }
    let changed = blueprint
        .functions
        .iter()
        .filter(|function| compare::function_problem(function, state).is_some());
    statements.extend(changed.flat_map(crate::publish::Function::create));
    match compare::publish_problem(state) {
        None => {}
        Some(_) => statements.extend(triggers::PUBLISH_CREATE.map(str::to_owned)),
    }
    if !statements.is_empty() {
        statements.push("DELETE FROM neverstale.boot".into());
        statements.push("SELECT neverstale.boot()".into());
    }
    statements
}

/// Function and triggers of one watched table. The lock first: once it is held, every transaction that ran the old function or none
/// has ended, and what sidecars learn under the new incarnation cannot miss its tags.
fn watch(blueprint: &Blueprint<'_>, watched: &Watched<'_>, table: &TableState, state: &State) -> Vec<String> {
    let root = names::qualified(watched.table.schema(blueprint.app_schema), &table.name);
    let update_of = if table.before_update.is_empty() {
        UpdateOf::WatchedColumns
    } else {
        UpdateOf::Anything
    };
    let mut statements = Vec::new();
    if compare::function_problem(&watched.collect, state).is_some() {
        statements.extend(watched.collect.create());
    }
    for trigger in &watched.triggers {
        let mut is_root_made = false;
        for place in compare::places(table) {
            let is_clone = place.partition_schema.is_some() && trigger.event != Event::Truncate;
            let relation = place
                .partition_schema
                .map_or_else(|| root.clone(), |schema| names::qualified(schema, place.name));
            let present = state
                .catalog
                .triggers
                .iter()
                .find(|present| present.table_oid == place.oid && present.name == trigger.name);
            let names_columns = trigger.event == Event::Update && update_of == UpdateOf::WatchedColumns;
            let is_narrowable = names_columns && present.is_some_and(|present| present.columns.is_empty());
            match compare::trigger_problem(trigger, table, &place, state) {
                None if !is_narrowable => {}
                Some(Problem::DisabledTrigger) if !(is_clone && is_root_made) => {
                    statements.push(trigger.enable(&relation));
                }
                // Clones come and go with their parent's trigger.
                _ if is_clone => {}
                _ => {
                    // Replacing in place needs the weaker lock, but does not reach clones.
                    if present.is_some() && !table.partitions.is_empty() {
                        statements.push(format!("DROP TRIGGER {} ON {relation}", trigger.name));
                    }
                    statements.extend(trigger.create(&relation, update_of));
                    is_root_made |= place.partition_schema.is_none();
                }
            }
        }
    }
    if !statements.is_empty() {
        statements.insert(0, format!("LOCK TABLE {root} IN SHARE ROW EXCLUSIVE MODE"));
        statements.push(RENEW_BOOT.into());
    }
    statements
}

/// Triggers on tables that are no longer watched, and functions of ours that nothing needs.
fn strays(blueprint: &Blueprint<'_>, state: &State) -> Vec<String> {
    let watched: Vec<i64> = state
        .catalog
        .tables
        .iter()
        .flat_map(compare::places)
        .map(|place| place.oid)
        .collect();
    // A table of ours that another release watches keeps its rows, which are an operator's, and loses its triggers: they hold a function
    // that nothing needs here.
    let is_stray = |trigger: &&TriggerState| {
        let is_needed = if trigger.schema == crate::SCHEMA {
            blueprint.has_function(&trigger.function)
        } else {
            watched.contains(&trigger.table_oid)
        };
        !trigger.cloned && !is_needed
    };
    let triggers = state.catalog.triggers.iter().filter(is_stray).map(drop_trigger);
    let functions = state
        .catalog
        .functions
        .iter()
        .filter(|function| !blueprint.has_function(&function.name));
    let functions = functions.map(|function| {
        format!(
            "DROP FUNCTION neverstale.{}({})",
            names::identifier(&function.name),
            function.arguments
        )
    });
    triggers.chain(functions).collect()
}

/// The statement that removes a trigger found in the catalog.
pub(crate) fn drop_trigger(trigger: &TriggerState) -> String {
    format!(
        "DROP TRIGGER {} ON {}",
        names::identifier(&trigger.name),
        names::qualified(&trigger.schema, &trigger.table)
    )
}

/// A suspended installation gets its lease back with the same statement that says that the triggers are there again.
fn completion(blueprint: &Blueprint<'_>) -> String {
    format!(
        "UPDATE neverstale.installation SET protocol = {PROTOCOL}, flavour = {}, app_schema = {}, specification = {},\n  \
         lease_ms = CASE WHEN suspended THEN lease_ms_resumed ELSE lease_ms END,\n  \
         lease_generation = lease_generation + 1, suspended = false",
        names::literal(&blueprint.flavour.name),
        names::literal(blueprint.app_schema),
        names::literal(&blueprint.specification),
    )
}
