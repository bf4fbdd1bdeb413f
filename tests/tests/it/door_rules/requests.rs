//! The routes of an application with their rules, read with none of the product's code, and a request for each.

use anyhow::{Context, Result};
use neverstale_testkit::workspace;
use serde_json::{Value, json};

use super::world::id_of;

/// A route and its rule, as the file has it.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) rule: Value,
}

/// `ACTION TYPE PLACE[@PLACE] [if-known]`.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) action: String,
    pub(super) kind: String,
    pub(super) place: String,
    pub(super) server: Option<String>,
    pub(super) is_if_known: bool,
}

/// A request about what is somebody's.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: Value,
}

/// All routes of a flavour.
pub(super) fn routes(flavour: &str) -> Result<Vec<Route>> {
    let file = workspace().join(format!("flavours/routes/{flavour}.toml"));
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let document: Value = toml::from_str(&text)?;
    let routes = document["route"].as_array().context("routes")?.iter().map(|rule| {
        let (method, path) = rule["on"]
            .as_str()
            .and_then(|on| on.split_once(' '))
            .context("METHOD path")?;
        Ok(Route {
            method: method.to_owned(),
            path: path.to_owned(),
            rule: rule.clone(),
        })
    });
    routes.collect()
}

impl Route {
    pub(super) fn on(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        let texts = self.rule["check"]
            .as_array()
            .into_iter()
            .flatten()
            .chain(self.rule.get("list"));
        texts.filter_map(Value::as_str).map(Check::read).collect()
    }

    /// Whether the door asks anything.
    pub(super) fn is_guarded(&self) -> bool {
        ["check", "list", "allow"]
            .iter()
            .any(|word| self.rule.get(word).is_some())
    }

    /// A request that names what is of this owner, everywhere where the rule looks.
    pub(super) fn ask(&self, owner: &str) -> Ask {
        let (mut path, mut query, mut body) = (self.path.clone(), Vec::new(), json!({}));
        for check in self.checks() {
            let id = id_of(&check.kind, owner);
            if self.rule.get("list").is_none() {
                put(&check.place, &id, &mut path, &mut query, &mut body);
            }
            if let Some(server) = &check.server {
                put(server, "0", &mut path, &mut query, &mut body);
            }
        }
        let filled: Vec<&str> = path
            .split('/')
            .map(|piece| if piece.starts_with('{') { "x" } else { piece })
            .collect();
        let mut target = filled.join("/");
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        Ask {
            method: self.method.clone(),
            target,
            body,
        }
    }
}

impl Check {
    fn read(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let (place, server) = words[2]
            .split_once('@')
            .map_or((words[2], None), |(place, server)| (place, Some(server)));
        Self {
            action: words[0].to_owned(),
            kind: words[1].to_owned(),
            place: place.to_owned(),
            server: server.map(str::to_owned),
            is_if_known: words.get(3) == Some(&"if-known"),
        }
    }
}

/// Puts an id where a rule will look for it.
fn put(place: &str, id: &str, path: &mut String, query: &mut Vec<String>, body: &mut Value) {
    let (kind, name) = place.split_once(':').expect("a place");
    match kind {
        "path" | "command" => *path = path.replace(&format!("{{{name}}}"), id),
        "query" => {
            let pair = format!("{name}={id}");
            if !query.contains(&pair) {
                query.push(pair);
            }
        }
        "body" | "mentions" => {
            let mention = format!("<@M:{id}|somebody>");
            let id = if kind == "mentions" { &mention } else { id };
            let steps: Vec<&str> = name.trim_start_matches('/').split('/').collect();
            write(body, &steps, id);
        }
        other => unreachable!("place {other}"),
    }
}

fn write(value: &mut Value, steps: &[&str], id: &str) {
    match steps {
        // The index of a server is a number.
        [] => *value = if id == "0" { json!(0) } else { json!(id) },
        ["*", rest @ ..] => {
            if !value.is_array() {
                *value = json!([]);
            }
            let mut element = Value::Null;
            write(&mut element, rest, id);
            value.as_array_mut().expect("an array").push(element);
        }
        [name, rest @ ..] => {
            if !value.is_object() {
                *value = json!({});
            }
            write(&mut value[*name], rest, id);
        }
    }
}

/// The answer of a route that lists: something of A's, something of B's, and something that nobody knows.
pub(super) fn list_answer(route: &Route) -> (String, Vec<(&'static str, String)>) {
    let check = &route.checks()[0];
    let steps: Vec<&str> = check.place.trim_start_matches("body:/").split('/').collect();
    let name = *steps.last().expect("the name of ids");
    let id = |owner: &str| {
        let id = id_of(&check.kind, owner);
        if name == "command" { format!("/{id}") } else { id }
    };
    let ids = vec![("a", id("a")), ("b", id("b")), ("nobody", "zz".to_owned())];
    let elements = ids
        .iter()
        .map(|(_, id)| json!({name: id, "valves": {"key": "secret"}, "meta": {"of": id}}))
        .collect();
    let mut answer = Value::Array(elements);
    for way in steps[..steps.len() - 2].iter().rev() {
        let mut around = json!({"total": 3});
        around[*way] = answer;
        answer = around;
    }
    (answer.to_string(), ids)
}
