//! `/access/…`: what the page asks about who may do what, each answer one state of the primary, asked when the question came.
//!
//! Names and addresses of people are in it, so it is not for everybody who can reach the listener (`admission`). Nothing is changed
//! here: an answer says in words why (`words`), and what to do to have it otherwise (`advice`). The shapes are the page's own, no contract.

mod admission;
mod advice;
mod questions;
mod told;
mod words;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use neverstale_lifecycle::Watched;
use neverstale_listener::{Body, Peer, QueryError};
use neverstale_rbac::{DecideError, Survey};
use neverstale_wire::{Problem, ProblemKind};
use tokio::time::Instant;

use crate::{
    admin::Shared,
    service::{JSON, problem, respond},
};

/// Whoever looks at a page waits no longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A question of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Which people are there?
    People,
    /// Which resources are there?
    Resources,
    /// What can this person do?
    Person,
    /// Who can do this?
    Resource,
    /// Why, or why not?
    Why,
}

impl Question {
    /// The question that stands under a path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/access/people" => Self::People,
            "/access/resources" => Self::Resources,
            "/access/person" => Self::Person,
            "/access/resource" => Self::Resource,
            "/access/why" => Self::Why,
            _ => return None,
        })
    }
}

/// Answers a question, if the caller may ask.
pub(crate) async fn answer(
    shared: &Shared,
    peer: Peer,
    question: Question,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response<Body> {
    if !shared.parts.settings.access_page {
        let off = "the page is switched off by admin.access_page";
        return problem(&Problem::new(ProblemKind::NotFound, off));
    }
    let admitted = {
        let tokens = shared.tokens.as_ref().map(Watched::load);
        admission::judge(peer, uri, headers, tokens.as_deref().map(|tokens| &**tokens))
    };
    if let Err(refusal) = admitted {
        let is_unknown = refusal.kind == ProblemKind::Unauthorised;
        let mut response = problem(&refusal);
        if is_unknown {
            let challenge = HeaderValue::from_static("Bearer realm=\"neverstale\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        return response;
    }
    match told(shared, question, uri.query().unwrap_or_default()).await {
        Ok(answer) => respond(StatusCode::OK, JSON, answer),
        Err(refusal) => problem(&refusal),
    }
}

async fn told(shared: &Shared, question: Question, query: &str) -> Result<String, Problem> {
    let starting = || Problem::new(ProblemKind::Unavailable, "the application's schema is not known yet");
    let survey: &Survey = shared.parts.shown.get().ok_or_else(starting)?.survey.as_ref().ok_or_else(|| {
        Problem::new(
            ProblemKind::NotInThisSchema,
            "this flavour has no rules of access, or no views of people and names; see `access.roster` in docs/FLAVOURS.md",
        )
    })?;
    let deadline = Instant::now() + PATIENCE;
    let answered = match question {
        Question::People => questions::people(survey, query, deadline).await,
        Question::Resources => questions::resources(survey, query, deadline).await,
        Question::Person => questions::person(survey, query, deadline).await,
        Question::Resource => questions::resource(survey, query, deadline).await,
        Question::Why => questions::why(survey, query, deadline).await,
    };
    answered.map_err(|error| match error {
        Unanswered::Asked(error) => Problem::new(ProblemKind::Malformed, error.0),
        Unanswered::Decided(error) => {
            if error.is_ours() {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a question of the page can't be answered"
                );
            }
            error.problem()
        }
    })
}

/// Why there is no answer.
#[derive(Debug)]
enum Unanswered {
    /// The question is none.
    Asked(QueryError),
    /// It can't be decided.
    Decided(DecideError),
}

impl From<QueryError> for Unanswered {
    fn from(error: QueryError) -> Self {
        Self::Asked(error)
    }
}

impl From<DecideError> for Unanswered {
    fn from(error: DecideError) -> Self {
        Self::Decided(error)
    }
}
