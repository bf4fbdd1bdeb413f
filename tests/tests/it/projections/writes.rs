//! Random writes: any watched table, watched and unwatched columns, values that make sense, NULLs, and JSON of odd shapes.

use anyhow::{Context, Result};
use neverstale_flavour::Flavour;
use tokio_postgres::Client;

use super::POOL;
use neverstale_tests::dice::Dice;

/// What became of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Done,
    /// A constraint of the application forbids it, as it would without us; it was taken back.
    Forbidden,
}

/// Runs one statement behind a savepoint; an error that is not a constraint of the application's is an error of ours.
pub(super) async fn attempt(client: &Client, sql: &str) -> Result<Attempt> {
    client.batch_execute("SAVEPOINT attempt").await?;
    let Err(error) = client.batch_execute(sql).await else {
        return Ok(Attempt::Done);
    };
    let is_constraint = error.code().is_some_and(|code| code.code().starts_with("23"));
    if is_constraint {
        client.batch_execute("ROLLBACK TO SAVEPOINT attempt").await?;
        return Ok(Attempt::Forbidden);
    }
    Err(error).with_context(|| format!("a write fails that would not fail without us: {sql}"))
}

/// The watched tables with all their columns.
pub(super) struct Tables(Vec<Table>);

struct Table {
    name: String,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    kind: String,
    is_required: bool,
    is_short: bool,
}

impl Tables {
    pub(super) async fn read(client: &Client, flavour: &Flavour) -> Result<Self> {
        let sql = "SELECT column_name::text, data_type::text, is_nullable = 'NO' AND column_default IS NULL, character_maximum_length IS NOT NULL
                   FROM information_schema.columns WHERE table_schema = $2 AND table_name = $1 ORDER BY ordinal_position";
        let mut tables = Vec::new();
        for table in &flavour.tables {
            let rows = client.query(sql, &[&table.name, &table.schema("public")]).await?;
            let columns = rows.iter().map(|row| Column {
                name: row.get(0),
                kind: row.get(1),
                is_required: row.get(2),
                is_short: row.get(3),
            });
            tables.push(Table {
                name: table.name.clone(),
                columns: columns.collect(),
            });
        }
        Ok(Self(tables))
    }

    /// One random statement.
    pub(super) fn write(&self, dice: &mut Dice) -> String {
        let table = &self.0[dice.below(self.0.len())];
        let name = &table.name;
        let rows = format!(
            "ctid IN (SELECT ctid FROM \"{name}\" ORDER BY ctid OFFSET {} LIMIT {})",
            dice.below(5),
            if dice.one_in(8) { 100 } else { 1 }
        );
        match dice.below(20) {
            0..3 => format!("DELETE FROM \"{name}\" WHERE {rows}"),
            3..9 => table.insert(dice),
            9 if dice.one_in(3) => format!("TRUNCATE \"{name}\" CASCADE"),
            _ => table.update(dice, &rows),
        }
    }
}

impl Table {
    fn insert(&self, dice: &mut Dice) -> String {
        let chosen: Vec<&Column> = self
            .columns
            .iter()
            .filter(|column| column.is_required || !dice.one_in(3))
            .collect();
        let names: Vec<String> = chosen.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let values: Vec<String> = chosen.iter().map(|column| column.value(dice, &self.name)).collect();
        let conflict = if dice.one_in(3) { " ON CONFLICT DO NOTHING" } else { "" };
        format!(
            "INSERT INTO \"{}\" ({}) VALUES ({}){conflict}",
            self.name,
            names.join(", "),
            values.join(", ")
        )
    }

    fn update(&self, dice: &mut Dice, rows: &str) -> String {
        let mut places: Vec<usize> = (0..1 + dice.below(3)).map(|_| dice.below(self.columns.len())).collect();
        places.sort_unstable();
        places.dedup();
        let sets: Vec<String> = places
            .into_iter()
            .map(|place| {
                let column = &self.columns[place];
                // What is written as it was is no change, and must not look like one.
                let value = if dice.one_in(10) {
                    format!("\"{}\"", column.name)
                } else {
                    column.value(dice, &self.name)
                };
                format!("\"{}\" = {value}", column.name)
            })
            .collect();
        format!("UPDATE \"{}\" SET {} WHERE {rows}", self.name, sets.join(", "))
    }
}

