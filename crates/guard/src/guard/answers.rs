//! How a request is refused: as the application itself would, so that its page shows it.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use neverstale_wire::{Problem, ProblemKind};
use serde::Deserialize;

use crate::guard::Refusal;

/// What is told when a decision can't be had.
pub(crate) const UNDECIDED: &str = "whether this is allowed can't be known now";

/// The application's own answers, from the file of its routes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answers {
    /// To whoever is not signed in.
    anonymous: Said,
    /// To whoever may not.
    forbidden: Said,
    /// To whoever may not use something.
    forbidden_to_execute: Said,
    /// To a body that can't be judged.
    unclear: Said,
    /// When autocompletion is off.
    pub(crate) autocompletion_off: Said,
    /// When titles are off.
    pub(crate) titles_off: Said,
}

/// A status and a text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    status: u16,
    detail: String,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The caller is not signed in.
    Anonymous,
    /// The caller may not.
    Forbidden,
    /// The caller may not use something.
    ForbiddenToExecute,
    /// The body is no JSON, or could be read in two ways.
    Unclear,
    /// It can't be decided now.
    Undecided,
}

impl Answers {
    /// The refusal as the application would put it. What can't be decided now is a problem, whose member `detail` its page
    /// shows like any other.
    pub(crate) fn refusal(&self, reason: Reason) -> Refusal {
        let said = match reason {
            Reason::Anonymous => &self.anonymous,
            Reason::Forbidden => &self.forbidden,
            Reason::ForbiddenToExecute => &self.forbidden_to_execute,
            Reason::Unclear => &self.unclear,
            Reason::Undecided => return Refusal::problem(&Problem::new(ProblemKind::Unavailable, UNDECIDED)),
        };
        Refusal {
            answer: said.response(),
        }
    }
}

impl Said {
    /// The answer that says it, as FastAPI writes one.
    pub(crate) fn response(&self) -> Response<Bytes> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::FORBIDDEN);
        let body = serde_json::json!({ "detail": self.detail }).to_string();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl Reason {
    /// Its name in the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Forbidden => "forbidden",
            Self::ForbiddenToExecute => "forbidden-to-execute",
            Self::Unclear => "unclear",
            Self::Undecided => "undecided",
        }
    }
}
