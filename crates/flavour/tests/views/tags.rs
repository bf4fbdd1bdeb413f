//! Complete tags, by search: one random write in a transaction that is rolled back; where an answer differs, the write's tags must meet the answer's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use neverstale_flavour::{Read, TagRule};
use serde_json::Value;

use crate::server::{Answer, Database};
use crate::world::{self, Dice, GROUPS, Row, USERS};

/// Makes random writes on one world; gives how many answers they changed. The rule named `silent` publishes nothing, to see that it is missed.
pub(crate) async fn search(database: &Database, seed: u64, silent: Option<&str>) -> Result<usize> {
    let mut dice = Dice::new(seed ^ 0xABCD);
    world::fill(database, &mut dice).await?;
    let mut changed = 0;
    for _ in 0..12 {
        let before = world::standing(database).await?;
        let old = answers(database).await?;
        database.client.batch_execute("BEGIN").await?;
        let write = write(database, &mut dice).await?;
        let new = answers(database).await?;
        let after = world::standing(database).await?;
        database.client.batch_execute("ROLLBACK").await?;
        let published = published(database, &before, &after, silent);
        for ((path, old), (_, new)) in old.iter().zip(&new) {
            if (&old.body, old.not_after) != (&new.body, new.not_after) {
                changed += 1;
                ensure!(
                    old.tags.iter().any(|tag| published.contains(tag)),
                    "{write}\nchanges {path}\n  from {old:?}\n  to {new:?}\n  but publishes {published:?}"
                );
            }
        }
        // The world moves on, so that later writes meet other states.
        database.client.batch_execute(&write).await?;
    }
    Ok(changed)
}

async fn write(database: &Database, dice: &mut Dice) -> Result<String> {
    let flavour = database.flavour.name.as_str();
    let tables = world::tables(flavour);
    let table = dice.pick(&tables);
    let condition = "ctid = (SELECT ctid FROM \"{table}\" ORDER BY ctid OFFSET {offset} LIMIT 1)"
        .replace("{table}", table)
        .replace("{offset}", &dice.below(5).to_string());
    let row = world::row(dice, flavour, table);
    let columns: Vec<&String> = row
        .as_object()
        .expect("a row")
        .keys()
        .filter(|column| *column != "mfa" || table == "auth")
        .collect();
    let from = format!("json_populate_record(NULL::\"{table}\", $row${row}$row$::json) AS r");
    let sql = match dice.below(6) {
        0 => format!("DELETE FROM \"{table}\" WHERE {condition}"),
        1 => {
            let columns = columns
                .iter()
                .map(|column| format!("\"{column}\""))
                .collect::<Vec<_>>()
                .join(", ");
            format!("INSERT INTO \"{table}\" ({columns}) SELECT {columns} FROM {from}")
        }
        _ => {
            let column = columns[dice.below(columns.len())];
            format!("UPDATE \"{table}\" SET \"{column}\" = (SELECT r.\"{column}\" FROM {from}) WHERE {condition}")
        }
    };
    let sql = format!("DO $do$ BEGIN {sql}; EXCEPTION WHEN integrity_constraint_violation THEN NULL; END $do$");
    database.client.batch_execute(&sql).await?;
    Ok(sql)
}

