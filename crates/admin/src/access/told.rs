//! People, resources and decisions as the page is told them.

use neverstale_rbac::{Decision, Grant, Person, Principal, ResourceFacts, ResourceRef, Roster};
use serde_json::{Value, json};

use super::words;

/// Grants of a resource that are told one by one; of the others their number.
pub(super) const GRANTS: usize = 200;

pub(super) fn person(person: &Person) -> Value {
    let subject = &person.subject;
    json!({ "id": subject.id, "name": person.name, "email": person.email, "role": subject.role, "super_admin": subject.super_admin })
}

/// A person, with every group that counts and the way into it.
pub(super) fn person_with_groups(one: &Person, roster: &Roster) -> Value {
    let named = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| words::group(roster, id).to_owned()).collect() };
    let groups = one
        .subject
        .groups
        .iter()
        .map(|id| json!({ "id": id, "name": words::group(roster, id), "way": named(&roster.way(one, id)) }));
    let owned = one.subject.groups_owned.iter();
    let owned = owned.map(|id| json!({ "id": id, "name": words::group(roster, id), "owned": true }));
    let mut told = person(one);
    told["groups"] = groups.chain(owned).collect();
    told
}

/// A resource with its grants; `exists` is whether anything is known of it.
pub(super) fn resource(
    resource: &ResourceRef,
    name: Option<&str>,
    known: Option<&ResourceFacts>,
    is_open: bool,
    named: &Roster,
) -> Value {
    let mut told = json!({ "type": resource.kind, "id": resource.id, "name": name, "exists": false, "ours": resource.kind.is_overlaid() });
    let Some(known) = known else {
        return told;
    };
    let who = |id: &str| named.find(id).map_or_else(|| json!({ "id": id }), person);
    told["exists"] = true.into();
    told["kind"] = known.kind.as_deref().into();
    told["active"] = known.active.into();
    told["base"] = known.base.as_deref().into();
    told["open"] = is_open.into();
    told["installed"] = (!resource.kind.is_overlaid() || known.version.is_some()).into();
    told["owner"] = known.owner.as_deref().map(who).into();
    told["grants"] = known
        .grants
        .iter()
        .take(GRANTS)
        .map(|grant| granted(grant, named))
        .collect();
    told["grants_more"] = known.grants.len().saturating_sub(GRANTS).into();
    told
}

/// A decision, and why, in words.
pub(super) fn decision(
    decision: &Decision,
    person: Option<&Person>,
    roster: &Roster,
    resource: &ResourceRef,
    is_open: bool,
) -> Value {
    let mut told = serde_json::to_value(decision).expect("words and texts always serialise");
    told["because"] = words::because(decision, person, roster, resource, is_open).into();
    if let Some(Principal::Group(id)) = decision.grant.as_ref().map(|grant| &grant.principal) {
        let way = person.map(|person| roster.way(person, id)).unwrap_or_default();
        let way = if way.is_empty() { vec![id.as_str()] } else { way };
        told["way"] = way.iter().map(|id| words::group(roster, id)).collect();
    }
    told
}

fn granted(grant: &Grant, named: &Roster) -> Value {
    let mut told = serde_json::to_value(grant).expect("words and texts always serialise");
    match &grant.principal {
        Principal::User(id) => {
            if let Some(found) = named.find(id) {
                told["name"] = found.name.as_str().into();
                told["email"] = found.email.as_str().into();
            }
        }
        Principal::Group(id) => told["name"] = named.group(id).into(),
        Principal::Everyone => {}
    }
    told
}