impl Column {
    /// A random literal for this column.
    fn value(&self, dice: &mut Dice, table: &str) -> String {
        if dice.one_in(if self.is_required { 60 } else { 8 }) {
            return "NULL".to_owned();
        }
        if self.kind == "json" {
            return quoted(&document(dice, table, &self.name));
        }
        if self.kind == "jsonb" {
            // What it can't hold is refused by the column, whoever writes.
            let text = document(dice, table, &self.name);
            let is_kept = !text.contains("\\u0000") && !text.contains("e999999");
            return quoted(if is_kept { &text } else { "{}" });
        }
        if !matches!(self.kind.as_str(), "bigint" | "integer")
            && let Some(choices) = known(table, &self.name)
        {
            return quoted(dice.pick(choices));
        }
        match self.kind.as_str() {
            "boolean" => dice.pick(&["true", "false"]).to_owned(),
            // An instant near now would change answers by itself in the middle of a comparison.
            "bigint" | "integer" if self.name == "expires_at" => dice.pick(&["1", "4000000000"]).to_owned(),
            "bigint" | "integer" if self.name == "id" => (1 + dice.below(9)).to_string(),
            "bigint" | "integer" => dice
                .pick(&["1700000000", "1700000001", "1700000002", "1", "0", "-1"])
                .to_owned(),
            "date" => quoted(dice.pick(&["2000-02-29", "infinity"])),
            kind if kind.starts_with("timestamp") => "clock_timestamp()".to_owned(),
            _ if self.is_short => quoted(dice.pick(&["", "x", "O'Brien", "ä\"{}\\"])),
            _ => match dice.below(6) {
                0 => quoted(&"long ".repeat(80)),
                1 => quoted("{\"key\": \"sk-in-text\"}"),
                _ => quoted(dice.pick(&["", "x", "y", "O'Brien", "ä\"{}\\"])),
            },
        }
    }
}

/// What a key column may hold, so that rows meet.
fn known(table: &str, column: &str) -> Option<&'static [&'static str]> {
    Some(match (table, column) {
        ("access_overlay", "resource_type") => &["function", "function", "pipeline", "nothing"],
        ("access_overlay", "resource_id") => POOL.functions,
        ("user" | "auth", "id") | (_, "user_id") => POOL.users,
        ("group", "id") | (_, "group_id" | "parent_group_id") => POOL.groups,
        ("function", "id") => POOL.functions,
        ("model", "id") => POOL.models,
        ("tool", "id") => POOL.tools,
        ("config", "id") => return None,
        (_, "id") => &["r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8"],
        ("config", "email") => &["system@default", "user1@example.com", "User1@Example.com", "b@x.org"],
        (_, "email" | "created_by") => &[
            "user1@example.com",
            "user2@example.com",
            "User3@Example.com",
            "user4@example.com",
            "b@x.org",
            "",
        ],
        ("config", "key") => POOL.settings,
        (_, "key" | "api_key") => POOL.keys,
        (_, "role") => &["admin", "user", "user", "pending"],
        (_, "session_stamp") => POOL.stamps,
        (_, "resource_type") => &["model", "tool"],
        (_, "resource_id") => &["m1", "m2", "t1"],
        (_, "principal_type") => &["user", "group"],
        (_, "principal_id") => &["u1", "u2", "*", "g1", "g2"],
        (_, "permission") => &["read", "write"],
        (_, "type") => &["pipe", "filter"],
        _ => return None,
    })
}

