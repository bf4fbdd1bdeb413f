//! What must become of a request: slow and obvious, from the rule, the actor, and whose the things are.

use neverstale_testkit::Application;
use serde_json::Value;

use super::{
    actors::Actor,
    requests::{Check, Route},
    world::{OWNERS, id_of},
};

/// Whether a request about what is of an owner must reach the application.
pub(super) fn is_allowed(application: Application, route: &Route, actor: &Actor, owner: &str) -> bool {
    if actor.user.is_none() {
        return false;
    }
    if actor.role == "pending" {
        return false;
    }
    match route.rule.get("allow").and_then(Value::as_str) {
        Some("signed-in") => return true,
        Some("admins") => return actor.role == "admin",
        Some("super-admins") => return actor.user == Some("u1"),
        Some(other) => unreachable!("allow {other}"),
        None => {}
    }
    if route.rule.get("list").is_some() {
        return true;
    }
    route.checks().iter().all(|check| may(application, actor, check, owner))
}

/// Whether an actor has a right to what is of an owner.
pub(super) fn may(application: Application, actor: &Actor, check: &Check, owner: &str) -> bool {
    let Some(user) = actor.user else {
        return false;
    };
    if actor.role == "pending" {
        return false;
    }
    if user == "u1" {
        return true;
    }
    let (_, owning_user) = OWNERS.iter().find(|(mark, _)| *mark == owner).expect("an owner");
    let is_owner = user == *owning_user;
    if check.kind == "user" {
        // The owners are admins, whom nobody administers but they themselves.
        assert_eq!(id_of("user", owner), *owning_user);
        return is_owner;
    }
    if is_owner {
        return true;
    }
    if check.kind == "group" {
        return false;
    }
    let is_of_the_application = !matches!(check.kind.as_str(), "function" | "pipeline");
    let lets_admins = application != Application::Naga0518;
    if is_of_the_application && lets_admins && actor.role == "admin" {
        return true;
    }
    // Each owner has granted her group to read.
    let member = if owner == "a" { "u4" } else { "u5" };
    user == member && matches!(check.action.as_str(), "read" | "execute")
}
