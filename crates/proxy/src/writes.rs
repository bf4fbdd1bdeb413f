//! `PATCH /v1/config` and `PATCH /v1/users/{id}/settings`: one value written, if it still is what its writer has read.
//!
//! Off unless the operator allows it, and for those alone who may be told secrets: they may set them too. The condition is judged
//! under the row's lock (`neverstale_postgres::Writer`), and the answer's position is of a fence taken after the commit, so that
//! whoever reads at least as fresh, on any sidecar, sees the write. No value is ever logged.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use hyper::body::Incoming;
use neverstale_cache::{Level, etag_of};
use neverstale_flavour::check_json;
use neverstale_listener::Body;
use neverstale_postgres::{Change, Standing, WriteError, Written};
use neverstale_telemetry::WriteOutcome;
use neverstale_wire::ProblemKind;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    conditional::has_exactly,
    dispatch::Call,
    names,
    problem::{Failure, chain},
    respond,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    path: String,
    value: Box<RawValue>,
    /// What the writer has read beside the value, where there is one: nobody may have changed anything beside it since.
    version: Option<i64>,
}

/// What must be there for the write to be made.
#[derive(Debug, PartialEq, Eq)]
enum Condition {
    /// `If-None-Match: *`: no value yet.
    Absent,
    /// `If-Match: *`: some value.
    Present,
    /// `If-Match`: one of these.
    OneOf(Vec<HeaderValue>),
    /// The body's `version` alone.
    Version,
}

pub(crate) async fn answer(call: &Call<'_>, target: &str, body: Incoming) -> Result<Response<Body>, Failure> {
    let written = write(call, target, body).await;
    let outcome = match &written {
        Ok(_) => WriteOutcome::Ok,
        Err(failure) => match failure.problem.kind {
            ProblemKind::PreconditionFailed => WriteOutcome::PreconditionFailed,
            ProblemKind::OutcomeUnknown => WriteOutcome::Unknown,
            _ => WriteOutcome::Refused,
        },
    };
    call.shared.metrics.writes_total[outcome].inc();
    written
}

