//! The decision: pure, from rules and facts alone.
//!
//! In order: a role that may do anything at all; what must be switched on is; then the tiers, the super admin, the owner, a
//! direct grant, a grant to a group, and the admins where the application lets them. What a model is built on is looked at in
//! `model`. Where nothing says yes, the answer is no.

use crate::{
    Action, Decision, Facts, Grant, LookedFor, Permission, Principal, ResourceFacts, ResourceRef, ResourceType, Rules,
    Subject, Tier, TypeRules, model,
};

/// Decides whether a subject may do something.
pub fn decide(rules: &Rules, subject: &Subject, action: Action, resource: &ResourceRef, facts: &Facts) -> Decision {
    let decision = alone(rules, subject, action, resource, facts);
    let rests = resource.kind == ResourceType::Model && action == Action::Execute;
    if decision.allowed && rests {
        return model::through(rules, subject, resource, facts, decision);
    }
    decision
}

/// Decides about a resource without looking at what it is built on.
pub(crate) fn alone(
    rules: &Rules,
    subject: &Subject,
    action: Action,
    resource: &ResourceRef,
    facts: &Facts,
) -> Decision {
    let Some(of_type) = rules.of(resource.kind) else {
        return Decision::denied(LookedFor::Resource);
    };
    if !rules.roles.contains(&subject.role) {
        return Decision::denied(LookedFor::Role(subject.role.clone()));
    }
    let is_admin = subject.role == rules.admin_role;
    let known = facts.get(resource);
    if action == Action::Execute && known.is_some_and(|known| !known.active) {
        return Decision::denied(LookedFor::Active(resource.clone()));
    }
    if subject.super_admin {
        return Decision::by(Tier::SuperAdmin);
    }
    let Some(known) = known else {
        return if of_type.table.unregistered && is_admin {
            Decision::by(Tier::Admin)
        } else {
            Decision::denied(LookedFor::Resource)
        };
    };
    if known.owner.as_ref() == Some(&subject.id) {
        return Decision::by(Tier::Owner);
    }
    let needed = of_type.needs(action);
    let granted = needed.and_then(|needed| granted(of_type, subject, needed, known));
    match (granted, needed) {
        (Some((tier, grant)), _) => Decision::granted(tier, grant),
        (None, _) if of_type.table.admins && is_admin => Decision::by(Tier::Admin),
        (None, Some(needed)) => Decision::denied(LookedFor::Grant(needed)),
        (None, None) => Decision::denied(LookedFor::Owner(action)),
    }
}

/// Finds the grant that gives a permission: a direct one before one to a group.
fn granted(rules: &TypeRules, subject: &Subject, needed: Permission, known: &ResourceFacts) -> Option<(Tier, Grant)> {
    if rules.is_open(known) && needed == Permission::Read {
        let grant = Grant {
            principal: Principal::Everyone,
            permission: needed,
        };
        return Some((Tier::Direct, grant));
    }
    let gives = |grant: &&Grant| {
        grant.permission == needed
            || rules.table.write_reads && (grant.permission, needed) == (Permission::Write, Permission::Read)
    };
    let is_direct = |grant: &&Grant| match &grant.principal {
        Principal::User(id) => *id == subject.id,
        Principal::Everyone => true,
        Principal::Group(_) => false,
    };
    let is_of_group = |grant: &&Grant| match &grant.principal {
        Principal::Group(id) => {
            subject.groups.binary_search(id).is_ok()
                || rules.table.group_owners && subject.groups_owned.binary_search(id).is_ok()
        }
        Principal::User(_) | Principal::Everyone => false,
    };
    let grants = || known.grants.iter().filter(gives);
    let direct = grants().find(is_direct).map(|grant| (Tier::Direct, grant.clone()));
    direct.or_else(|| grants().find(is_of_group).map(|grant| (Tier::Group, grant.clone())))
}
