//! How to have it otherwise: the command line that changes a grant of ours, or where the application keeps its own.

use neverstale_rbac::{Decision, Grant, LookedFor, Permission, Principal, ResourceRef, ResourceType, Tier};
use serde::Serialize;

/// What to do.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Advice {
    text: String,
    /// Ready to be copied into a shell; none where no command of ours does it.
    command: Option<String>,
}

/// Says what would turn a decision around.
pub(super) fn on(decision: &Decision, user: &str, resource: &ResourceRef) -> Advice {
    match (decision.tier, &decision.grant, &decision.looked_for) {
        (Some(Tier::SuperAdmin), ..) => {
            told("Super admins are the first user, and whom the option super_admin_emails names.")
        }
        (Some(Tier::Owner), ..) => told("An owner always may. Somebody else would have to own it."),
        (Some(Tier::Admin), ..) => {
            told("Every admin may. It ends with the role of admin, in the application's administration of users.")
        }
        (Some(_), Some(grant), _) => take_away(grant, resource),
        (_, _, Some(looked_for)) => give(looked_for, user, resource),
        _ => told(""),
    }
}

fn take_away(grant: &Grant, resource: &ResourceRef) -> Advice {
    if !resource.kind.is_overlaid() {
        return told(format!("To take it away, {}.", in_the_application(resource.kind)));
    }
    let whose = match &grant.principal {
        Principal::User(_) => "this person",
        Principal::Group(_) => "the whole group",
        Principal::Everyone => "everybody",
    };
    Advice {
        text: format!("To take this grant away from {whose}; another one may still allow it:"),
        command: Some(command("revoke", resource, grant)),
    }
}

fn give(looked_for: &LookedFor, user: &str, resource: &ResourceRef) -> Advice {
    let grant = |permission| Grant {
        principal: Principal::User(user.to_owned()),
        permission,
    };
    let by_command = |what: &ResourceRef, permission| Advice {
        text: "To allow it; with --group and the group's id instead of --user for a whole group:".to_owned(),
        command: Some(command("grant", what, &grant(permission))),
    };
    match looked_for {
        LookedFor::Grant(permission) if resource.kind.is_overlaid() => by_command(resource, *permission),
        LookedFor::Grant(_) => told(format!("To allow it, {}.", in_the_application(resource.kind))),
        LookedFor::Base(what) if what.kind.is_overlaid() => by_command(what, Permission::Read),
        LookedFor::Base(what) => told(format!(
            "To allow it, let the person use the {what} too: {}.",
            in_the_application(what.kind)
        )),
        LookedFor::Resource if resource.kind == ResourceType::Pipeline => by_command(resource, Permission::Read),
        LookedFor::Resource => told("Look for it by its name; the id may be of something that was deleted."),
        LookedFor::Subject => told("Look for the person by name; the id may be of somebody who was deleted."),
        LookedFor::Role(_) => told("Give the person the role of user, in the application's administration of users."),
        LookedFor::Active(_) => told("Switch it on in the application."),
        LookedFor::Owner(_) => {
            told("Its owner may, and super admins. Values that it runs with may be keys, so they are nobody else's.")
        }
    }
}

fn in_the_application(kind: ResourceType) -> String {
    let place = match kind {
        ResourceType::Model => "Models",
        ResourceType::Tool => "Tools",
        ResourceType::Prompt => "Prompts",
        ResourceType::Knowledge => "Knowledge",
        ResourceType::Function => "Functions",
        ResourceType::Pipeline => "Pipelines",
    };
    format!("change who has access in the application, under Workspace, {place}")
}

fn told(text: impl Into<String>) -> Advice {
    let text = text.into();
    Advice { text, command: None }
}

/// The command line; a `--` keeps an id that looks like an option from being one.
fn command(verb: &str, resource: &ResourceRef, grant: &Grant) -> String {
    let whom = match &grant.principal {
        Principal::User(id) => format!("--user={}", quoted(id)),
        Principal::Group(id) => format!("--group={}", quoted(id)),
        Principal::Everyone => "--everybody".to_owned(),
    };
    let write = match grant.permission {
        Permission::Write => " --write",
        Permission::Read => "",
    };
    let guard = if resource.id.starts_with('-') { "-- " } else { "" };
    format!(
        "neverstale access {verb} {whom}{write} {guard}{} {}",
        resource.kind,
        quoted(&resource.id)
    )
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(looked_for: LookedFor, user: &str, kind: ResourceType, id: &str) -> Option<String> {
        on(&Decision::denied(looked_for), user, &ResourceRef::new(kind, id)).command
    }

    #[test]
    fn a_command_is_one_word_for_each_id_whatever_is_in_it() {
        let read = || LookedFor::Grant(Permission::Read);
        let asked = |user, id| refused(read(), user, ResourceType::Function, id).unwrap();
        assert_eq!(
            asked("u1", "my_pipe"),
            "neverstale access grant --user=u1 function my_pipe"
        );
        assert_eq!(
            asked("it's; rm -rf ~", "$(reboot)"),
            r"neverstale access grant --user='it'\''s; rm -rf ~' function '$(reboot)'"
        );
        assert_eq!(asked("-x", "-y"), "neverstale access grant --user=-x -- function -y");
    }

    #[test]
    fn to_take_one_grant_away_is_not_said_to_be_the_end_of_it() {
        let grant = Grant {
            principal: Principal::Group("g".to_owned()),
            permission: Permission::Read,
        };
        let pipe = ResourceRef::new(ResourceType::Function, "f");
        let decision = Decision {
            allowed: true,
            tier: Some(Tier::Group),
            grant: Some(grant),
            looked_for: None,
        };
        let advice = on(&decision, "u", &pipe);
        assert_eq!(
            (advice.text.as_str(), advice.command.as_deref()),
            (
                "To take this grant away from the whole group; another one may still allow it:",
                Some("neverstale access revoke --group=g function f")
            )
        );
    }

    #[test]
    fn what_the_application_grants_is_granted_there() {
        let grant = LookedFor::Grant(Permission::Write);
        assert_eq!(
            refused(grant.clone(), "u", ResourceType::Pipeline, "0:p").as_deref(),
            Some("neverstale access grant --user=u --write pipeline 0:p")
        );
        let advice = on(
            &Decision::denied(grant),
            "u",
            &ResourceRef::new(ResourceType::Tool, "t"),
        );
        assert!(advice.command.is_none() && advice.text.contains("Tools"), "{advice:?}");
        let pipe = ResourceRef::new(ResourceType::Function, "f");
        assert_eq!(
            refused(LookedFor::Base(pipe), "u", ResourceType::Model, "f.m").as_deref(),
            Some("neverstale access grant --user=u function f")
        );
    }
}
