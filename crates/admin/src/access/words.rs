//! A decision in words for a person who has never read how decisions are made.

use neverstale_rbac::{Decision, Grant, LookedFor, Permission, Person, Principal, ResourceRef, Roster, Tier};

/// Says why something is allowed or refused: the rest of a sentence that begins with somebody's name. `is_open` is whether the
/// resource is everybody's because its access was never set.
pub(super) fn because(
    decision: &Decision,
    person: Option<&Person>,
    roster: &Roster,
    resource: &ResourceRef,
    is_open: bool,
) -> String {
    match (decision.tier, &decision.grant, &decision.looked_for) {
        (Some(Tier::SuperAdmin), ..) => "is a super admin, who may do everything".to_owned(),
        (Some(Tier::Owner), ..) => "owns it".to_owned(),
        (Some(Tier::Admin), ..) => "is an admin, and the application lets every admin do this".to_owned(),
        (Some(_), Some(grant), _) => by_grant(grant, person, roster, is_open),
        (Some(_), None, _) => "is allowed".to_owned(),
        (None, _, Some(looked_for)) => not(looked_for, resource),
        (None, _, None) => "is refused".to_owned(),
    }
}

fn by_grant(grant: &Grant, person: Option<&Person>, roster: &Roster, is_open: bool) -> String {
    let to = match grant.permission {
        Permission::Read => "a grant to see and to use it",
        Permission::Write => "a grant to change it",
    };
    match &grant.principal {
        Principal::User(_) => format!("has {to}"),
        Principal::Everyone if is_open => {
            "is somebody, and its access was never set, which this application takes for everybody's".to_owned()
        }
        Principal::Everyone => format!("is somebody, and everybody has {to}"),
        Principal::Group(id) => {
            let name = group(roster, id);
            match person.map(|person| roster.way(person, id)).as_deref() {
                Some([_]) => format!("is in the group {name}, which has {to}"),
                Some([first, ..]) => format!(
                    "is in the group {}, and so in {name} above it, which has {to}",
                    group(roster, first)
                ),
                _ => format!("owns the group {name}, which has {to}"),
            }
        }
    }
}

fn not(looked_for: &LookedFor, resource: &ResourceRef) -> String {
    match looked_for {
        LookedFor::Subject => "is no user of this application".to_owned(),
        LookedFor::Role(role) if role.is_empty() => "has no role, and may do nothing at all".to_owned(),
        LookedFor::Role(role) => format!("has the role “{role}”, which may do nothing at all"),
        LookedFor::Resource => format!("may not: nothing is known of a {resource}"),
        LookedFor::Active(what) if what == resource => "may not: it is switched off, for everybody".to_owned(),
        LookedFor::Active(what) => format!("may not: the {what}, on which it runs, is switched off for everybody"),
        LookedFor::Owner(_) => "does not own it, and no grant is enough for this".to_owned(),
        LookedFor::Grant(Permission::Read) => {
            "does not own it, and there is no grant to see and to use it for this person, for a group of theirs, or for everybody"
                .to_owned()
        }
        LookedFor::Grant(Permission::Write) => {
            "does not own it, and there is no grant to change it for this person, for a group of theirs, or for everybody".to_owned()
        }
        LookedFor::Base(what) => format!("may use the model itself, but not the {what}, on which it is built"),
    }
}

/// A group as a person knows it.
pub(super) fn group<'r>(roster: &'r Roster, id: &'r str) -> &'r str {
    roster.group(id).filter(|name| !name.is_empty()).unwrap_or(id)
}