/// A JSON document: mostly one that the application could have written, sometimes one that nobody would.
fn document(dice: &mut Dice, table: &str, column: &str) -> String {
    if dice.one_in(5) {
        return odd(dice);
    }
    let (user, group) = (dice.pick(POOL.users), dice.pick(POOL.groups));
    match (table, column) {
        (_, "user_ids") => {
            let members: Vec<String> = (0..dice.below(5)).map(|_| format!("\"{}\"", dice.pick(POOL.users))).collect();
            format!("[{}]", members.join(", "))
        }
        (_, "access_control") => dice.pick(&[
            "null".to_owned(),
            "{}".to_owned(),
            format!(r#"{{"read": {{"group_ids": ["{group}"], "user_ids": ["{user}"]}}}}"#),
            format!(r#"{{"read": {{"group_ids": [], "user_ids": []}}, "write": {{"group_ids": ["{group}"], "user_ids": []}}}}"#),
        ]),
        (_, "permissions") => permissions(dice),
        ("group", "meta") => dice.pick(&["{}", r#"{"priority": 1}"#, r#"{"priority": "2.5"}"#, r#"{"priority": "high"}"#]).to_owned(),
        ("auth", "mfa") => dice.pick(&["{}", r#"{"secret": "s"}"#, r#"{"secret": "s", "reset_required": true}"#]).to_owned(),
        ("config", "value") => if dice.one_in(3) { permissions(dice) } else { plain(dice).to_owned() },
        ("config", "data") => format!(
            r#"{{"rag": {{"top_k": {}, "openai_api_key": {}, "openai": {{"api_key": {}}}}}, "user": {{"permissions": {}}}}}"#,
            plain(dice),
            plain(dice),
            plain(dice),
            permissions(dice)
        ),
        _ => plain(dice).to_owned(),
    }
}

fn plain(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        "null",
        "true",
        "false",
        "0",
        "1",
        "1.0",
        "3",
        "10",
        "\"\"",
        "\"x\"",
        "\"sk-1\"",
        "[]",
        "[\"\"]",
        "{}",
        "[true, 1]",
        "{\"key\": 1}",
    ])
}

fn permissions(dice: &mut Dice) -> String {
    let mut areas = Vec::new();
    for area in ["workspace", "chat", "new \\\"area\\\""] {
        if !dice.one_in(3) {
            let leaf = |dice: &mut Dice| dice.pick(&["true", "false", "null", "{\"er\": true}", "{}"]);
            areas.push(format!(
                "\"{area}\": {{\"models\": {}, \"edit\": {}}}",
                leaf(dice),
                leaf(dice)
            ));
        }
    }
    format!("{{{}}}", areas.join(", "))
}

/// What `json` lets in and nobody expects.
fn odd(dice: &mut Dice) -> String {
    if dice.one_in(12) {
        // JSON that can't become `jsonb`: views fail, and must fail through the cache too.
        return dice.pick(&[r#"["u1", "\u0000"]"#, r#"{"a": 1e999999}"#]).to_owned();
    }
    if dice.one_in(20) {
        return format!("{}{}", "[".repeat(60), "]".repeat(60));
    }
    dice.pick(&[
        "null",
        " null ",
        "true",
        "-0.0",
        "1e2",
        "1e400",
        "\"\"",
        "\"u1\"",
        "\"\\ud83d\\ude00\"",
        "[[]]",
        "[null]",
        "[\"u1\", \"u1\", null, 5, {\"a\": \"u2\"}]",
        "[[\"u1\"]]",
        "{\"u1\": true}",
        "{\"\": {}}",
        "{\"a\": {\"b\": {}}}",
        "{\"rag\": []}",
        "{\"rag\": {\"top_k\": null}}",
        "{\"rag\": null, \"user\": {\"permissions\": 5}}",
        "{\"a\": 1, \"a\": 2}",
        "{\"workspace\": true}",
        "{\"workspace\": {\"models\": {\"deep\": [true]}}}",
        "{\"read\": \"u1\"}",
        "{\"read\": {\"user_ids\": \"u1\", \"group_ids\": {\"g1\": 1}}}",
    ])
    .to_owned()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
