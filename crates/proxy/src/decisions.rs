//! `/v1/access/…`: who may do what, as the guard decides it, and why.
//!
//! Each answer rests on one position and names it. What decides is `neverstale_rbac`; here questions are read and answers written.

use std::sync::Arc;

use http::Response;
use hyper::body::Incoming;
use neverstale_listener::{Body, Query, check_id};
use neverstale_rbac::{Action, DecideError, Decider, ResourceRef, ResourceType};
use neverstale_wire::{ProblemKind, Token};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{dispatch::Call, problem::Failure, respond};

/// Ids on one page of a list, at most and by default.
pub(crate) const PAGE_IDS_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    subject: String,
    action: Action,
    resource: ResourceRef,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checks {
    checks: Vec<Check>,
}

/// `POST /v1/access/check`.
pub(crate) async fn check(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Failure> {
    let bytes = call.body(body).await?;
    let asked: Check = serde_json::from_slice(&bytes).map_err(|_| {
        Failure::malformed(r#"the body is not {"subject": "…", "action": "…", "resource": {"type": "…", "id": "…"}}"#)
    })?;
    let (mut answers, token) = decide(call, &[asked]).await?;
    let mut answer = answers.pop().ok_or(ProblemKind::Internal)?;
    answer["position"] = token.to_string().into();
    Ok(respond::json(answer.to_string(), token, call.asked.level))
}

/// `POST /v1/access/batch-check`.
pub(crate) async fn batch_check(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Failure> {
    let bytes = call.body(body).await?;
    let Checks { checks } = serde_json::from_slice(&bytes).map_err(|_| {
        Failure::malformed(r#"the body is not {"checks": [{"subject": …, "action": …, "resource": …}, …]}"#)
    })?;
    let checks_max = call.shared.settings.batch_reads_max;
    if checks.is_empty() || checks.len() > checks_max as usize {
        return Err(Failure::malformed(format!("a batch has 1 to {checks_max} checks")));
    }
    let (decisions, token) = decide(call, &checks).await?;
    let answer = json!({ "position": token.to_string(), "decisions": decisions });
    Ok(respond::json(answer.to_string(), token, call.asked.level))
}

/// `GET /v1/access/list?subject=&type=&action=&after=&limit=`.
pub(crate) async fn list(call: &Call<'_>, query: &str) -> Result<Response<Body>, Failure> {
    let query = Query::read(query, &["subject", "type", "action", "after", "limit"])?;
    let (subject, kind) = (query.id("subject")?, query.word::<ResourceType>("type")?);
    let action = query.word::<Action>("action")?;
    let limit = query.number("limit", 1, PAGE_IDS_MAX, PAGE_IDS_MAX)?;
    let visible = decider(call)?
        .visible(subject, action, kind, call.asked.level, call.deadline)
        .await?;
    let begin = query
        .get("after")
        .map_or(0, |after| visible.ids.partition_point(|id| id.as_str() <= after));
    let page: Vec<&String> = visible.ids[begin..].iter().take(limit).collect();
    let next = page.last().filter(|_| begin + page.len() < visible.ids.len());
    let answer = json!({ "position": visible.token.to_string(), "ids": page, "next": next });
    Ok(respond::json(answer.to_string(), visible.token, call.asked.level))
}

/// `GET /v1/access/explain?subject=&type=&id=`.
pub(crate) async fn explain(call: &Call<'_>, query: &str) -> Result<Response<Body>, Failure> {
    let query = Query::read(query, &["subject", "type", "id"])?;
    let resource = ResourceRef::new(query.word("type")?, query.id("id")?);
    let questions = Action::ALL.map(|action| Check {
        subject: query.get("subject").unwrap_or_default().to_owned(),
        action,
        resource: resource.clone(),
    });
    query.id("subject")?;
    let (answers, token) = decide(call, &questions).await?;
    let names = Action::ALL.map(|action| action.name().to_owned());
    let decisions: serde_json::Map<String, Value> = names.into_iter().zip(answers).collect();
    let answer = json!({ "position": token.to_string(), "resource": resource, "decisions": decisions });
    Ok(respond::json(answer.to_string(), token, call.asked.level))
}

async fn decide(call: &Call<'_>, checks: &[Check]) -> Result<(Vec<Value>, Token), Failure> {
    let questions: Vec<_> = checks
        .iter()
        .map(|check| (check.subject.as_str(), check.action, &check.resource))
        .collect();
    for (subject, _, resource) in &questions {
        check_id(subject)?;
        check_id(&resource.id)?;
    }
    let decided = decider(call)?
        .decide_all(&questions, call.asked.level, call.deadline)
        .await?;
    let written = |decision| serde_json::to_value(decision).map_err(|_| ProblemKind::Internal.into());
    let answers: Result<_, Failure> = decided.decisions.iter().map(written).collect();
    Ok((answers?, decided.token))
}

fn decider<'c>(call: &'c Call<'_>) -> Result<&'c Arc<Decider>, Failure> {
    Ok(call.shared.decider.as_ref().ok_or(ProblemKind::NotInThisSchema)?)
}

impl From<DecideError> for Failure {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::Facts(error) => return error.into(),
            DecideError::Unreadable => tracing::warn!("a view gives facts that the rules can't be applied to"),
            DecideError::Malformed(_) | DecideError::NotInThisSchema => {}
        }
        error.problem().into()
    }
}
