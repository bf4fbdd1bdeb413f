//! Who may do what, written down slowly and obviously, over the rows of a database: what a decision must say.
//!
//! It gathers every reason there is to allow, and the first in the order of the tiers is the answer. It shares nothing with the
//! product but the names.

use neverstale_rbac::{Action, ResourceType, Tier};
use serde_json::{Value, json};

use crate::world::Rows;

/// A database, and the application whose it is.
pub(crate) struct Specification<'w> {
    pub(crate) flavour: &'w str,
    pub(crate) rows: &'w Rows,
}

impl<'w> Specification<'w> {
    /// The tier that allows; none where nothing does.
    pub(crate) fn tier(&self, user_id: &str, action: Action, kind: ResourceType, id: &str) -> Option<Tier> {
        let user = self.one("user", "id", user_id)?;
        if user["role"] != "user" && user["role"] != "admin" {
            return None;
        }
        let tier = self.reasons(user, action, kind, id).into_iter().min()?;
        let is_use_of_a_model = kind == ResourceType::Model && action == Action::Execute;
        if is_use_of_a_model && !self.is_foundation_usable(user, id, tier) {
            return None;
        }
        Some(tier)
    }

    /// Whether there is a row.
    pub(crate) fn exists(&self, kind: ResourceType, id: &str) -> bool {
        self.row(kind, id).is_some()
    }

    fn reasons(&self, user: &Value, action: Action, kind: ResourceType, id: &str) -> Vec<Tier> {
        let row = self.row(kind, id);
        let is_admin = user["role"] == "admin";
        let is_of_the_application = !matches!(kind, ResourceType::Function | ResourceType::Pipeline);
        if action == Action::Execute && row.is_some_and(|row| row["is_active"] == false) {
            return Vec::new();
        }
        let mut reasons = Vec::new();
        if self.is_super_admin(user) {
            reasons.push(Tier::SuperAdmin);
        }
        let Some(row) = row else {
            if kind == ResourceType::Model && is_admin {
                reasons.push(Tier::Admin);
            }
            return reasons;
        };
        let owner = if kind == ResourceType::Pipeline {
            &row["owner_id"]
        } else {
            &row["user_id"]
        };
        if *owner == user["id"] {
            reasons.push(Tier::Owner);
        }
        if is_of_the_application && is_admin && !self.is_naga() {
            reasons.push(Tier::Admin);
        }
        let permissions: &[&str] = match (action, kind) {
            (Action::ReadValves, ResourceType::Tool) | (Action::Write, _) => &["write"],
            (Action::ReadValves, _) => &[],
            (Action::Read | Action::Execute, _) if self.is_naga() && is_of_the_application => &["read", "write"],
            (Action::Read | Action::Execute, _) => &["read"],
        };
        for permission in permissions {
            reasons.extend(self.grants(user, kind, id, row, permission));
        }
        reasons
    }

    /// What grants of one permission give.
    fn grants(&self, user: &Value, kind: ResourceType, id: &str, row: &Value, permission: &str) -> Vec<Tier> {
        let mut reasons = Vec::new();
        let groups = self.groups(user);
        let is_overlaid = matches!(kind, ResourceType::Function | ResourceType::Pipeline);
        if is_overlaid || !self.is_12() {
            let control = if is_overlaid {
                self.overlay(kind, id)
            } else {
                row["access_control"].clone()
            };
            if control.is_null() && !is_overlaid && self.flavour.ends_with("0.6") && permission == "read" {
                reasons.push(Tier::Direct);
            }
            let listed =
                |list: &str, id: &Value| control[permission][list].as_array().is_some_and(|ids| ids.contains(id));
            if listed("user_ids", &user["id"]) || is_overlaid && listed("user_ids", &json!("*")) {
                reasons.push(Tier::Direct);
            }
            if groups.iter().any(|group| listed("group_ids", group)) {
                reasons.push(Tier::Group);
            }
            return reasons;
        }
        for grant in &self.rows["access_grant"] {
            let is_of_it = grant["resource_type"] == kind.name() && grant["resource_id"] == id;
            if !is_of_it || grant["permission"] != permission {
                continue;
            }
            let principal = &grant["principal_id"];
            if grant["principal_type"] == "user" && (*principal == "*" || *principal == user["id"]) {
                reasons.push(Tier::Direct);
            }
            if grant["principal_type"] == "group" && groups.contains(principal) {
                reasons.push(Tier::Group);
            }
        }
        reasons
    }

