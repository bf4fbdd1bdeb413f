//! Small random worlds: users, groups, configuration, keys and resources, as rows; written into the database and read by the oracle.

use anyhow::Result;
use serde_json::{Value, json};

use crate::server::Database;

/// A small reproducible generator (`SplitMix64`).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// A row, by table: every column as JSON (`json` columns as documents).
pub(crate) type Row = (&'static str, Value);

pub(crate) const USERS: [&str; 6] = ["u1", "u2", "u3", "u4", "u 5/ä", "u6"];
pub(crate) const GROUPS: [&str; 5] = ["g1", "g2", "g3", "g4", "g5"];
const EMAILS: [&str; 6] = ["a@x.org", "B@x.org", "b@x.org", "c@x.org", "", "nobody@x.org"];

/// Paths that random documents fill, with what they may hold.
pub(crate) const PATHS: [&str; 9] = [
    "rag.top_k",
    "rag.enable_hybrid_search",
    "rag.template",
    "rag.openai_api_key",
    "rag.web.search.domain.filter_list",
    "rag.web.search.tavily_api_key",
    "audio.tts.voice",
    "user.permissions",
    "openai.api_keys",
];

fn value(dice: &mut Dice, path: &str) -> Value {
    match path {
        "user.permissions" => permissions(dice),
        _ if path.contains("key") && dice.one_in(2) => json!("sk-1"),
        _ => dice.pick(&[
            json!(null),
            json!(true),
            json!(false),
            json!(0),
            json!(1),
            json!(1.0),
            json!(10),
            json!(10.0),
            json!(""),
            json!("x"),
            json!("true"),
            json!([]),
            json!([""]),
            json!(["t", true, 1.0]),
            json!(["t", 1, 1]),
            json!({"key": true}),
            json!({"key": 1, "z": "say \"true\", false"}),
            json!({}),
            json!("y"),
            json!(3),
        ]),
    }
}

pub(crate) fn permissions(dice: &mut Dice) -> Value {
    let mut tree = json!({});
    for area in ["workspace", "chat", "features", "new \"area\""] {
        if dice.one_in(3) {
            continue;
        }
        let mut leaves = json!({});
        for leaf in ["models", "edit", "web_search", "deep"] {
            if dice.one_in(2) {
                leaves[leaf] = if leaf == "deep" {
                    json!({"er": dice.one_in(2), "x": {"y": dice.one_in(3)}})
                } else {
                    json!(dice.one_in(2))
                };
            }
        }
        if leaves != json!({}) {
            tree[area] = leaves;
        }
    }
    tree
}

fn document(dice: &mut Dice) -> Value {
    if dice.one_in(12) {
        return dice.pick(&[json!([]), json!(null), json!("text")]);
    }
    let mut document = json!({});
    for path in PATHS {
        if dice.one_in(2) {
            set(&mut document, path, value(dice, path));
        }
    }
    if dice.one_in(4) {
        document["rag"] = dice.pick(&[json!(null), json!([{"top_k": 5}]), json!(7)]);
    }
    document
}

fn set(document: &mut Value, path: &str, value: Value) {
    let mut place = document;
    for part in path.split('.') {
        place = &mut place[part];
    }
    *place = value;
}

pub(crate) fn row(dice: &mut Dice, flavour: &str, table: &'static str) -> Value {
    let is_naga = flavour.starts_with("naga");
    let is_12 = flavour.ends_with("0.12");
    let id = |dice: &mut Dice| dice.below(1_000_000).to_string();
    let stamp = |dice: &mut Dice| 1_700_000_000 + dice.below(3) as i64;
    let access = |dice: &mut Dice| match dice.below(4) {
        0 => json!(null),
        1 => json!({"read": {"group_ids": [dice.pick(&GROUPS)], "user_ids": [dice.pick(&USERS)]}}),
        2 => {
            json!({"read": {"group_ids": [], "user_ids": []}, "write": {"group_ids": [dice.pick(&GROUPS)], "user_ids": [dice.pick(&USERS)]}})
        }
        _ => json!({}),
    };
    let mut row = match table {
        "user" => {
            json!({"id": dice.pick(&USERS), "name": dice.pick(&["Ann", "Bob \"B\""]), "email": dice.pick(&EMAILS), "role": dice.pick(&["pending", "user", "user", "admin"]),
            "profile_image_url": dice.pick(&["", "/user.png"]), "settings": dice.pick(&[json!(null), json!({"ui": {"theme": "dark"}})]), "created_at": stamp(dice), "updated_at": stamp(dice), "last_active_at": stamp(dice)})
        }
        "auth" => {
            json!({"id": dice.pick(&USERS), "email": "x", "password": "secret", "active": dice.pick(&[json!(true), json!(false), json!(null)]),
            "session_stamp": dice.pick(&[json!(null), json!("s1")]), "mfa": dice.pick(&[json!(null), json!({"secret": "s"}), json!({"secret": "s", "reset_required": true})])})
        }
        "api_key" => {
            json!({"id": dice.below(3).to_string(), "user_id": dice.pick(&USERS), "key": format!("sk-{}", dice.below(4)), "expires_at": dice.pick(&[json!(null), json!(1), json!(4_000_000_000_i64)]),
            "created_at": 1, "updated_at": 1})
        }
        "group" => {
            json!({"id": dice.pick(&GROUPS), "user_id": dice.pick(&USERS), "name": dice.pick(&["Lab", "Class"]), "description": "d", "data": dice.pick(&[json!(null), json!({"config": {}})]),
            "meta": dice.pick(&[json!(null), json!({"priority": 1}), json!({"priority": "2.5"}), json!({"priority": "high"}), json!({})]),
            "permissions": if dice.one_in(4) { json!(null) } else { permissions(dice) }, "created_at": 1, "updated_at": dice.pick(&[json!(null), json!(1), json!(2), json!(3)])})
        }
        "group_member" => json!({"id": id(dice), "group_id": dice.pick(&GROUPS), "user_id": dice.pick(&USERS)}),
        "config" if is_12 => {
            let key = dice.pick(&[
                "rag.top_k",
                "rag.openai.api_key",
                "user.permissions",
                "openai.api_keys",
                "auth.mfa.enable",
                "ui.note",
                "tool_server.connections",
            ]);
            json!({"key": key, "value": match key { "auth.mfa.enable" => json!(dice.one_in(2)), other => value(dice, other) }})
        }
        "config" => json!({"id": 1 + dice.below(9), "data": document(dice), "version": 0}),
        "access_grant" => {
            json!({"id": id(dice), "resource_type": dice.pick(&["model", "model", "tool", "tool", "prompt", "knowledge"]), "resource_id": dice.pick(&["m1", "m:2", "f1.x", "p1", "k1"]), "principal_type": dice.pick(&["user", "group"]),
            "principal_id": dice.pick(&["u1", "u2", "*", "g1", "g2", "g3"]), "permission": dice.pick(&["read", "write"]), "created_at": 1})
        }
        "function" => {
            json!({"id": dice.pick(&["f1", "f2"]), "user_id": dice.pick(&USERS), "name": "F", "type": dice.pick(&["pipe", "filter"]), "content": dice.pick(&["a", "b"]), "meta": dice.pick(&["{}", "{\"manifest\": {}}"]),
            "created_at": 1, "updated_at": stamp(dice), "valves": dice.pick(&["{\"key\": \"sk-valve\"}", "{}"]), "is_active": dice.one_in(2), "is_global": dice.one_in(2)})
        }
        "model" => {
            json!({"id": dice.pick(&["m1", "m:2", "f1.x"]), "user_id": dice.pick(&USERS), "base_model_id": dice.pick(&[json!(null), json!("m1"), json!("m:2"), json!("f1.x"), json!("f2"), json!("no.such")]), "name": "M", "params": dice.pick(&["{}", "{\"top_p\": 1}"]), "meta": "{}", "created_at": 1, "updated_at": stamp(dice), "is_active": dice.one_in(2)})
        }
        "knowledge" => {
            json!({"id": dice.pick(&["k1", "k2"]), "user_id": dice.pick(&USERS), "name": "K", "created_at": 1, "updated_at": 1})
        }
        "prompt" if is_12 => {
            json!({"id": dice.pick(&["p1", "p2"]), "command": "c", "user_id": dice.pick(&USERS), "name": "P", "content": "c", "is_active": true, "created_at": 1, "updated_at": 1})
        }
        "prompt" => {
            json!({"id": 1 + dice.below(1000), "command": dice.pick(&["p1", "p2"]), "user_id": dice.pick(&USERS), "title": "P", "content": "c", "timestamp": 1})
        }
        "access_overlay" => {
            let kind = dice.pick(&["function", "pipeline"]);
            let id = dice.pick(if kind == "function" {
                &["f1", "f2", "f3"]
            } else {
                &["0:a", "1:b", "2:c"]
            });
            let control = access(dice);
            json!({"resource_type": kind, "resource_id": id, "owner_id": dice.pick(&[json!(null), json!("u1")]),
                   "access_control": if control.is_null() { json!({}) } else { control }, "version": 1 + dice.below(3)})
        }
        "oauth_session" => {
            json!({"id": id(dice), "user_id": dice.pick(&USERS), "provider": "p", "token": "t", "expires_at": 1, "created_at": 1, "updated_at": 1})
        }
        "tool" => {
            json!({"id": dice.pick(&["t1", "t2"]), "user_id": dice.pick(&USERS), "name": "T", "content": dice.pick(&["a", "b"]), "specs": dice.pick(&["[]", "[{}]"]), "meta": "{}", "created_at": 1, "updated_at": 1})
        }
        other => unreachable!("table {other}"),
    };
    if !is_12 && matches!(table, "model" | "tool" | "prompt" | "knowledge") {
        row["access_control"] = access(dice);
    }
    if is_12 {
        more_of_12(dice, table, &mut row);
    }
    if is_naga {
        match table {
            "user" => {
                row["api_key"] = if dice.one_in(2) {
                    json!(null)
                } else {
                    json!(format!("sk-{}", dice.below(4)))
                }
            }
            "group" => {
                row["created_by"] = if dice.one_in(6) {
                    json!(null)
                } else {
                    json!(dice.pick(&EMAILS))
                };
                let members: Vec<&str> = (0..dice.below(4)).map(|_| dice.pick(&USERS)).collect();
                row["user_ids"] = if dice.one_in(8) { json!(null) } else { json!(members) };
            }
            "config" => {
                row["email"] = json!(dice.pick(&["a@x.org", "b@x.org", "B@x.org", "system@default", "c@x.org"]));
                row["version"] = json!(dice.below(1000));
            }
            "function" | "model" | "tool" => row["created_by"] = json!(dice.pick(&EMAILS)),
            _ => {}
        }
    }
    row
}

/// The columns that only 0.12 has, or only its views show.
fn more_of_12(dice: &mut Dice, table: &str, row: &mut Value) {
    let version = dice.pick(&[json!(null), json!("v1"), json!("v2")]);
    match table {
        "user" => {
            row["bio"] = dice.pick(&[json!(null), json!("of few words")]);
            row["date_of_birth"] = dice.pick(&[json!(null), json!("2000-02-29")]);
            row["settings"] = dice.pick(&[json!(null), json!({"ui": {"models": ["m1"]}})]);
            row["variables"] = dice.pick(&[json!(null), json!({"a": 1})]);
        }
        "group" => {
            row["parent_group_id"] = if dice.one_in(2) {
                json!(null)
            } else {
                json!(dice.pick(&GROUPS))
            };
            row["data"] = dice.pick(&[json!(null), json!({"config": {"share": false}})]);
        }
        "function" => row["meta"] = dice.pick(&[json!("{}"), json!("{\"description\": \"d\"}")]),
        "model" | "tool" => row["meta"] = dice.pick(&[json!("{}"), json!("{\"tags\": []}")]),
        _ => {}
    }
    if matches!(table, "function" | "model" | "tool") {
        row["version_id"] = version;
        row["updated_at"] = json!(1 + dice.below(3));
    }
}

/// Tables of a flavour, parents first.
pub(crate) fn tables(flavour: &str) -> Vec<&'static str> {
    let mut tables = vec![
        "user",
        "group",
        "config",
        "function",
        "model",
        "tool",
        "prompt",
        "knowledge",
        "access_overlay",
    ];
    if !flavour.starts_with("naga") {
        tables.extend(["group_member", "api_key"]);
    }
    if flavour.ends_with("0.12") {
        tables.extend(["auth", "access_grant", "oauth_session"]);
    }
    tables
}

