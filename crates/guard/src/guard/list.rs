//! Of an answer that lists things, what the caller may see.
//!
//! The application decides by what it read itself; the door judges each element by its own facts, as of the answer. Elements are cut
//! out of the text and no byte of the rest changes; where all stay, the answer is the application's own. Knows nothing of validators:
//! those are the business of `filtered`.

use std::sync::Arc;

use bytes::Bytes;
use http::request;
use neverstale_cache::Level;
use neverstale_flavour::with_value;
use neverstale_identity::Caller;
use neverstale_rbac::{Action, Decision, ResourceRef};
use neverstale_telemetry::DoorOutcome;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::guard::{
    Refusal,
    answers::Reason,
    ask::{self, Ask},
    body::Unclear,
    judge::{Judge, reason_for},
    rule::{ListRule, Of},
    source::Source,
};

/// What is done with an answer.
#[derive(Debug)]
pub struct ListFilter {
    rule: Arc<ListRule>,
    /// Begins the ids of pipelines.
    prefix: String,
}

/// An element of the list.
struct Element<'a> {
    text: &'a RawValue,
    ask: Option<Ask>,
}

impl ListFilter {
    /// Prepares to filter the answer to a request.
    pub(crate) fn new(rule: &Arc<ListRule>, head: &request::Parts) -> Result<Self, Unclear> {
        let prefix = match &rule.check.server {
            Some(Source::Query(name)) => {
                let query = head.uri.query().unwrap_or_default();
                format!("{}:", ask::server(query, name)?)
            }
            _ => String::new(),
        };
        Ok(Self {
            rule: Arc::clone(rule),
            prefix,
        })
    }
}

impl Judge {
    /// Takes out of an answer what the caller may not see.
    ///
    /// # Errors
    /// Whether the caller may see it can't be known; nothing may be shown.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub(crate) async fn filter(
        &self,
        caller: &Caller,
        filter: &ListFilter,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Refusal> {
        let filtered = self.filtered(caller, filter, &body, deadline).await;
        let filtered = filtered.map_err(|reason| {
            self.metrics.ingress_decisions_total[DoorOutcome::Undecided].inc();
            self.routes.answers.refusal(reason)
        })?;
        Ok(filtered.unwrap_or(body))
    }

    /// The body that is left; none if all is.
    async fn filtered(
        &self,
        caller: &Caller,
        filter: &ListFilter,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Option<Bytes>, Reason> {
        let text = std::str::from_utf8(body).ok();
        let array = text.and_then(|text| array(text, &filter.rule.array).map(|array| (text, array)));
        let Some((text, array)) = array else {
            tracing::warn!(rule = %filter.rule.check, "an answer is not the list that it must be: nothing of it is shown");
            return Err(Reason::Undecided);
        };
        let elements: Vec<&RawValue> = serde_json::from_str(array.get()).map_err(|_| Reason::Undecided)?;
        let elements: Vec<_> = elements.into_iter().map(|text| filter.element(text)).collect();
        let kept = self.kept(caller, filter, &elements, deadline).await?;
        let is_changed = kept.len() < elements.len() || kept.iter().any(|(_, is_hidden)| *is_hidden);
        if !is_changed {
            self.metrics.ingress_decisions_total[DoorOutcome::Allowed].inc();
            return Ok(None);
        }
        self.metrics.ingress_decisions_total[DoorOutcome::Filtered].inc();
        let texts: Vec<_> = kept
            .iter()
            .map(|(element, is_hidden)| filter.shown(element, *is_hidden))
            .collect();
        let begin = array.get().as_ptr() as usize - text.as_ptr() as usize;
        let (before, after) = (&text[..begin], &text[begin + array.get().len()..]);
        Ok(Some(Bytes::from([before, "[", &texts.join(","), "]", after].concat())))
    }

    /// The elements that stay, each with whether something of it is hidden.
    async fn kept<'e, 'a>(
        &self,
        caller: &Caller,
        filter: &ListFilter,
        elements: &'e [Element<'a>],
        deadline: Instant,
    ) -> Result<Vec<(&'e Element<'a>, bool)>, Reason> {
        let Of::Resource(kind) = filter.rule.check.of else {
            return Err(Reason::Undecided);
        };
        let asks: Vec<&Ask> = elements.iter().filter_map(|element| element.ask.as_ref()).collect();
        let mut questions: Vec<_> = asks.iter().flat_map(|ask| ask.questions()).collect();
        let hides = !filter.rule.hide.is_empty();
        if hides {
            questions.extend(asks.iter().map(|ask| (Action::ReadValves, ask.resource.clone())));
        }
        let decided = self
            .decider
            .decide_by_list(&caller.user_id, &questions, kind, Level::FullyConsistent, deadline)
            .await
            .map_err(|error| reason_for(&error))?;
        let split = decided.decisions.len() - if hides { asks.len() } else { 0 };
        let (rights, valves) = decided.decisions.split_at(split);
        let (mut rights, mut valves) = (rights.iter(), valves.iter());
        let mut kept = Vec::with_capacity(elements.len());
        for element in elements {
            // What has no id is nothing that anybody could have a right to.
            let Some(ask) = &element.ask else {
                continue;
            };
            let may_see = ask.is_allowed(&mut rights);
            let may_read_valves = valves.next().is_some_and(|valves: &Decision| valves.allowed);
            if may_see {
                kept.push((element, hides && !may_read_valves && filter.has_hidden(element)));
            }
        }
        Ok(kept)
    }
}

impl ListFilter {
    fn element<'a>(&self, text: &'a RawValue) -> Element<'a> {
        let id = member(text, &self.rule.id).and_then(|id| serde_json::from_str::<String>(id.get()).ok());
        let check = &self.rule.check;
        let Of::Resource(kind) = check.of else {
            return Element { text, ask: None };
        };
        let ask = id.map(|id| Ask {
            action: check.action,
            resource: ResourceRef::new(kind, format!("{}{id}", self.prefix)),
            is_if_known: check.is_if_known,
        });
        Element { text, ask }
    }

    fn has_hidden(&self, element: &Element<'_>) -> bool {
        let is_there = |name: &String| member(element.text, name).is_some_and(|value| value.get() != "null");
        self.rule.hide.iter().any(is_there)
    }

    fn shown<'a>(&self, element: &Element<'a>, is_hidden: bool) -> std::borrow::Cow<'a, str> {
        let text = element.text.get();
        if !is_hidden {
            return text.into();
        }
        let there = self
            .rule
            .hide
            .iter()
            .filter(|name| member(element.text, name).is_some());
        // A member that was just found is one that can be replaced.
        let emptied = there.fold(text.to_owned(), |text, name| {
            with_value(&text, name, "null").unwrap_or_else(|_| "null".to_owned())
        });
        emptied.into()
    }
}

/// The array at the end of a way of members.
fn array<'a>(text: &'a str, way: &[String]) -> Option<&'a RawValue> {
    let mut value: &RawValue = serde_json::from_str(text).ok()?;
    for name in way {
        value = member(value, name)?;
    }
    value.get().starts_with('[').then_some(value)
}

/// A member of an object; of a name that is there twice the last, as for whoever reads it.
fn member<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    #[derive(Deserialize)]
    struct Members<'a>(#[serde(borrow)] std::collections::BTreeMap<String, &'a RawValue>);
    let members: Members<'a> = serde_json::from_str(object.get()).ok()?;
    members.0.get(name).copied()
}
