//! The questions, read from their query and answered. What is looked up may be much: it is searched, sorted and told where that is in
//! nobody's way, and comes as finished JSON.

use neverstale_listener::Query;
use neverstale_rbac::{
    Action, DecideError, Decision, Held, PEOPLE_MAX, People, Person, Principal, ResourceFacts, ResourceRef,
    ResourceType, Roster, Survey,
};
use serde_json::{Value, json};
use tokio::{task::spawn_blocking, time::Instant};

use super::{Unanswered, advice, told};

/// Rows of a page.
const ROWS: usize = 50;
/// People and resources that a search offers.
const FOUND: usize = 20;
/// Pages, so that a number is a page.
const PAGES_MAX: usize = 10_000;
/// Ids whose names are looked up for one resource: its owner's, and those of the grants that are told.
const NAMED_MAX: usize = told::GRANTS + 1;

/// `/access/people?search=&after=`: the names of people, those after `["name", "id"]`.
pub(super) async fn people(survey: &Survey, query: &str, deadline: Instant) -> Result<String, Unanswered> {
    let query = Query::read(query, &["search", "after"])?;
    let after: Option<(String, String)> = query.get("after").and_then(|after| serde_json::from_str(after).ok());
    let after = after.as_ref().map(|(name, id)| (name.as_str(), id.as_str()));
    let like = People::Like(searched(&query)?);
    let found = survey.people(like, after, FOUND + 1, deadline).await?;
    shaped(move || {
        let people = found.roster.people();
        let (people, more) = people.split_at(people.len().min(FOUND));
        let last = people.last().filter(|_| !more.is_empty());
        json!({
            "position": found.token.to_string(), "people": people.iter().map(told::person).collect::<Vec<_>>(),
            "total": found.roster.people_total, "next": last.map(|last| [&last.name, &last.subject.id]),
        })
    })
    .await
}

/// `/access/resources?type=&search=&page=`: the resources of a type.
pub(super) async fn resources(survey: &Survey, query: &str, deadline: Instant) -> Result<String, Unanswered> {
    let query = Query::read(query, &["type", "search", "page"])?;
    let (kind, search) = (query.word::<ResourceType>("type")?, searched(&query)?.to_lowercase());
    let page = query.number("page", 1, PAGES_MAX, 1)?;
    let found = survey.resources(kind, deadline).await?;
    shaped(move || {
        let of_kind = || found.facts.of_type(kind);
        let named = |resource: &ResourceRef| found.names.get(&resource.id).map(String::as_str);
        let mut matching: Vec<_> = of_kind()
            .filter(|(resource, _)| is_like(&search, &resource.id, named(resource)))
            .collect();
        matching.sort_by_cached_key(|(resource, _)| {
            let shown = named(resource).unwrap_or(&resource.id).to_lowercase();
            (shown, &resource.id)
        });
        let row = |(resource, known): &(&ResourceRef, &ResourceFacts)| {
            json!({ "id": resource.id, "name": named(resource), "kind": known.kind, "active": known.active })
        };
        json!({
            "position": found.token.to_string(), "total": of_kind().count(), "matching": matching.len(),
            "page": page, "pages": pages(matching.len(), FOUND),
            "resources": on_page(&matching, page, FOUND).iter().map(row).collect::<Vec<_>>(),
        })
    })
    .await
}

/// `/access/person?id=&type=&show=&search=&page=`: what somebody can do with the resources of a type.
pub(super) async fn person(survey: &Survey, query: &str, deadline: Instant) -> Result<String, Unanswered> {
    let query = Query::read(query, &["id", "type", "show", "search", "page"])?;
    let (id, kind) = (query.id("id")?, query.word::<ResourceType>("type")?);
    let (search, page) = (searched(&query)?.to_lowercase(), query.number("page", 1, PAGES_MAX, 1)?);
    let is_all = query.get("show") == Some("all");
    let found = survey.holdings(id, kind, deadline).await?;
    let id = id.to_owned();
    shaped(move || {
        let person = found.roster.find(&id);
        let mut counts = [0; Action::ALL.len()];
        for held in &found.held {
            for (count, decision) in counts.iter_mut().zip(&held.decisions) {
                *count += usize::from(decision.allowed);
            }
        }
        let matching: Vec<&Held> = found
            .held
            .iter()
            .filter(|held| is_all || held.decisions.iter().any(|decision| decision.allowed))
            .filter(|held| is_like(&search, &held.resource.id, held.name.as_deref()))
            .collect();
        let row = |held: &&Held| {
            let decided = |decision| told::decision(decision, person, &found.roster, &held.resource, held.is_open);
            json!({ "id": held.resource.id, "name": held.name, "kind": held.kind,
                    "decisions": by_action(held.decisions.iter().map(decided)) })
        };
        json!({
            "position": found.token.to_string(),
            "person": person.map(|person| told::person_with_groups(person, &found.roster)),
            "counts": by_action(counts.map(Value::from)), "total": found.held.len(), "matching": matching.len(),
            "page": page, "pages": pages(matching.len(), ROWS),
            "rows": on_page(&matching, page, ROWS).iter().map(row).collect::<Vec<_>>(),
        })
    })
    .await
}