/// Empties the database and fills it with a random world; gives the rows that stand.
pub(crate) async fn fill(database: &Database, dice: &mut Dice) -> Result<Vec<Row>> {
    let flavour = database.flavour.name.as_str();
    let tables = tables(flavour);
    let list: Vec<String> = tables.iter().map(|table| format!("\"{table}\"")).collect();
    database
        .client
        .batch_execute(&format!("TRUNCATE {} CASCADE", list.join(", ")))
        .await?;
    for table in &tables {
        for _ in 0..3 + dice.below(7) {
            insert(database, table, &row(dice, flavour, table)).await?;
        }
    }
    standing(database).await
}

/// Inserts a row unless a constraint forbids it.
pub(crate) async fn insert(database: &Database, table: &str, row: &Value) -> Result<()> {
    let columns: Vec<String> = row
        .as_object()
        .expect("a row")
        .keys()
        .filter(|column| *column != "mfa" && *column != "session_stamp" || table == "auth")
        .map(|column| format!("\"{column}\""))
        .collect();
    let columns = columns.join(", ");
    let sql = format!(
        "INSERT INTO \"{table}\" ({columns}) SELECT {columns} FROM json_populate_record(NULL::\"{table}\", $1::text::json) AS r"
    );
    let sql = format!(
        "DO $do$ BEGIN {} ; EXCEPTION WHEN integrity_constraint_violation THEN NULL; END $do$",
        sql.replace("$1::text", &format!("$row${row}$row$"))
    );
    database.client.batch_execute(&sql).await?;
    Ok(())
}

/// All rows as they stand.
pub(crate) async fn standing(database: &Database) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for table in tables(&database.flavour.name) {
        for row in database
            .client
            .query(&format!("SELECT row_to_json(t)::text FROM \"{table}\" AS t"), &[])
            .await?
        {
            rows.push((table, serde_json::from_str(row.get(0))?));
        }
    }
    Ok(rows)
}
