//! The one place where what went wrong becomes an HTTP answer (RFC 9457).
//!
//! A problem says what its caller may know; causes go to the log, here and nowhere else.

use std::{error::Error, fmt, iter::successors};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use neverstale_cache::{ReadError, etag_of};
use neverstale_flavour::RouteError;
use neverstale_identity::IdentityError;
use neverstale_listener::{Body, QueryError};
use neverstale_wire::{Problem, ProblemKind};

use crate::names;

/// A request that is answered with a problem.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) problem: Problem,
    /// Where HTTP has a more exact status than the kind of problem.
    status: Option<StatusCode>,
    allow: Option<&'static str>,
    challenge: Option<&'static str>,
    /// What is there instead of what the caller named, with its validator.
    current: Option<Box<Current>>,
}

/// The answer that a condition was judged by; never printed, since it may hold a secret.
struct Current {
    body: Option<Bytes>,
    version: Option<i64>,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl Failure {
    pub(crate) fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Problem::new(ProblemKind::Malformed, detail).into()
    }

    /// A path that the contract does not have.
    pub(crate) fn unknown_path() -> Self {
        Problem::new(ProblemKind::NotFound, "the contract has no such path").into()
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..ProblemKind::MethodNotAllowed.into()
        }
    }

    pub(crate) fn unauthorised(challenge: &'static str) -> Self {
        Self {
            challenge: Some(challenge),
            ..ProblemKind::Unauthorised.into()
        }
    }

    pub(crate) fn forbidden(detail: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Problem::new(ProblemKind::Forbidden, detail).into()
    }

    /// Somebody was faster: `current` is what there is now, `version` its version if it has one.
    pub(crate) fn precondition_failed(current: Option<Bytes>, version: Option<i64>) -> Self {
        Self {
            current: Some(Box::new(Current { body: current, version })),
            ..ProblemKind::PreconditionFailed.into()
        }
    }

    pub(crate) fn uri_too_long(bytes_max: usize) -> Self {
        let problem = Problem::new(
            ProblemKind::TooLarge,
            format!("path and query are longer than {bytes_max} bytes"),
        );
        Self {
            status: Some(StatusCode::URI_TOO_LONG),
            ..problem.into()
        }
    }

    pub(crate) fn head_too_large(bytes_max: usize) -> Self {
        let problem = Problem::new(
            ProblemKind::TooLarge,
            format!("the headers are larger than {bytes_max} bytes"),
        );
        Self {
            status: Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            ..problem.into()
        }
    }

    pub(crate) fn body_too_large(bytes_max: u64) -> Self {
        Problem::new(
            ProblemKind::TooLarge,
            format!("the body is larger than {bytes_max} bytes"),
        )
        .into()
    }

    pub(crate) fn unavailable(detail: &'static str) -> Self {
        Problem::new(ProblemKind::Unavailable, detail).into()
    }

    /// Gives the finished answer.
    pub(crate) fn into_response(self) -> Response<Body> {
        let kind_status = StatusCode::from_u16(self.problem.status()).expect("kinds of problems have valid statuses");
        let status = self.status.unwrap_or(kind_status);
        let mut body = self.problem.to_json();
        if status != kind_status {
            body = with_status(&body, status);
        }
        if let Some(current) = &self.current {
            body = with_current(body, current);
        }
        let mut response = Response::new(Body::from(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some(current) = self.current.as_ref().and_then(|current| current.body.as_ref()) {
            headers.insert(header::ETAG, etag_of(current));
        }
        headers.insert(header::CONTENT_TYPE, names::PROBLEM);
        if let Some(seconds) = self.problem.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Writes another status into the body of a problem.
fn with_status(body: &[u8], status: StatusCode) -> Vec<u8> {
    let mut body: serde_json::Value = serde_json::from_slice(body).expect("we have just written it");
    body["status"] = status.as_u16().into();
    serde_json::to_vec(&body).expect("numbers and texts always serialise")
}

/// Adds what there is now to the body of a problem, its bytes as they are.
fn with_current(mut body: Vec<u8>, current: &Current) -> Vec<u8> {
    assert_eq!(body.pop(), Some(b'}'), "a problem is an object");
    body.extend_from_slice(b",\"current\":");
    body.extend_from_slice(current.body.as_deref().unwrap_or(b"null"));
    if let Some(version) = current.version {
        body.extend_from_slice(format!(",\"version\":{version}").as_bytes());
    }
    body.push(b'}');
    body
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            status: None,
            allow: None,
            challenge: None,
            current: None,
        }
    }
}

impl From<ProblemKind> for Failure {
    fn from(kind: ProblemKind) -> Self {
        Problem::from(kind).into()
    }
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NotInThisSchema => ProblemKind::NotInThisSchema.into(),
            RouteError::UnknownPath => Self::unknown_path(),
            RouteError::Malformed(reason) => Self::malformed(reason),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::malformed(error.0)
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::NoSession => Problem::new(ProblemKind::NotFound, "this is no valid session").into(),
            IdentityError::NoApiKey => Problem::new(ProblemKind::NotFound, "this is no valid API key").into(),
            IdentityError::Unavailable(detail) => Self::unavailable(detail),
            IdentityError::Read(error) => error.into(),
            IdentityError::NotInThisSchema => ProblemKind::NotInThisSchema.into(),
            IdentityError::Flavour => ProblemKind::Internal.into(),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        if error.is_ours() {
            tracing::warn!(error = chain(&error), "a view can't be filled");
        } else {
            tracing::debug!(error = chain(&error), "a read can't be answered");
        }
        error.problem().into()
    }
}

