//! What a model is built on: to use it is to use the models and the pipes beneath.
//!
//! A pipe is named by the part of a model's id before the first dot. Whoever owns a pipe lends it with the models made on it: who is
//! granted such a model may use the pipe through it. Nobody lends the pipe of somebody else, and nobody borrows by being an admin.

use crate::{
    Action, Decision, Facts, LookedFor, ResourceFacts, ResourceRef, ResourceType, Rules, Subject, Tier, decide::alone,
};

/// Confirms or refuses what was decided about a model by itself.
pub(crate) fn through(
    rules: &Rules,
    subject: &Subject,
    resource: &ResourceRef,
    facts: &Facts,
    decision: Decision,
) -> Decision {
    let are_bases_judged = rules.of(ResourceType::Model).is_some_and(|rules| rules.table.bases);
    let may_borrow = decision.tier != Some(Tier::Admin);
    let mut seen: Vec<&str> = Vec::new();
    let mut hop = resource.clone();
    let mut above: Option<&ResourceFacts> = None;
    loop {
        let known = facts.get(&hop);
        let is_base = !seen.is_empty();
        if is_base && are_bases_judged && !alone(rules, subject, Action::Read, &hop, facts).allowed {
            return Decision::denied(LookedFor::Base(hop));
        }
        let pipe = ResourceRef::new(ResourceType::Function, pipe_of(&hop.id));
        if let Some(function) = facts.get(&pipe) {
            if !function.active {
                return Decision::denied(LookedFor::Active(pipe));
            }
            let lender = known.or(above).and_then(|model| model.owner.as_ref());
            let is_lent = may_borrow && lender.is_some() && lender == function.owner.as_ref();
            if !is_lent && !alone(rules, subject, Action::Execute, &pipe, facts).allowed {
                return Decision::denied(LookedFor::Base(pipe));
            }
        }
        let Some(base) = known.and_then(|known| known.base.as_deref()) else {
            return decision;
        };
        // Models built in a circle are all looked at once; the application ends there too.
        if seen.contains(&base) || base == resource.id {
            return decision;
        }
        seen.push(base);
        above = known;
        hop = ResourceRef::new(ResourceType::Model, base);
    }
}

fn pipe_of(model_id: &str) -> &str {
    model_id.split_once('.').map_or(model_id, |(pipe, _)| pipe)
}
