//! The questions that a request raises: each check of its rule, about each id that the request names.
//!
//! A function is named by what comes before the first dot, as the application does with the parts of pipes and actions. A question
//! about a model is also one about the pipe of that name, for a pipe needs no model's row to be run.

use std::{borrow::Cow, collections::HashSet};

use http::request;
use neverstale_rbac::{Action, Decision, LookedFor, ResourceRef, ResourceType};
use percent_encoding::percent_decode_str;

use crate::guard::{
    body::{Found, IDS_MAX, Places, Unclear},
    people::Whom,
    routes::Route,
    rule::{Check, Of},
    source::{Source, mentioned},
};

/// Where ids come from.
pub(crate) struct Named<'r> {
    /// The decoded path.
    pub(crate) path: &'r str,
    /// The query, as sent.
    pub(crate) query: &'r str,
    /// What the body names, if it has been read.
    pub(crate) found: &'r Found,
}

impl<'r> Named<'r> {
    /// What a request names.
    pub(crate) fn of(path: &'r str, head: &'r request::Parts, found: &'r Found) -> Self {
        Self {
            path,
            query: head.uri.query().unwrap_or_default(),
            found,
        }
    }
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ask {
    pub(crate) action: Action,
    pub(crate) resource: ResourceRef,
    /// Whether what is not known is left to the application.
    pub(crate) is_if_known: bool,
}

/// All questions of a request.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) about: Vec<Ask>,
    pub(crate) whom: Vec<Whom>,
}

/// The places of a rule's checks in a body; the number of a place is that of its check, twice, and one more for a server.
pub(crate) fn places(checks: &[Check]) -> Option<Places> {
    let mut places = Places::default();
    let mut is_empty = true;
    for (index, check) in checks.iter().enumerate() {
        for (part, source) in check.sources().enumerate() {
            if let Some(pointer) = source.pointer() {
                places.add(pointer, 2 * index + part);
                is_empty = false;
            }
        }
    }
    (!is_empty).then_some(places)
}

/// Collects the questions.
///
/// # Errors
/// [`Unclear`]: a parameter is missing its text, is there twice, what must be named is not, or there are too many.
pub(crate) fn collect<'c>(
    checks: impl Iterator<Item = (usize, &'c Check)>,
    route: &Route,
    named: &Named<'_>,
) -> Result<Asked, Unclear> {
    let mut asked = Asked::default();
    let mut known = HashSet::new();
    for (index, check) in checks {
        let servers = match &check.server {
            Some(server) => Some(ids(server, 2 * index + 1, route, named)?),
            None => None,
        };
        let ids = ids(&check.id, 2 * index, route, named)?;
        // What is empty is nothing to the application.
        if check.is_required && ids.iter().all(|id| id.is_empty()) {
            return Err(Unclear::new("it does not name what it must name"));
        }
        for id in ids {
            if id.is_empty() && check.is_if_known {
                continue;
            }
            let kind = match check.of {
                Of::User => {
                    asked.whom.push(Whom::User(id.into_owned()));
                    continue;
                }
                Of::Group => {
                    asked.whom.push(Whom::Group(id.into_owned()));
                    continue;
                }
                Of::Resource(kind) => kind,
            };
            let id = match (kind, &servers) {
                (ResourceType::Function, _) => before_dot(&id).to_owned(),
                (_, Some(servers)) => format!("{}:{id}", server_of(servers)?),
                (_, None) => id.into_owned(),
            };
            let ask = Ask {
                action: check.action,
                resource: ResourceRef::new(kind, id),
                is_if_known: check.is_if_known,
            };
            if known.insert(ask.clone()) {
                asked.about.push(ask);
            }
        }
    }
    if asked.about.len() + asked.whom.len() > IDS_MAX {
        return Err(Unclear::new("it names too many things"));
    }
    Ok(asked)
}

impl Ask {
    /// What is asked of `rbac`: one or two questions.
    pub(crate) fn questions(&self) -> impl Iterator<Item = (Action, ResourceRef)> {
        let pipe = (self.resource.kind == ResourceType::Model).then(|| {
            let pipe = ResourceRef::new(ResourceType::Function, before_dot(&self.resource.id));
            (Action::Execute, pipe)
        });
        std::iter::once((self.action, self.resource.clone())).chain(pipe)
    }

    /// Whether the answers allow it; takes as many as there were questions.
    pub(crate) fn is_allowed<'d>(&self, decisions: &mut impl Iterator<Item = &'d Decision>) -> bool {
        let own = decisions.next();
        let pipe = if self.resource.kind == ResourceType::Model {
            decisions.next()
        } else {
            None
        };
        let is_unknown = |decision: &Decision| decision.looked_for == Some(LookedFor::Resource);
        match (own, pipe) {
            (Some(own), _) if own.allowed => true,
            (Some(own), pipe) if self.is_if_known && is_unknown(own) => {
                pipe.is_none_or(|pipe| pipe.allowed || is_unknown(pipe))
            }
            _ => false,
        }
    }
}

