//! The one place where what the door refuses becomes an answer, and is counted.

use std::error::Error;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::LengthLimitError;
use neverstale_telemetry::{DoorRefusal, Metrics, PassOutcome};
use neverstale_wire::{Problem, ProblemKind};

use crate::{
    answer,
    credentials::Ambiguous,
    guard::Refusal,
    path::PathTrick,
    screen::Screened,
    streams::{Download, StreamError},
    upstream::PassError,
};

/// A request that does not reach the application, or an answer that does not reach the caller.
pub(super) struct Refused {
    /// None for what is no refusal but the guard's own answer.
    why: Option<DoorRefusal>,
    response: Box<Response<Bytes>>,
    /// Whether what else comes on the connection can't be trusted.
    closes: bool,
}

impl Refused {
    pub(super) fn problem(
        why: DoorRefusal,
        kind: ProblemKind,
        detail: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Self {
        Self {
            why: Some(why),
            response: Box::new(answer::problem(&Problem::new(kind, detail))),
            closes: false,
        }
    }

    /// What the guard answers in the application's place.
    pub(super) fn answered(response: Response<Bytes>) -> Self {
        Self {
            why: None,
            response: Box::new(response),
            closes: false,
        }
    }

    /// A decision is needed and can't be had: the door stays shut.
    pub(super) fn undecided(detail: &'static str) -> Self {
        Self::problem(DoorRefusal::Undecided, ProblemKind::Unavailable, detail)
    }

    pub(super) fn too_large() -> Self {
        Self::problem(DoorRefusal::Size, ProblemKind::TooLarge, "the body is too large").and_close()
    }

    /// A body that could not be read whole.
    pub(super) fn of_body(error: Box<dyn Error + Send + Sync>) -> Self {
        if error.is::<LengthLimitError>() {
            return Self::too_large();
        }
        match error.downcast_ref::<StreamError>() {
            Some(error) => Self::from(*error),
            None => Self::problem(DoorRefusal::Framing, ProblemKind::Malformed, "the body ended early").and_close(),
        }
    }

    pub(super) fn and_close(self) -> Self {
        Self { closes: true, ..self }
    }

    /// Gives a more exact status than the kind of problem has, in the status line and in the body.
    fn with_status(mut self, status: StatusCode) -> Self {
        let body = String::from_utf8_lossy(self.response.body());
        let member = |status: StatusCode| format!("\"status\":{}", status.as_u16());
        let body = body.replacen(&member(self.response.status()), &member(status), 1);
        *self.response.body_mut() = body.into();
        *self.response.status_mut() = status;
        self
    }

    pub(super) fn into_response(mut self, metrics: &Metrics) -> Response<Download> {
        if let Some(why) = self.why {
            metrics.ingress_refusals_total[why].inc();
        }
        if self.closes {
            let close = HeaderValue::from_static("close");
            self.response.headers_mut().insert(header::CONNECTION, close);
        }
        (*self.response).map(Download::from)
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

impl From<StreamError> for Refused {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::TooLarge => Self::too_large(),
            StreamError::StoodStill => Self::problem(DoorRefusal::Slow, ProblemKind::Malformed, error.to_string())
                .with_status(StatusCode::REQUEST_TIMEOUT)
                .and_close(),
        }
    }
}

impl From<PassError> for Refused {
    fn from(error: PassError) -> Self {
        let (kind, detail) = match &error {
            PassError::Body(ended) => return Self::from(*ended),
            PassError::Unreachable(_) => (ProblemKind::BadGateway, "the application can't be reached"),
            PassError::BrokenOff(_) => (ProblemKind::BadGateway, "the application broke off before it answered"),
            PassError::Late => (
                ProblemKind::DeadlineExceeded,
                "the application did not begin to answer in time",
            ),
        };
        tracing::debug!(error = chain(&error), "a request has no answer of the application");
        Self::problem(DoorRefusal::Upstream, kind, detail)
    }
}

/// Counts what became of a request that was passed on and not answered.
pub(super) fn count(error: &PassError, metrics: &Metrics) {
    metrics.ingress_passes_total[match error {
        PassError::Unreachable(_) => PassOutcome::Unreachable,
        PassError::Late => PassOutcome::Late,
        PassError::BrokenOff(_) => PassOutcome::BrokenOff,
        PassError::Body(_) => PassOutcome::CallerLeft,
    }]
    .inc();
}

/// The whole chain of causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(now) = cause {
        text = format!("{text}: {now}");
        cause = now.source();
    }
    text
}