async fn write(call: &Call<'_>, target: &str, body: Incoming) -> Result<Response<Body>, Failure> {
    if !call.shared.settings.writes_allowed {
        return Err(Failure::forbidden(
            "writes are off here; api.writes_allowed allows them",
        ));
    }
    if !call.grant.secrets {
        return Err(Failure::forbidden("writes need a bearer token or the Unix socket"));
    }
    let router = &call.shared.router;
    let target = router.write(target).ok_or(ProblemKind::NotInThisSchema)??;
    let body = call.body(body).await?;
    let question: Question = serde_json::from_slice(&body)
        .map_err(|_| Failure::malformed(r#"the body is not {"path": "…", "value": …}, perhaps with a "version""#))?;
    if question.version.is_some() && !target.write.versioned {
        return Err(Failure::malformed("what is written there has no version"));
    }
    let condition = Condition::read(call.headers, question.version.is_some())?;
    check_json(question.value.get())
        .map_err(|reason| Failure::malformed(format!("the value can't be kept: {reason}")))?;
    let read = router.read_of_write(&target, &question.path)?;
    let change = Change {
        target: &target,
        read: &read,
        path: &question.path,
        value: question.value.get(),
    };
    let may = |standing: Standing<'_>| {
        (question.version.is_none() || question.version == standing.version) && condition.holds(standing.value)
    };
    match call.shared.writer.write(change, &may, call.deadline).await? {
        Written::Changed(new) => Ok(respond(call, new).await),
        Written::Refused(current, version) => Err(Failure::precondition_failed(current, version)),
        Written::Nothing => Err(ProblemKind::NotFound.into()),
    }
}

/// The new value, with a position that shows it; without one where no fence could be had: the write is made all the same.
async fn respond(call: &Call<'_>, new: Option<Bytes>) -> Response<Body> {
    let etag = new.as_deref().map(etag_of);
    let body = new.unwrap_or_else(|| Bytes::from_static(b"null"));
    let mut response = match call.shared.cache.position(call.deadline).await {
        Ok(token) => respond::json(body, token, Level::FullyConsistent),
        Err(error) => {
            tracing::debug!(error = chain(&error), "a write has no position: no fence after it");
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(header::CONTENT_TYPE, names::JSON);
            response
        }
    };
    if let Some(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

impl Condition {
    /// Reads `If-Match` and `If-None-Match`, one of which there must be, unless the body names a version.
    fn read(headers: &HeaderMap, has_version: bool) -> Result<Self, Failure> {
        let matches: Vec<HeaderValue> = headers.get_all(header::IF_MATCH).iter().cloned().collect();
        let mut absences = headers.get_all(header::IF_NONE_MATCH).iter().peekable();
        let is_star = |value: &HeaderValue| value.as_bytes().trim_ascii() == b"*";
        match (matches.as_slice(), absences.peek().is_some()) {
            ([], false) if has_version => Ok(Self::Version),
            ([], false) => Err(ProblemKind::PreconditionRequired.into()),
            ([], true) if absences.all(is_star) => Ok(Self::Absent),
            ([], true) => Err(Failure::malformed("If-None-Match of a write is nothing but *")),
            (_, true) => Err(Failure::malformed("If-Match and If-None-Match exclude each other")),
            (matches, false) if matches.iter().any(is_star) => Ok(Self::Present),
            (_, false) => Ok(Self::OneOf(matches)),
        }
    }

    fn holds(&self, current: Option<&[u8]>) -> bool {
        match (self, current) {
            (Self::Version, _) => true,
            (Self::Absent, current) => current.is_none(),
            (Self::Present, current) => current.is_some(),
            (Self::OneOf(_), None) => false,
            (Self::OneOf(lists), Some(current)) => has_exactly(lists, &etag_of(current)),
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match &error {
            WriteError::Deadline => ProblemKind::DeadlineExceeded.into(),
            WriteError::Unknown => {
                tracing::warn!(error = chain(&error), "a write's outcome is unknown");
                ProblemKind::OutcomeUnknown.into()
            }
            WriteError::Blocked(_) | WriteError::Value { .. } => Self::malformed(error.to_string()),
            WriteError::MissingRight { said, grant, .. } => {
                tracing::warn!(error = chain(&error), "a write was refused by Postgres");
                Self::forbidden(format!(
                    "the sidecar's role lacks a right ({said}); as the owner: {grant}"
                ))
            }
            WriteError::Connect(_) => {
                tracing::warn!(error = chain(&error), "a write found no connection");
                Self::unavailable("the primary does not answer; nothing was written")
            }
            WriteError::Statement { .. } => {
                tracing::warn!(error = chain(&error), "a write was refused by Postgres");
                Self::unavailable("the primary refused the write; the log says with which SQLSTATE")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Condition, ProblemKind> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Condition::read(&headers, false).map_err(|failure| failure.problem.kind)
    }

    #[test]
    fn a_write_names_what_must_be_there() {
        assert_eq!(read(&[]), Err(ProblemKind::PreconditionRequired));
        assert_eq!(Condition::read(&HeaderMap::new(), true).ok(), Some(Condition::Version));
        assert_eq!(read(&[("if-none-match", "*")]), Ok(Condition::Absent));
        assert_eq!(read(&[("if-match", " * ")]), Ok(Condition::Present));
        assert_eq!(read(&[("if-none-match", "\"a\"")]), Err(ProblemKind::Malformed));
        assert_eq!(
            read(&[("if-match", "*"), ("if-none-match", "*")]),
            Err(ProblemKind::Malformed)
        );
    }

    #[test]
    fn a_condition_is_judged_by_the_very_bytes_of_the_answer() {
        let value: &[u8] = br#"{"path" : "a", "value" : 1}"#;
        let list = |text: &str| Condition::OneOf(vec![HeaderValue::from_str(text).unwrap()]);
        let etag = etag_of(value);
        let etag = etag.to_str().unwrap();
        assert!(list(etag).holds(Some(value)));
        assert!(list(&format!("\"x\", {etag}")).holds(Some(value)));
        assert!(!list(etag).holds(Some(b"{}")), "another value");
        assert!(!list(etag).holds(None), "no value any more");
        assert!(
            !list(&format!("W/{etag}")).holds(Some(value)),
            "weak validators match nothing"
        );
        assert!(Condition::Present.holds(Some(value)) && !Condition::Present.holds(None));
        assert!(Condition::Absent.holds(None) && !Condition::Absent.holds(Some(value)));
    }
}
