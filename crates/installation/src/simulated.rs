//! What the inspection finds where everything is as it should be, for a database that is none.
//!
//! Compiled for `crates/simulation` only (feature `simulation`), which compares it with what a real installation answers.

use neverstale_flavour::Flavour;
use serde_json::{Value, json};

use crate::{PROTOCOL, SCHEMA, blueprint::Blueprint, names, publish::Function, relations::RELATIONS, triggers};

/// The numbers of an installation, which change while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// The class of its advisory locks.
    pub lock_class: i32,
    /// The lease, in ms.
    pub lease_ms: u64,
    /// The commit wait, in ms.
    pub wait_ms: u64,
    /// The newest position in the log, if there is one.
    pub newest: Option<u64>,
    /// The last value of the sequence of positions.
    pub position: u64,
}

/// The state that the one statement of the inspection gives for a whole installation. Tables have the numbers 1, 2, …, and
/// columns are of type text unless `kinds` says otherwise.
pub fn whole(flavour: &Flavour, app_schema: &str, numbers: Numbers, kinds: &[(&str, &str)]) -> Value {
    let blueprint = Blueprint::new(flavour, app_schema, numbers.lock_class);
    let relations = RELATIONS.iter().map(|relation| {
        let cache = (relation.kind == "S").then_some(1);
        json!({"name": relation.name, "kind": relation.kind, "persistence": relation.persistence,
               "columns": relation.columns, "cache": cache})
    });
    let collects = blueprint.tables.iter().map(|watched| &watched.collect);
    let functions = blueprint.functions.iter().chain(collects).map(function);
    let kind_of = |column: &str| {
        kinds
            .iter()
            .find(|(name, _)| *name == column)
            .map_or("text", |(_, kind)| kind)
    };
    let tables = (1..).zip(&blueprint.tables).map(|(oid, watched)| {
        let columns = names::watched_columns(watched.table).into_iter().map(|name| {
            let kind = kind_of(&name);
            json!({"name": name, "kind": kind, "deterministic": true, "default_collation": true})
        });
        json!({"name": watched.table.name, "oid": oid, "kind": "r", "owned": true, "row_security": false,
               "inheritance_parent": false, "columns": columns.collect::<Vec<_>>(), "before_update": [], "partitions": []})
    });
    let watching = (1..).zip(&blueprint.tables).flat_map(|(oid, watched)| {
        watched.triggers.iter().map(move |trigger| {
            let is_update = trigger.event == triggers::Event::Update;
            let columns = if is_update { trigger.watched() } else { &[] };
            json!({"table_oid": oid, "schema": watched.table.schema(app_schema), "table": watched.table.name, "name": trigger.name,
                   "function": trigger.function, "kind": trigger.kind, "enabled": "A", "has_when": is_update,
                   "deferrable": false, "columns": columns, "comment": trigger.comment(), "cloned": false})
        })
    });
    let publish = json!({"table_oid": 0, "schema": SCHEMA, "table": "seal", "name": triggers::PUBLISH,
        "function": "publish", "kind": triggers::PUBLISH_KIND, "enabled": "A", "has_when": false, "deferrable": true,
        "columns": ["stage"], "comment": null, "cloned": false});
    json!({
        "catalog": {
            "server_version": 150_000, "standby": false, "may_create_schema": true,
            "schema": {"owner": "app", "owned": true},
            "relations": relations.collect::<Vec<_>>(), "functions": functions.collect::<Vec<_>>(),
            "tables": tables.collect::<Vec<_>>(), "triggers": watching.chain([publish]).collect::<Vec<_>>(),
        },
        "contents": {
            "installation": {"protocol": PROTOCOL, "flavour": flavour.name, "app_schema": app_schema,
                "specification": blueprint.specification, "lease_ms": numbers.lease_ms, "suspended": false,
                "lock_class": numbers.lock_class},
            "newest": numbers.newest, "position": numbers.position, "position_called": true, "intent_called": true,
            "wait_ms": numbers.wait_ms,
        },
    })
}

fn function(function: &Function) -> Value {
    json!({"name": function.name, "arguments": function.arguments, "definer": function.definer,
           "source_hash": names::hash(&function.source), "config": function.config})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_whole_is_judged_whole() {
        let text = Flavour::builtin("openwebui-0.12").unwrap();
        let flavour = Flavour::parse(text, "openwebui-0.12").unwrap();
        let numbers = Numbers {
            lock_class: 7,
            lease_ms: 50,
            wait_ms: 50,
            newest: None,
            position: 1,
        };
        let state = whole(&flavour, "public", numbers, &[]);
        let verdict = crate::judge(&flavour, "public", &state.to_string()).unwrap();
        assert!(verdict.is_green(), "{verdict}");
    }
}
