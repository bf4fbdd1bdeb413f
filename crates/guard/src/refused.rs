//! The one place where what is refused before the application has it becomes an answer.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use neverstale_telemetry::{DoorRefusal, Metrics};
use neverstale_wire::{Problem, ProblemKind};

use crate::{answer, credentials::Ambiguous, guard::Refusal, path::PathTrick, screen::Screened};

/// A request that does not reach the application, or an answer that does not reach the caller.
pub struct Refused {
    /// None for what is no refusal but the guard's own answer.
    why: Option<DoorRefusal>,
    response: Box<Response<Bytes>>,
    /// Whether what else comes on the connection can't be trusted.
    closes: bool,
}

impl Refused {
    /// Refuses with a problem.
    pub fn problem(why: DoorRefusal, kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            why: Some(why),
            response: Box::new(answer::problem(&Problem::new(kind, detail))),
            closes: false,
        }
    }

    /// What the guard answers in the application's place.
    pub fn answered(response: Response<Bytes>) -> Self {
        Self {
            why: None,
            response: Box::new(response),
            closes: false,
        }
    }

    /// A decision is needed and can't be had: the door stays shut.
    pub fn undecided(detail: &'static str) -> Self {
        Self::problem(DoorRefusal::Undecided, ProblemKind::Unavailable, detail)
    }

    /// A body over its limit.
    pub fn too_large() -> Self {
        Self::problem(DoorRefusal::Size, ProblemKind::TooLarge, "the body is too large").and_close()
    }

    /// Ends the connection as well.
    #[must_use]
    pub fn and_close(self) -> Self {
        Self { closes: true, ..self }
    }

    /// Gives a more exact status than the kind of problem has, in the status line and in the body.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        let body = String::from_utf8_lossy(self.response.body());
        let member = |status: StatusCode| format!("\"status\":{}", status.as_u16());
        let body = body.replacen(&member(self.response.status()), &member(status), 1);
        *self.response.body_mut() = body.into();
        *self.response.status_mut() = status;
        self
    }

    /// The reason; none for what is no refusal but the guard's own answer.
    pub fn why(&self) -> Option<DoorRefusal> {
        self.why
    }

    /// Whether what else comes on the connection can't be trusted.
    pub fn closes(&self) -> bool {
        self.closes
    }

    /// Counts it and gives the answer.
    pub fn into_response(self, metrics: &Metrics) -> Response<Bytes> {
        if let Some(why) = self.why {
            metrics.ingress_refusals_total[why].inc();
        }
        *self.response
    }
}

impl From<Screened> for Refused {
    fn from(screened: Screened) -> Self {
        let refused = |why, kind| Self::problem(why, kind, screened.to_string()).and_close();
        match screened {
            Screened::Method => {
                let mut refused = refused(DoorRefusal::Target, ProblemKind::MethodNotAllowed);
                let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
                refused.response.headers_mut().insert(header::ALLOW, allowed);
                refused
            }
            Screened::Target => refused(DoorRefusal::Target, ProblemKind::Malformed),
            Screened::TargetTooLong => {
                refused(DoorRefusal::Size, ProblemKind::TooLarge).with_status(StatusCode::URI_TOO_LONG)
            }
            Screened::HeadTooLarge => refused(DoorRefusal::Size, ProblemKind::TooLarge)
                .with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Screened::Framing(_) | Screened::Host | Screened::Length | Screened::Connection => {
                refused(DoorRefusal::Framing, ProblemKind::Malformed)
            }
        }
    }
}

impl From<PathTrick> for Refused {
    fn from(trick: PathTrick) -> Self {
        let refused = Self::problem(DoorRefusal::Path, ProblemKind::Malformed, trick.to_string());
        match trick {
            PathTrick::TooLong => refused.with_status(StatusCode::URI_TOO_LONG),
            _ => refused,
        }
    }
}

impl From<Ambiguous> for Refused {
    fn from(ambiguous: Ambiguous) -> Self {
        Self::problem(DoorRefusal::Credentials, ProblemKind::Malformed, ambiguous.to_string())
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            why: Some(DoorRefusal::NotAllowed),
            response: Box::new(refusal.answer),
            closes: false,
        }
    }
}
