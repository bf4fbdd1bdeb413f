//! The application's rules for groups, settings, permissions and roles, written down slowly and obviously, over rows in memory.

use std::cmp::Reverse;

use serde_json::{Map, Value, json};

use crate::world::Row;

/// A world and the flavour by whose rules it is read.
pub(crate) struct Oracle<'w> {
    pub(crate) flavour: &'w str,
    pub(crate) rows: &'w [Row],
}

impl<'w> Oracle<'w> {
    pub(crate) fn all(&self, table: &str) -> Vec<&'w Value> {
        self.rows
            .iter()
            .filter(|(name, _)| *name == table)
            .map(|(_, row)| row)
            .collect()
    }

    fn is_naga(&self) -> bool {
        self.flavour.starts_with("naga")
    }

    fn is_12(&self) -> bool {
        self.flavour.ends_with("0.12")
    }

    pub(crate) fn user(&self, id: &str) -> Option<&'w Value> {
        self.all("user").into_iter().find(|user| user["id"] == id)
    }

    /// Groups in the order of precedence; NULL first, as `ORDER BY updated_at DESC` has it.
    pub(crate) fn groups(&self, user: &str) -> Vec<&'w Value> {
        let all = self.all("group");
        let mut ids: Vec<&str> = if self.is_naga() {
            all.iter()
                .filter(|group| {
                    group["user_ids"]
                        .as_array()
                        .is_some_and(|ids| ids.contains(&json!(user)))
                })
                .map(|group| text(&group["id"]))
                .collect()
        } else {
            self.all("group_member")
                .iter()
                .filter(|member| member["user_id"] == user)
                .map(|member| text(&member["group_id"]))
                .collect()
        };
        if self.is_12() {
            let mut next = 0;
            while next < ids.len() {
                let parent = all
                    .iter()
                    .find(|group| group["id"] == ids[next])
                    .and_then(|group| group["parent_group_id"].as_str());
                if let Some(parent) = parent
                    && !ids.contains(&parent)
                {
                    ids.push(parent);
                }
                next += 1;
            }
        }
        let mut groups: Vec<&Value> = all
            .into_iter()
            .filter(|group| ids.contains(&text(&group["id"])))
            .collect();
        groups.sort_by_key(|group| {
            (
                !group["updated_at"].is_null(),
                Reverse(group["updated_at"].as_i64()),
                text(&group["id"]),
            )
        });
        groups
    }

    pub(crate) fn is_super_admin(&self, user: &Value) -> bool {
        let role_rank = |user: &Value| usize::from(self.is_12() && user["role"] != "admin");
        let first = self
            .all("user")
            .into_iter()
            .min_by_key(|user| (user["created_at"].as_i64(), role_rank(user), text(&user["id"])));
        first.is_some_and(|first| first["id"] == user["id"]) && (self.is_naga() || user["role"] == "admin")
    }

    /// The global document of flavours that have one.
    pub(crate) fn document(&self) -> Value {
        let rows = self.all("config");
        let row = if self.is_naga() {
            let mut own: Vec<&&Value> = rows.iter().filter(|row| row["email"] == "system@default").collect();
            own.sort_by_key(|row| row["id"].as_i64());
            own.first()
                .copied()
                .or_else(|| rows.iter().max_by_key(|row| row["id"].as_i64()))
        } else {
            rows.iter().max_by_key(|row| row["id"].as_i64())
        };
        row.map_or(json!({}), |row| row["data"].clone())
    }

    pub(crate) fn permissions(&self, user: &str, compiled: &Value) -> Value {
        let mut permissions = if self.is_12() {
            let row = self
                .all("config")
                .into_iter()
                .find(|row| row["key"] == "user.permissions");
            let mut configured = row.map_or(json!({}), |row| row["value"].clone());
            fill(&mut configured, compiled);
            configured
        } else {
            match walk(&self.document(), "user.permissions") {
                None | Some(Value::Null) => compiled.clone(),
                Some(configured) => configured.clone(),
            }
        };
        for group in self.groups(user) {
            combine(&mut permissions, &group["permissions"]);
        }
        permissions
    }

    /// NAGA's inheritance: the value of a path and where it comes from.
    pub(crate) fn setting(&self, user: &Value, path: &str, default: &Value, deterministic: bool) -> (Value, Value) {
        let data = |email: &str| {
            let mut rows: Vec<&Value> = self
                .all("config")
                .into_iter()
                .filter(|row| row["email"] == email)
                .collect();
            rows.sort_by_key(|row| row["id"].as_i64());
            rows.first().map(|row| &row["data"])
        };
        let mut sources: Vec<(Value, &str)> = Vec::new();
        if user["role"] == "admin" {
            sources.push((json!("own"), text(&user["email"])));
        } else {
            let mut groups = self.groups(text(&user["id"]));
            if deterministic {
                let priority = |group: &Value| {
                    let priority = &group["meta"]["priority"];
                    priority
                        .as_f64()
                        .or_else(|| priority.as_str().and_then(|text| text.parse().ok()))
                        .map(|number| (number * 10.0) as i64)
                };
                groups.sort_by_key(|group| (priority(group).is_none(), Reverse(priority(group)), text(&group["id"])));
            }
            for group in groups {
                if let Some(email) = group["created_by"].as_str().filter(|email| !email.is_empty()) {
                    sources.push((
                        json!({"group": {"id": group["id"], "name": group["name"]}, "admin": email}),
                        email,
                    ));
                }
            }
        }
        for (source, email) in sources {
            if let Some(value) = data(email).and_then(|data| walk(data, path))
                && (deterministic || !python_equal(value, default))
            {
                return (value.clone(), source);
            }
        }
        (default.clone(), json!("default"))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Follows a dotted path through objects only.
pub(crate) fn walk<'v>(document: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.')
        .try_fold(document, |value, part| value.as_object()?.get(part))
}

/// Equality as Python has it for parsed JSON.
fn python_equal(left: &Value, right: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Number(number) => number.as_f64(),
        _ => None,
    };
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| python_equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| python_equal(value, other)))
        }
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => (left - right).abs() < f64::EPSILON,
            _ => left == right,
        },
    }
}

fn combine(permissions: &mut Value, more: &Value) {
    let (Some(permissions), Some(more)) = (permissions.as_object_mut(), more.as_object()) else {
        return;
    };
    for (key, value) in more {
        if value.is_object() {
            combine(
                permissions.entry(key).or_insert_with(|| Value::Object(Map::new())),
                value,
            );
        } else {
            let known = permissions.entry(key).or_insert_with(|| value.clone());
            if *known == json!(false) {
                *known = value.clone();
            }
        }
    }
}

fn fill(permissions: &mut Value, defaults: &Value) {
    let (Some(permissions), Some(defaults)) = (permissions.as_object_mut(), defaults.as_object()) else {
        return;
    };
    for (key, value) in defaults {
        match permissions.get_mut(key) {
            None => drop(permissions.insert(key.clone(), value.clone())),
            Some(known) => fill(known, value),
        }
    }
}