fn ids<'r>(source: &Source, number: usize, route: &Route, named: &Named<'r>) -> Result<Vec<Cow<'r, str>>, Unclear> {
    match source {
        Source::Path(name) => Ok(route
            .variable(named.path, name)
            .map(Cow::Borrowed)
            .into_iter()
            .collect()),
        Source::Command(name) => {
            let command = route.variable(named.path, name);
            Ok(command
                .map(|command| Cow::Owned(format!("/{command}")))
                .into_iter()
                .collect())
        }
        Source::Query(name) => Ok(parameter(named.query, name)?.into_iter().collect()),
        Source::Body(_) => {
            let found = named.found.iter().filter(|(found, _)| *found == number);
            Ok(found.map(|(_, id)| Cow::Borrowed(id.as_str())).collect())
        }
        Source::Mentions(_) => {
            let found = named.found.iter().filter(|(found, _)| *found == number);
            Ok(found.flat_map(|(_, text)| mentioned(text)).map(Cow::Borrowed).collect())
        }
    }
}

/// The index of a server, from the query.
///
/// # Errors
/// [`Unclear`].
pub(crate) fn server(query: &str, name: &str) -> Result<u32, Unclear> {
    let found: Vec<_> = parameter(query, name)?.into_iter().collect();
    server_of(&found)
}

/// A parameter of the query. The application takes the last of several; we take none.
fn parameter<'q>(query: &'q str, name: &str) -> Result<Option<Cow<'q, str>>, Unclear> {
    let mut value = None;
    // The application splits at `&` alone; a semicolon belongs to a value.
    for pair in query.split('&') {
        let (own, text) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(own)? != name {
            continue;
        }
        if value.replace(decoded(text)?).is_some() {
            return Err(Unclear::new("a parameter is there twice"));
        }
    }
    Ok(value)
}

fn decoded(text: &str) -> Result<Cow<'_, str>, Unclear> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    let decoded = decoded.map_err(|_| Unclear::new("the query is not UTF-8"))?;
    Ok(Cow::Owned(decoded.into_owned()))
}

/// The index of a server, written in the one way in which it is an index.
fn server_of(servers: &[Cow<'_, str>]) -> Result<u32, Unclear> {
    let [server] = servers else {
        return Err(Unclear::new("the server's index is missing"));
    };
    let index: u32 = server
        .parse()
        .map_err(|_| Unclear::new("the server's index is no index"))?;
    if index.to_string() == **server {
        Ok(index)
    } else {
        Err(Unclear::new("the server's index is no index"))
    }
}

fn before_dot(id: &str) -> &str {
    id.split_once('.').map_or(id, |(before, _)| before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_is_there_twice_is_refused() {
        assert_eq!(parameter("a=1&id=x%2Fy+z", "id").unwrap().as_deref(), Some("x/y z"));
        assert_eq!(parameter("id=", "id").unwrap().as_deref(), Some(""));
        assert_eq!(parameter("", "id").unwrap(), None);
        for query in ["id=a&id=b", "id=a&%69d=b", "id=%ff"] {
            assert!(parameter(query, "id").is_err(), "{query}");
        }
    }

    #[test]
    fn the_index_of_a_server_has_one_spelling() {
        assert_eq!(server_of(&["0".into()]).unwrap(), 0);
        for text in ["", "-1", "00", "+1", " 1", "1.0", "x"] {
            assert!(server_of(&[text.into()]).is_err(), "{text}");
        }
        assert!(server_of(&[]).is_err());
    }

    #[test]
    fn a_model_that_no_row_speaks_of_is_left_to_the_application_unless_it_is_a_pipe_that_is_not_granted() {
        let ask = Ask {
            action: Action::Execute,
            resource: ResourceRef::new(ResourceType::Model, "pipe.one"),
            is_if_known: true,
        };
        let questions: Vec<_> = ask.questions().map(|(_, resource)| resource.to_string()).collect();
        assert_eq!(questions, ["model pipe.one", "function pipe"]);
        let unknown = || Decision::denied(LookedFor::Resource);
        let denied = || Decision::denied(LookedFor::Owner(Action::Execute));
        for (own, pipe, is_allowed) in [
            (unknown(), unknown(), true),
            (unknown(), denied(), false),
            (denied(), unknown(), false),
            (denied(), denied(), false),
        ] {
            let decisions = [own, pipe];
            assert_eq!(ask.is_allowed(&mut decisions.iter()), is_allowed, "{decisions:?}");
        }
    }
}
