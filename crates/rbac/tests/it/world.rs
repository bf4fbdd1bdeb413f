//! Small random worlds: users, groups, resources and grants, written as rows and read back as they stand.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio_postgres::Client;

pub(crate) const USERS: [&str; 7] = ["u1", "u2", "u3", "u4", "u5", "u6", "nobody"];
const GROUPS: [&str; 5] = ["g1", "g2", "g3", "g4", "g5"];

/// All ids that are asked about, by type; the last of each never exists.
pub(crate) const IDS: [(&str, &[&str]); 6] = [
    ("function", &["f1", "f2", "f3", "no.such"]),
    ("tool", &["t1", "t2", "none"]),
    ("model", &["m1", "m2", "f1", "f1.sub", "f2.x", "f3.y", "none"]),
    ("prompt", &["p1", "/p2", "none"]),
    ("knowledge", &["k1", "k/2", "none"]),
    ("pipeline", &["0:a", "1:b", "none"]),
];

/// Rows by table.
pub(crate) type Rows = BTreeMap<&'static str, Vec<Value>>;

/// The tables of a flavour that decisions rest on.
pub(crate) fn tables(flavour: &str) -> Vec<&'static str> {
    let mut tables = vec![
        "user",
        "group",
        "function",
        "tool",
        "model",
        "prompt",
        "knowledge",
        "access_overlay",
    ];
    if !flavour.starts_with("naga") {
        tables.push("group_member");
    }
    if flavour.ends_with("0.12") {
        tables.push("access_grant");
    }
    tables
}

