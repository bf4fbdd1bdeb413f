//! `/v1/access/…`: who may do what, as the guard decides it, and why.
//!
//! Each answer rests on one position and names it. What decides is `neverstale_rbac`; here questions are read and answers written.

use std::{borrow::Cow, str::FromStr, sync::Arc};

use http::Response;
use hyper::body::Incoming;
use neverstale_listener::Body;
use neverstale_rbac::{Action, DecideError, Decider, Decision, Principal, ResourceRef, ResourceType};
use neverstale_wire::{ProblemKind, Token};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{dispatch::Call, problem::Failure, respond};

/// Ids on one page of a list, at most and by default.
pub(crate) const PAGE_IDS_MAX: usize = 1_000;

/// Characters of an id.
pub(crate) const ID_CHARS_MAX: usize = 256;

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
    let limit = match query.get("limit") {
        None => PAGE_IDS_MAX,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=PAGE_IDS_MAX).contains(limit))
            .ok_or_else(|| Failure::malformed(format!("`limit` is a number from 1 to {PAGE_IDS_MAX}")))?,
    };
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
    Ok((decided.decisions.iter().map(written).collect(), decided.token))
}

fn decider<'c>(call: &'c Call<'_>) -> Result<&'c Arc<Decider>, Failure> {
    Ok(call.shared.decider.as_ref().ok_or(ProblemKind::NotInThisSchema)?)
}

/// A decision in the words of the contract.
fn written(decision: &Decision) -> Value {
    let mut answer = json!({ "allowed": decision.allowed });
    if let Some(tier) = decision.tier {
        answer["tier"] = tier.name().into();
    }
    if let Some(grant) = &decision.grant {
        let (kind, id) = match &grant.principal {
            Principal::User(id) => ("user", Some(id)),
            Principal::Group(id) => ("group", Some(id)),
            Principal::Everyone => ("everyone", None),
        };
        answer["grant"] = json!({ "permission": grant.permission, "principal_type": kind, "principal_id": id });
    }
    if let Some(looked_for) = &decision.looked_for {
        answer["looked_for"] = looked_for.to_string().into();
    }
    answer
}

fn check_id(id: &str) -> Result<(), Failure> {
    if id.is_empty() || id.contains('\0') || id.chars().count() > ID_CHARS_MAX {
        return Err(Failure::malformed(format!(
            "an id has 1 to {ID_CHARS_MAX} characters, none of them NUL"
        )));
    }
    Ok(())
}

/// The parameters of a question in a query: known ones, each at most once.
struct Query<'q>(Vec<(&'q str, Cow<'q, str>)>);

impl<'q> Query<'q> {
    fn read(query: &'q str, known: &[&str]) -> Result<Self, Failure> {
        let mut given: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) || given.iter().any(|(earlier, _)| *earlier == name) {
                return Err(Failure::malformed("a query parameter is unknown, or given twice"));
            }
            let value = value.replace('+', "%20");
            let value = percent_decode_str(&value)
                .decode_utf8()
                .map_err(|_| Failure::malformed("a query parameter is not UTF-8"))?;
            given.push((name, Cow::Owned(value.into_owned())));
        }
        Ok(Self(given))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| &**value)
    }

    fn id(&self, name: &str) -> Result<&str, Failure> {
        let id = self.get(name).unwrap_or_default();
        check_id(id)?;
        Ok(id)
    }

    fn word<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<T, Failure> {
        let word = self.get(name).unwrap_or_default();
        word.parse()
            .map_err(|error| Failure::malformed(format!("`{name}`: {error}")))
    }
}

impl From<DecideError> for Failure {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::Facts(error) => error.into(),
            DecideError::Malformed(error) => error.into(),
            DecideError::NotInThisSchema => ProblemKind::NotInThisSchema.into(),
            DecideError::Unreadable => {
                tracing::warn!("a view gives facts that the rules can't be applied to");
                ProblemKind::Internal.into()
            }
        }
    }
}