async fn answers(database: &Database) -> Result<Vec<(String, Answer)>> {
    let mut reads: Vec<Read> = Vec::new();
    let key_digests = ["sk-0", "sk-1", "sk-2", "sk-3"].map(sha256);
    for view in &database.flavour.views {
        let keys: Vec<&str> = match view.name.as_str() {
            "app-user-by-key" => key_digests.iter().map(String::as_str).collect(),
            "user-by-email" | "app-user-by-email" | "app-users-by-email" | "app-scoped-config" => {
                vec!["a@x.org", "b@x.org", "nobody@x.org"]
            }
            "api-key" => vec!["sk-0", "sk-1", "sk-2", "sk-3"],
            "config-path" => vec!["rag.top_k", "user.permissions", "ui.note"],
            "group" | "group-members" => GROUPS.to_vec(),
            "app-api-key" => vec!["0", "1", "2"],
            "app-config" => vec!["rag.top_k", "openai.api_keys,user.permissions,no.such"],
            "function" | "app-function" | "app-function-valves" => vec!["f1", "f2"],
            "functions" => vec!["all", "pipe"],
            "app-functions" => vec!["pipe", "filter"],
            "model" | "tool" | "app-model" | "app-tool" | "access-tool" => vec!["m1", "m:2", "t1"],
            "access-model" => vec!["m1", "m:2", "f1.x", "f2", "no.such"],
            "access-function" => vec!["f1", "f2", "f3"],
            "access-prompt" => vec!["p1", "p2", "p3"],
            "access-knowledge" => vec!["k1", "k2", "k3"],
            "access-pipeline" => vec!["0:a", "1:b"],
            "models" | "tools" => vec!["all", "u1"],
            "access-grants" | "app-grants" => vec!["model:m1", "tool:m:2"],
            "app-grants-of-type" => vec!["model", "tool"],
            "config" | "app-users" | "app-models" => vec![],
            _ => USERS.to_vec(),
        };
        let count = view.path_variables().count();
        match count {
            0 => reads.extend(database.router.read_of(&view.name, &view.name, &[])),
            1 => reads.extend(keys.iter().filter_map(|key| {
                database
                    .router
                    .read_of(&view.name, &format!("{} {key}", view.name), &[key])
            })),
            _ => {
                for path in [
                    "rag.top_k",
                    "rag.openai_api_key",
                    "rag.openai.api_key",
                    "openai.api_keys",
                ] {
                    reads.extend(keys.iter().filter_map(|key| {
                        database
                            .router
                            .read_of(&view.name, &format!("{} {key} {path}", view.name), &[key, path])
                    }));
                }
            }
        }
    }
    let mut answers = Vec::new();
    for read in reads {
        answers.push((read.key.to_string(), database.run(&read).await?));
    }
    Ok(answers)
}

/// What the triggers would publish for the difference of two states.
fn published(database: &Database, before: &[Row], after: &[Row], silent: Option<&str>) -> BTreeSet<String> {
    let mut tags = BTreeSet::new();
    for table in &database.flavour.tables {
        let image = |rows: &[Row], columns: &[String]| -> BTreeMap<String, (usize, Value)> {
            let mut images: BTreeMap<String, (usize, Value)> = BTreeMap::new();
            for (_, row) in rows.iter().filter(|(name, _)| *name == table.name) {
                let seen: Vec<&Value> = columns.iter().map(|column| &row[column.as_str()]).collect();
                images.entry(format!("{seen:?}")).or_insert_with(|| (0, row.clone())).0 += 1;
            }
            images
        };
        for rule in table.tags.iter().filter(|rule| Some(rule.name.as_str()) != silent) {
            let mut columns = rule.of.clone().unwrap_or_else(|| table.columns.clone());
            columns.extend(rule.key.clone());
            let (old, new) = (image(before, &columns), image(after, &columns));
            let differs = |mine: &BTreeMap<String, (usize, Value)>, other: &BTreeMap<String, (usize, Value)>| {
                mine.iter()
                    .filter(|(image, (count, _))| other.get(*image).is_none_or(|(theirs, _)| theirs != count))
                    .map(|(_, (_, row))| row.clone())
                    .collect::<Vec<_>>()
            };
            for row in differs(&old, &new).into_iter().chain(differs(&new, &old)) {
                tags.extend(tags_of(rule, &row));
            }
        }
    }
    tags
}

fn tags_of(rule: &TagRule, row: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(each) = &rule.each {
        return row[each]
            .as_array()
            .map(|ids| ids.iter().map(|id| format!("{}:{}", rule.name, text(id))).collect())
            .unwrap_or_default();
    }
    let keys: Vec<String> = rule.key.iter().map(|key| text(&row[key])).collect();
    let keys = keys.join(":");
    let key = match (rule.lower, rule.hashed) {
        (true, _) => keys.to_lowercase(),
        (_, true) => sha256(&keys),
        _ => keys,
    };
    vec![format!("{}:{key}", rule.name)]
}

fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