/// Fills an empty database.
pub(crate) async fn fill(client: &Client, flavour: &str, dice: &mut Rng) {
    let first =
        "INSERT INTO \"user\" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)
        VALUES ('u1', 'N', 'u1@x.org', 'admin', '', 0, 1, 1)";
    client.batch_execute(first).await.unwrap();
    for table in tables(flavour) {
        for _ in 0..4 + dice.usize(..9) {
            let sql = insert(flavour, table, dice);
            client
                .batch_execute(&sql)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }
}

/// A random statement that changes a row, or a few.
pub(crate) fn change(flavour: &str, dice: &mut Rng) -> String {
    let all = tables(flavour);
    let table = all[dice.usize(..all.len())];
    let row = format!(
        "ctid = (SELECT ctid FROM \"{table}\" ORDER BY ctid OFFSET {} LIMIT 1)",
        dice.usize(..6)
    );
    match dice.usize(..5) {
        0 => format!("DELETE FROM \"{table}\" WHERE {row}"),
        1 | 2 => insert(flavour, table, dice),
        _ => {
            let new = random_row(flavour, table, dice);
            let columns: Vec<&String> = new.as_object().expect("a row").keys().collect();
            let column = columns[dice.usize(..columns.len())];
            harmless(&format!(
                "UPDATE \"{table}\" SET \"{column}\" = (SELECT r.\"{column}\" FROM json_populate_record(NULL::\"{table}\", $row${new}$row$::json) AS r) WHERE {row}"
            ))
        }
    }
}

/// All rows as they stand.
pub(crate) async fn standing(client: &Client, flavour: &str) -> Rows {
    let mut rows = Rows::new();
    for table in tables(flavour) {
        let found = client
            .query(&format!("SELECT row_to_json(t)::text FROM \"{table}\" AS t"), &[])
            .await;
        let parsed = |row: &tokio_postgres::Row| serde_json::from_str(row.get(0)).expect("JSON of Postgres");
        rows.insert(table, found.unwrap().iter().map(parsed).collect());
    }
    rows
}

fn insert(flavour: &str, table: &str, dice: &mut Rng) -> String {
    let row = random_row(flavour, table, dice);
    let columns: Vec<String> = row
        .as_object()
        .expect("a row")
        .keys()
        .map(|column| format!("\"{column}\""))
        .collect();
    let columns = columns.join(", ");
    harmless(&format!(
        "INSERT INTO \"{table}\" ({columns}) SELECT {columns} FROM json_populate_record(NULL::\"{table}\", $row${row}$row$::json) AS r"
    ))
}

/// What a constraint forbids does not happen.
fn harmless(sql: &str) -> String {
    format!("DO $do$ BEGIN {sql}; EXCEPTION WHEN integrity_constraint_violation THEN NULL; END $do$")
}

fn random_row(flavour: &str, table: &str, dice: &mut Rng) -> Value {
    let is_naga = flavour.starts_with("naga");
    let is_12 = flavour.ends_with("0.12");
    let mut pick = |choices: &[&str]| choices[dice.usize(..choices.len())].to_owned();
    let (user, group) = (pick(&USERS[..6]), pick(&GROUPS));
    let id = |table: &str, dice: &mut Rng| {
        let (_, ids) = IDS.iter().find(|(kind, _)| *kind == table).expect("a type");
        ids[dice.usize(..ids.len() - 1)]
    };
    let mut row = match table {
        "user" => {
            json!({"id": user, "name": "N", "email": format!("{user}@x.org"), "role": pick(&["pending", "user", "user", "user", "admin", "admin"]),
            "profile_image_url": "", "created_at": 1 + dice.usize(..3), "updated_at": 1, "last_active_at": 1})
        }
        "group" => {
            json!({"id": group, "user_id": user, "name": "G", "description": "", "created_at": 1, "updated_at": 1})
        }
        "group_member" => json!({"id": dice.u32(..).to_string(), "group_id": group, "user_id": user}),
        "access_grant" => {
            let types = ["tool", "model", "model", "prompt", "knowledge"];
            let kind = types[dice.usize(..types.len())];
            let (principal_type, principal) = match dice.usize(..8) {
                0 => ("user", "*".to_owned()),
                1 => ("anyone", "*".to_owned()),
                2..5 => ("user", user),
                _ => ("group", group),
            };
            json!({"id": dice.u32(..).to_string(), "resource_type": kind, "resource_id": id(kind, dice), "principal_type": principal_type,
                "principal_id": principal, "permission": if dice.bool() { "read" } else { "write" }, "created_at": 1})
        }
        "access_overlay" => {
            let kind = if dice.bool() { "function" } else { "pipeline" };
            json!({"resource_type": kind, "resource_id": id(kind, dice), "owner_id": if dice.bool() { json!(user) } else { json!(null) },
                "access_control": access_control(dice), "version": 1})
        }
        "function" => {
            json!({"id": id(table, dice), "user_id": user, "name": "F", "type": "pipe", "content": "c", "meta": "{}", "valves": "{}",
            "is_active": dice.usize(..4) != 0, "is_global": false, "created_at": 1, "updated_at": 1})
        }
        "tool" => {
            json!({"id": id(table, dice), "user_id": user, "name": "T", "content": "c", "specs": "[]", "meta": "{}", "created_at": 1, "updated_at": 1})
        }
        "model" => {
            let base = ["m1", "m2", "f1", "f1.sub", "f2.x", "f2", "gone"];
            let base = if dice.bool() {
                json!(null)
            } else {
                json!(base[dice.usize(..base.len())])
            };
            json!({"id": id(table, dice), "user_id": user, "base_model_id": base, "name": "M", "params": "{}", "meta": "{}",
                "is_active": dice.usize(..4) != 0, "created_at": 1, "updated_at": 1})
        }
        "prompt" if is_12 => {
            json!({"id": id(table, dice), "command": "c", "user_id": user, "name": "P", "content": "c", "is_active": true, "created_at": 1, "updated_at": 1})
        }
        "prompt" => {
            json!({"id": dice.u16(..), "command": id(table, dice), "user_id": user, "title": "P", "content": "c", "timestamp": 1})
        }
        "knowledge" => json!({"id": id(table, dice), "user_id": user, "name": "K", "created_at": 1, "updated_at": 1}),
        other => unreachable!("table {other}"),
    };
    if !is_12 && matches!(table, "tool" | "model" | "prompt" | "knowledge") {
        row["access_control"] = if dice.usize(..3) == 0 {
            json!(null)
        } else {
            access_control(dice)
        };
    }
    if is_12 && table == "group" && dice.bool() {
        row["parent_group_id"] = json!(GROUPS[dice.usize(..GROUPS.len())]);
    }
    if is_naga {
        match table {
            "group" => row["user_ids"] = json!([USERS[dice.usize(..6)], USERS[dice.usize(..6)]]),
            "function" | "model" | "tool" => row["created_by"] = json!("x@x.org"),
            _ => {}
        }
    }
    row
}

fn access_control(dice: &mut Rng) -> Value {
    let mut some = |from: &[&str]| {
        let drawn: Vec<&str> = (0..dice.usize(..3)).map(|_| from[dice.usize(..from.len())]).collect();
        json!(drawn)
    };
    let users = ["u1", "u2", "u3", "u4", "u5", "u6", "*"];
    let full = json!({"read": {"user_ids": some(&users), "group_ids": some(&GROUPS)}, "write": {"user_ids": some(&users), "group_ids": some(&GROUPS)}});
    match dice.usize(..8) {
        0 => json!({}),
        1 => json!({"read": full["read"]}),
        2 => json!({"read": null, "write": full["write"]}),
        3 => json!({"read": {"user_ids": "u1"}, "write": 7}),
        _ => full,
    }
}
