//! Compares what views give with what the oracle says, on one random world.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use neverstale_flavour::Router;
use serde_json::{Value, json};

use crate::oracle::{Oracle, walk};
use crate::server::Database;
use crate::world::{self, Dice, PATHS, USERS};

pub(crate) async fn compare(database: &Database, seed: u64) -> Result<()> {
    let rows = world::fill(database, &mut Dice::new(seed)).await?;
    let flavour = &database.flavour;
    let oracle = Oracle {
        flavour: &flavour.name,
        rows: &rows,
    };
    let compiled: Value = serde_json::from_str(
        &flavour
            .options
            .iter()
            .find(|option| option.name == "default_permissions")
            .context("option")?
            .default,
    )?;
    for id in USERS {
        let path = format!("/v1/users/{}", id.replace(' ', "%20").replace('/', "%2F"));
        let Some(user) = oracle.user(id) else {
            for tail in [
                "",
                "/role",
                "/groups",
                "/permissions",
                "/settings",
                "/settings/rag.top_k",
                "/virtual-keys",
                "/virtual-keys/rag.openai_api_key",
            ] {
                let answer = database.ask(&format!("{path}{tail}")).await?;
                ensure!(
                    answer.body.is_none() && !answer.tags.is_empty(),
                    "{path}{tail} of an unknown user: {answer:?}"
                );
            }
            continue;
        };
        let answer = async |tail: &str| {
            database
                .ask(&format!("{path}{tail}"))
                .await
                .map(|answer| answer.body.unwrap_or_default())
        };
        let body = answer("").await?;
        ensure!(
            body["email"] == user["email"] && body["id"] == id && body.get("api_key").is_none(),
            "{body}"
        );
        expect(
            &answer("/role").await?,
            &json!({"id": id, "role": user["role"], "super_admin": oracle.is_super_admin(user)}),
            "role",
        )?;
        let ids = |groups: &[Value]| json!(groups.iter().map(|group| &group["id"]).collect::<Vec<_>>());
        let groups: Vec<Value> = oracle.groups(id).into_iter().cloned().collect();
        expect(
            &ids(answer("/groups").await?.as_array().context("groups")?),
            &ids(&groups),
            "groups",
        )?;
        expect(
            &answer("/permissions").await?,
            &oracle.permissions(id, &compiled),
            "permissions",
        )?;
        if flavour.name.starts_with("naga") {
            naga(database, &oracle, user, &path).await?;
        } else {
            upstream(&oracle, &answer("/settings").await?, &answer("/virtual-keys").await?)?;
        }
    }
    let config = database.ask("/v1/config").await?.body.context("config")?.to_string();
    ensure!(!config.contains("sk-1"), "a secret in the configuration: {config}");
    keys(database, &oracle).await
}

fn expect(given: &Value, right: &Value, what: &str) -> Result<()> {
    ensure!(given == right, "{what}:\n  given {given}\n  right {right}");
    Ok(())
}

async fn naga(database: &Database, oracle: &Oracle<'_>, user: &Value, path: &str) -> Result<()> {
    for deterministic in [false, true] {
        let options = BTreeMap::from([(
            "deterministic".to_owned(),
            if deterministic { "on" } else { "off" }.to_owned(),
        )]);
        let router = Router::new(database.flavour.clone(), &options)?;
        let ask = async |tail: &str| {
            database
                .ask_with(&router, &format!("{path}{tail}"))
                .await
                .map(|answer| answer.body)
        };
        let settings = ask("/settings").await?.context("settings")?;
        let keys = ask("/virtual-keys").await?.context("virtual keys")?;
        for setting in &database.flavour.settings {
            let (value, source) = oracle.setting(user, &setting.path, &setting.default, deterministic);
            let right = json!({"path": setting.path, "value": value, "source": source});
            let one = ask(&format!("/settings/{}", setting.path)).await?;
            let key = ask(&format!("/virtual-keys/{}", setting.path)).await?;
            if setting.secret {
                ensure!(
                    one.is_none() && settings["values"].get(&setting.path).is_none(),
                    "a secret among settings: {}",
                    setting.path
                );
                let is_key = source != "default" && ![json!(null), json!(""), json!([]), json!({})].contains(&value);
                ensure!(
                    key == is_key.then_some(right),
                    "key {}: {key:?}, but {value} from {source}",
                    setting.path
                );
                let listed = keys["keys"]
                    .as_array()
                    .context("keys")?
                    .iter()
                    .any(|key| key["path"] == setting.path && key["source"] == source);
                ensure!(
                    listed == is_key,
                    "list of keys: {keys}, but {} has {value} from {source}",
                    setting.path
                );
            } else {
                ensure!(key.is_none(), "no key: {}", setting.path);
                expect(&one.context("setting")?, &right, "setting")?;
                expect(
                    &settings["values"][&setting.path],
                    &json!({"value": value, "source": source}),
                    &setting.path,
                )?;
            }
        }
        for default in [
            json!(false),
            json!(1),
            json!("x"),
            json!(["t", 1, 1]),
            json!({"key": 1}),
        ] {
            let asked = ask(&format!(
                "/settings/rag.template?default={}",
                default.to_string().replace('"', "%22")
            ))
            .await?;
            let (value, source) = oracle.setting(user, "rag.template", &default, deterministic);
            // A structure that looks as if it held a secret is withheld; the worlds hold one such.
            if !value.to_string().contains("\"z\"") {
                expect(
                    &asked.context("template")?,
                    &json!({"path": "rag.template", "value": value, "source": source}),
                    "template",
                )?;
            }
        }
    }
    Ok(())
}

