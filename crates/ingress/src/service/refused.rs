//! What the door alone refuses: a body on its way, an application that does not answer. The rest is `guard`'s.

use std::{borrow::Cow, error::Error};

use http::{HeaderValue, Response, StatusCode, header};
use neverstale_guard::refused::Refused;
use neverstale_telemetry::{DoorRefusal, Metrics, PassOutcome};
use neverstale_wire::ProblemKind;

use crate::{
    filtered::NotFiltered,
    streams::{Download, StreamError},
    upstream::PassError,
    whole::NotWhole,
};

/// Counts a refusal and gives its answer.
pub(super) fn response(refused: Refused, metrics: &Metrics) -> Response<Download> {
    let closes = refused.closes();
    let mut response = refused.into_response(metrics);
    if closes {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response.map(Download::from)
}

fn no_room(detail: &'static str) -> Refused {
    Refused::problem(DoorRefusal::Room, ProblemKind::Unavailable, detail)
}

fn too_slow(detail: impl Into<Cow<'static, str>>) -> Refused {
    Refused::problem(DoorRefusal::Slow, ProblemKind::Malformed, detail)
        .with_status(StatusCode::REQUEST_TIMEOUT)
        .and_close()
}

/// A body that could not be judged.
impl From<NotWhole> for Refused {
    fn from(why: NotWhole) -> Self {
        match why {
            NotWhole::TooLarge => Self::too_large(),
            NotWhole::NoRoom => no_room("there is no room for another body now").and_close(),
            NotWhole::TooSlow => too_slow("the body took too long"),
            NotWhole::Broken(error) => match error.downcast_ref::<StreamError>() {
                Some(error) => Self::from(*error),
                None => Self::problem(DoorRefusal::Framing, ProblemKind::Malformed, "the body ended early").and_close(),
            },
        }
    }
}

/// An answer that could not be filtered.
impl From<NotFiltered> for Refused {
    fn from(why: NotFiltered) -> Self {
        let upstream = |kind, detail| Self::problem(DoorRefusal::Upstream, kind, detail);
        match why {
            NotFiltered::Refused(refusal) => refusal.into(),
            NotFiltered::NotWhole(NotWhole::NoRoom) => no_room("there is no room for another answer now"),
            NotFiltered::NotWhole(NotWhole::TooSlow) => upstream(
                ProblemKind::DeadlineExceeded,
                "an answer that must be filtered took too long",
            ),
            NotFiltered::NotWhole(NotWhole::TooLarge | NotWhole::Broken(_)) => upstream(
                ProblemKind::BadGateway,
                "an answer that must be filtered can't be read whole",
            ),
        }
    }
}

impl From<StreamError> for Refused {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::TooLarge => Self::too_large(),
            StreamError::StoodStill => too_slow(error.to_string()),
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