/// `/access/resource?type=&id=&action=&search=&page=`: who can do something with a resource.
pub(super) async fn resource(survey: &Survey, query: &str, deadline: Instant) -> Result<String, Unanswered> {
    let query = Query::read(query, &["type", "id", "action", "search", "page"])?;
    let resource = ResourceRef::new(query.word("type")?, query.id("id")?);
    let (action, search) = (query.word::<Action>("action")?, searched(&query)?);
    let page = query.number("page", 1, PAGES_MAX, 1)?;
    let found = survey
        .verdicts(People::Like(search), &[action], &resource, deadline)
        .await?;
    let named = names(survey, found.facts.get(&resource), deadline).await?;
    shaped(move || {
        let people = found.roster.people();
        let allowed: Vec<(&Person, &Decision)> = people
            .iter()
            .zip(found.decisions.iter().map(|decisions| &decisions[0]))
            .filter(|(_, decision)| decision.allowed)
            .collect();
        let row = |(person, decision): &(&Person, &Decision)| {
            let decision = told::decision(decision, Some(*person), &found.roster, &resource, found.is_open);
            json!({ "person": told::person(person), "decision": decision })
        };
        let known = found.facts.get(&resource);
        json!({
            "position": found.token.to_string(),
            "resource": told::resource(&resource, found.name.as_deref(), known, found.is_open, &named),
            "people_total": found.roster.people_total, "looked_at": people.len(), "looked_at_max": PEOPLE_MAX,
            "matching": allowed.len(), "page": page, "pages": pages(allowed.len(), ROWS),
            "rows": on_page(&allowed, page, ROWS).iter().map(row).collect::<Vec<_>>(),
        })
    })
    .await
}

/// `/access/why?subject=&type=&id=&action=`: one decision, and the three beside it.
pub(super) async fn why(survey: &Survey, query: &str, deadline: Instant) -> Result<String, Unanswered> {
    let query = Query::read(query, &["subject", "type", "id", "action"])?;
    let (user, action) = (query.id("subject")?, query.word::<Action>("action")?);
    let resource = ResourceRef::new(query.word("type")?, query.id("id")?);
    let found = survey
        .verdicts(People::Of(&[user]), &Action::ALL, &resource, deadline)
        .await?;
    let named = names(survey, found.facts.get(&resource), deadline).await?;
    let user = user.to_owned();
    shaped(move || {
        let person = found.roster.find(&user);
        let decisions = found.decisions.first().map(Vec::as_slice).unwrap_or_default();
        let decided = |decision| told::decision(decision, person, &found.roster, &resource, found.is_open);
        let asked = decisions.get(action as usize);
        let known = found.facts.get(&resource);
        json!({
            "position": found.token.to_string(), "subject": user, "action": action,
            "person": person.map(|person| told::person_with_groups(person, &found.roster)),
            "resource": told::resource(&resource, found.name.as_deref(), known, found.is_open, &named),
            "decision": asked.map(decided), "decisions": by_action(decisions.iter().map(decided)),
            "advice": asked.map(|decision| advice::on(decision, &user, &resource)),
        })
    })
    .await
}

/// The people whom a resource's owner and the grants that are told name, as they are called now: a name is no decision, and may be of
/// a later state.
async fn names(survey: &Survey, known: Option<&ResourceFacts>, deadline: Instant) -> Result<Roster, Unanswered> {
    let granted = known.into_iter().flat_map(|known| &known.grants).take(told::GRANTS);
    let granted = granted.filter_map(|grant| match &grant.principal {
        Principal::User(id) => Some(id.as_str()),
        Principal::Group(_) | Principal::Everyone => None,
    });
    let owner = known.and_then(|known| known.owner.as_deref());
    let ids: Vec<&str> = owner.into_iter().chain(granted).collect();
    let found = survey.people(People::Of(&ids), None, NAMED_MAX, deadline).await?;
    Ok(found.roster)
}

/// Makes an answer of what was found.
async fn shaped(shape: impl FnOnce() -> Value + Send + 'static) -> Result<String, Unanswered> {
    let shaped = spawn_blocking(move || shape().to_string()).await;
    shaped.map_err(|_| DecideError::Unreadable.into())
}

fn searched<'q>(query: &'q Query<'_>) -> Result<&'q str, Unanswered> {
    let text = query.get("search").unwrap_or_default().trim();
    if !text.is_empty() {
        neverstale_listener::check_id(text)?;
    }
    Ok(text)
}

/// Whether a search, in lower case, finds something by its id or its name.
fn is_like(search: &str, id: &str, name: Option<&str>) -> bool {
    let has = |text: &str| text.to_lowercase().contains(search);
    search.is_empty() || has(id) || name.is_some_and(has)
}

fn on_page<T>(rows: &[T], page: usize, of: usize) -> &[T] {
    let from = rows.len().min((page - 1) * of);
    &rows[from..rows.len().min(from + of)]
}

fn pages(rows: usize, of: usize) -> usize {
    rows.div_ceil(of).max(1)
}

fn by_action(values: impl IntoIterator<Item = Value>) -> Value {
    let names = Action::ALL.map(|action| action.name().to_owned());
    Value::Object(names.into_iter().zip(values).collect())
}