fn upstream(oracle: &Oracle<'_>, settings: &Value, keys: &Value) -> Result<()> {
    let mut right = BTreeMap::new();
    let mut right_keys = Vec::new();
    let is_set = |value: &Value| ![json!(null), json!(""), json!([]), json!([""]), json!({})].contains(value);
    if oracle.flavour.ends_with("0.12") {
        for row in oracle.all("config") {
            right.insert(row["key"].as_str().unwrap_or_default().to_owned(), row["value"].clone());
        }
    } else {
        let document = oracle.document();
        for path in PATHS {
            if let Some(value) = walk(&document, path).filter(|value| !value.is_object()) {
                right.insert(path.to_owned(), value.clone());
            }
        }
    }
    for (path, value) in right {
        let is_secret = path.contains("api_key") || path.contains("connections");
        if is_secret && is_set(&value) {
            right_keys.push(path.clone());
        }
        match &value {
            Value::Bool(_) | Value::Number(_) | Value::Null => {
                expect(&settings["values"][&path]["value"], &value, &path)?;
            }
            _ if is_secret => ensure!(
                settings["values"].get(&path).is_none(),
                "a secret among settings: {path}"
            ),
            _ if value.to_string().contains("\"key\":") => {}
            _ => expect(&settings["values"][&path]["value"], &value, &path)?,
        }
    }
    // Keys that upstream's list does not name are secret by their name only.
    right_keys.retain(|path| *path != "rag.web.search.tavily_api_key" || oracle.flavour.ends_with("0.6"));
    let given: Vec<&str> = keys["keys"]
        .as_array()
        .context("keys")?
        .iter()
        .filter_map(|key| key["path"].as_str())
        .collect();
    right_keys.sort();
    if !oracle.flavour.ends_with("0.6") || oracle.document().is_object() {
        let known = [
            "rag.openai.api_key",
            "rag.openai_api_key",
            "openai.api_keys",
            "tool_server.connections",
            "rag.web.search.tavily_api_key",
        ];
        let objects_too: Vec<&str> = given.iter().copied().filter(|path| known.contains(path)).collect();
        ensure!(
            right_keys.iter().all(|path| objects_too.contains(&path.as_str())),
            "keys {given:?}, but {right_keys:?}"
        );
    }
    Ok(())
}

async fn keys(database: &Database, oracle: &Oracle<'_>) -> Result<()> {
    for number in 0..4 {
        let key = format!("sk-{number}");
        let read = database
            .router
            .read_of("api-key", "api-keys:hash", &[&key])
            .context("api-key")?;
        let answer = database.run(&read).await?;
        let (owner, right) = if database.flavour.name.starts_with("naga") {
            let user = oracle.all("user").into_iter().find(|user| user["api_key"] == key);
            (user.map(|user| user["id"].clone()), None)
        } else {
            let row = oracle
                .all("api_key")
                .into_iter()
                .find(|row| row["key"] == key && row["expires_at"] != 1);
            (
                row.map(|row| row["user_id"].clone()),
                row.and_then(|row| row["expires_at"].as_i64()),
            )
        };
        ensure!(
            answer.body.as_ref().map(|body| body["user"]["id"].clone()) == owner,
            "owner of {key}: {answer:?}"
        );
        ensure!(answer.not_after == right, "expiry of {key}: {answer:?}");
        ensure!(!format!("{answer:?}").contains(&key), "the key itself is in {answer:?}");
    }
    Ok(())
}