/// The whole chain of causes in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    successors(Some(error), |error| (**error).source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use neverstale_changefeed::FeedError;

    use super::*;

    fn told(failure: Failure) -> (u16, String, Vec<(String, String)>) {
        let response = failure.into_response();
        let Body::Finished(Some(body)) = response.body() else {
            panic!("a problem has a finished body");
        };
        let body = String::from_utf8(body.to_vec()).unwrap();
        let header =
            |(name, value): (&http::HeaderName, &HeaderValue)| (name.to_string(), value.to_str().unwrap().to_owned());
        (
            response.status().as_u16(),
            body,
            response.headers().iter().map(header).collect(),
        )
    }

    #[test]
    fn each_failure_has_the_answer_that_the_contract_names() {
        let failures = [
            Failure::malformed("why"),
            Failure::unauthorised("Bearer"),
            ProblemKind::SecretNeedsToken.into(),
            RouteError::NotInThisSchema.into(),
            RouteError::UnknownPath.into(),
            RouteError::Malformed("a percent sign".into()).into(),
            Failure::method_not_allowed("GET, HEAD"),
            Failure::body_too_large(9),
            Failure::uri_too_long(9),
            Failure::head_too_large(9),
            Failure::forbidden("why"),
            Failure::precondition_failed(None, None),
            Failure::precondition_failed(Some(Bytes::from_static(b"{\"value\" : 1}")), Some(3)),
            ProblemKind::PreconditionRequired.into(),
            ProblemKind::OutcomeUnknown.into(),
            ProblemKind::TooManyRequests.into(),
            ReadError::Deadline.into(),
            ReadError::Entitlement(FeedError::Deadline).into(),
            ReadError::Entitlement(FeedError::Starting).into(),
            ReadError::Entitlement(FeedError::TokenAhead).into(),
            ReadError::Entitlement(FeedError::Verification("secret reasons".into())).into(),
        ];
        let told: Vec<_> = failures.into_iter().map(told).collect();
        insta::assert_debug_snapshot!(told);
    }

    #[test]
    fn body_and_status_line_agree_where_http_is_more_exact() {
        let body = with_status(&Failure::uri_too_long(9).problem.to_json(), StatusCode::URI_TOO_LONG);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&body["status"], &body["type"]),
            (&414.into(), &"urn:neverstale:problem:too-large".into())
        );
    }
}