    /// Whether a user who was allowed a model by a tier may use what it is built on.
    fn is_foundation_usable(&self, user: &Value, id: &str, tier: Tier) -> bool {
        let mut chain: Vec<String> = vec![id.to_owned()];
        while let Some(base) = self
            .one("model", "id", chain.last().expect("one at least"))
            .and_then(|model| model["base_model_id"].as_str())
            && !chain.iter().any(|known| known == base)
        {
            chain.push(base.to_owned());
        }
        let mut owner_above = &Value::Null;
        for (place, model_id) in chain.iter().enumerate() {
            let must_be_readable = place > 0 && self.is_12();
            if must_be_readable
                && self
                    .reasons(user, Action::Read, ResourceType::Model, model_id)
                    .is_empty()
            {
                return false;
            }
            let owner = self
                .one("model", "id", model_id)
                .map_or(owner_above, |model| &model["user_id"]);
            let pipe = model_id.split('.').next().expect("one at least");
            if let Some(function) = self.one("function", "id", pipe) {
                let is_lent = tier != Tier::Admin && !owner.is_null() && *owner == function["user_id"];
                let is_allowed = !self
                    .reasons(user, Action::Execute, ResourceType::Function, pipe)
                    .is_empty();
                if function["is_active"] == false || !is_lent && !is_allowed {
                    return false;
                }
            }
            owner_above = owner;
        }
        true
    }

    /// Ids of the groups that count for a user.
    fn groups(&self, user: &Value) -> Vec<Value> {
        let all = &self.rows["group"];
        let mut ids: Vec<Value> = if self.is_naga() {
            let is_of = |group: &&Value| {
                group["user_id"] == user["id"]
                    || group["user_ids"]
                        .as_array()
                        .is_some_and(|ids| ids.contains(&user["id"]))
            };
            all.iter().filter(is_of).map(|group| group["id"].clone()).collect()
        } else {
            let members = self.rows["group_member"]
                .iter()
                .filter(|member| member["user_id"] == user["id"]);
            members.map(|member| member["group_id"].clone()).collect()
        };
        if self.is_12() {
            for _ in 0..all.len() {
                for group in all {
                    if ids.contains(&group["id"]) && !ids.contains(&group["parent_group_id"]) {
                        ids.push(group["parent_group_id"].clone());
                    }
                }
            }
        }
        ids.retain(|id| all.iter().any(|group| group["id"] == *id));
        ids
    }

    fn is_super_admin(&self, user: &Value) -> bool {
        let rank = |user: &Value| {
            let admins_first = self.is_12() && user["role"] != "admin";
            (
                user["created_at"].as_i64(),
                admins_first,
                user["id"].as_str().map(str::to_owned),
            )
        };
        let is_first = self.rows["user"].iter().all(|other| rank(user) <= rank(other));
        is_first && (self.is_naga() || user["role"] == "admin")
    }

    fn overlay(&self, kind: ResourceType, id: &str) -> Value {
        let found = self.rows["access_overlay"]
            .iter()
            .find(|row| row["resource_type"] == kind.name() && row["resource_id"] == id);
        found.map_or(Value::Null, |row| row["access_control"].clone())
    }

    fn row(&self, kind: ResourceType, id: &str) -> Option<&'w Value> {
        match kind {
            ResourceType::Pipeline => self.rows["access_overlay"]
                .iter()
                .find(|row| row["resource_type"] == "pipeline" && row["resource_id"] == id),
            ResourceType::Prompt if !self.is_12() => self.one("prompt", "command", id),
            kind => self.one(kind.name(), "id", id),
        }
    }

    fn one(&self, table: &str, key: &str, value: &str) -> Option<&'w Value> {
        self.rows[table].iter().find(|row| row[key] == value)
    }

    fn is_naga(&self) -> bool {
        self.flavour.starts_with("naga")
    }

    fn is_12(&self) -> bool {
        self.flavour.ends_with("0.12")
    }
}
