//! The problems that an answer can name instead of a body (RFC 9457).
//!
//! Built by the listeners, serialised here once. A problem says what its caller may know and no more: the causes stay in the log.

use std::borrow::Cow;

use serde::Serialize;

/// The media type of every problem.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// The kinds of problems; each has a stable type, title and status that callers may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The request can't be understood.
    Malformed,
    /// A bearer token is required and none, or a wrong one, was sent.
    Unauthorised,
    /// The caller is known and may not have this.
    Forbidden,
    /// The answer carries a secret and goes only to a token or the Unix socket.
    SecretNeedsToken,
    /// There is no such thing: itself a cached, tagged, coherent answer.
    NotFound,
    /// The contract has this path, the schema of this application does not.
    NotInThisSchema,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// What is there is not what a write said that it changes.
    PreconditionFailed,
    /// The request's body is larger than the limit.
    TooLarge,
    /// A write did not say what it changes.
    PreconditionRequired,
    /// More requests than the limit are running.
    TooManyRequests,
    /// What stands behind does not answer, or not as it should.
    BadGateway,
    /// The promised level can't be kept now.
    Unavailable,
    /// The request's deadline passed.
    DeadlineExceeded,
    /// The request's deadline passed, or the database was lost, while a write was being committed.
    OutcomeUnknown,
    /// A fault of ours.
    Internal,
}

impl ProblemKind {
    /// Every kind, in the order of its status; the published contract lists them from here.
    pub const ALL: [Self; 16] = [
        Self::Malformed,
        Self::Unauthorised,
        Self::Forbidden,
        Self::SecretNeedsToken,
        Self::NotFound,
        Self::NotInThisSchema,
        Self::MethodNotAllowed,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::PreconditionRequired,
        Self::TooManyRequests,
        Self::Internal,
        Self::BadGateway,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::OutcomeUnknown,
    ];

    /// Gives the last word of the type, which also names the kind in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthorised => "unauthorised",
            Self::Forbidden => "forbidden",
            Self::SecretNeedsToken => "secret-needs-token",
            Self::NotFound => "not-found",
            Self::NotInThisSchema => "not-in-this-schema",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::PreconditionFailed => "precondition-failed",
            Self::TooLarge => "too-large",
            Self::PreconditionRequired => "precondition-required",
            Self::TooManyRequests => "too-many-requests",
            Self::BadGateway => "bad-gateway",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::Internal => "internal",
        }
    }

    /// Gives the `type`: what a program compares.
    pub const fn type_uri(self) -> &'static str {
        match self {
            Self::Malformed => "urn:neverstale:problem:malformed",
            Self::Unauthorised => "urn:neverstale:problem:unauthorised",
            Self::Forbidden => "urn:neverstale:problem:forbidden",
            Self::SecretNeedsToken => "urn:neverstale:problem:secret-needs-token",
            Self::NotFound => "urn:neverstale:problem:not-found",
            Self::NotInThisSchema => "urn:neverstale:problem:not-in-this-schema",
            Self::MethodNotAllowed => "urn:neverstale:problem:method-not-allowed",
            Self::PreconditionFailed => "urn:neverstale:problem:precondition-failed",
            Self::TooLarge => "urn:neverstale:problem:too-large",
            Self::PreconditionRequired => "urn:neverstale:problem:precondition-required",
            Self::TooManyRequests => "urn:neverstale:problem:too-many-requests",
            Self::BadGateway => "urn:neverstale:problem:bad-gateway",
            Self::Unavailable => "urn:neverstale:problem:unavailable",
            Self::DeadlineExceeded => "urn:neverstale:problem:deadline-exceeded",
            Self::OutcomeUnknown => "urn:neverstale:problem:outcome-unknown",
            Self::Internal => "urn:neverstale:problem:internal",
        }
    }

    /// Gives the `title`: the same sentence for every problem of the kind.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request is malformed",
            Self::Unauthorised => "A valid bearer token is required",
            Self::Forbidden => "This is not allowed",
            Self::SecretNeedsToken => "Answers that carry secrets need a bearer token or the Unix socket",
            Self::NotFound => "There is no such thing",
            Self::NotInThisSchema => "The application's schema does not have this",
            Self::MethodNotAllowed => "The path does not have this method",
            Self::PreconditionFailed => "The value is not what the request says that it changes",
            Self::TooLarge => "The request is too large",
            Self::PreconditionRequired => "A write needs If-Match, or If-None-Match: *",
            Self::TooManyRequests => "Too many requests are running",
            Self::BadGateway => "What stands behind does not answer",
            Self::Unavailable => "The asked level of consistency can't be kept now",
            Self::DeadlineExceeded => "The deadline of the request has passed",
            Self::OutcomeUnknown => "The write was being committed and may or may not have been made",
            Self::Internal => "An internal error occurred",
        }
    }

    /// Gives the HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthorised => 401,
            Self::Forbidden | Self::SecretNeedsToken => 403,
            Self::NotFound | Self::NotInThisSchema => 404,
            Self::MethodNotAllowed => 405,
            Self::PreconditionFailed => 412,
            Self::TooLarge => 413,
            Self::PreconditionRequired => 428,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::DeadlineExceeded | Self::OutcomeUnknown => 504,
        }
    }
}

/// One problem as it is told to a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which of the stable kinds it is.
    pub kind: ProblemKind,
    /// What is particular about this occurrence, for a person; free of secrets and of other people's data.
    pub detail: Option<Cow<'static, str>>,
    /// When to try again, for the `Retry-After` header; also a member of the body.
    pub retry_after_seconds: Option<u32>,
}

impl From<ProblemKind> for Problem {
    fn from(kind: ProblemKind) -> Self {
        let retry_after_seconds = matches!(kind, ProblemKind::Unavailable | ProblemKind::TooManyRequests).then_some(1);
        Self {
            kind,
            detail: None,
            retry_after_seconds,
        }
    }
}

impl Problem {
    /// Makes a problem that says more than its kind does; `Retry-After` is 1 s for the kinds that pass by themselves.
    pub fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::from(kind)
        }
    }

    /// Sets when the caller should try again.
    #[must_use]
    pub fn retry_after_seconds(self, seconds: u32) -> Self {
        Self {
            retry_after_seconds: Some(seconds),
            ..self
        }
    }

    /// Gives the HTTP status.
    pub const fn status(&self) -> u16 {
        self.kind.status()
    }

    /// Gives the finished JSON of the body.
    pub fn to_json(&self) -> Vec<u8> {
        let body = Body {
            r#type: self.kind.type_uri(),
            title: self.kind.title(),
            status: self.status(),
            detail: self.detail.as_deref(),
            retry_after_seconds: self.retry_after_seconds,
        };
        serde_json::to_vec(&body).expect("numbers and texts always serialise")
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_kind_has_its_own_type_that_ends_in_its_name() {
        let types: HashSet<_> = ProblemKind::ALL.into_iter().map(ProblemKind::type_uri).collect();
        assert_eq!(types.len(), ProblemKind::ALL.len());
        for kind in ProblemKind::ALL {
            assert_eq!(kind.type_uri(), format!("urn:neverstale:problem:{}", kind.name()));
        }
        assert!(ProblemKind::ALL.is_sorted_by_key(|kind| kind.status()));
    }

    #[test]
    fn the_body_is_as_published() {
        let problem = Problem::new(ProblemKind::Unavailable, "no fence was answered in 2000 ms");
        assert_eq!(
            String::from_utf8(problem.to_json()).unwrap(),
            r#"{"type":"urn:neverstale:problem:unavailable","title":"The asked level of consistency can't be kept now","status":503,"detail":"no fence was answered in 2000 ms","retry_after_seconds":1}"#
        );
        assert_eq!(
            String::from_utf8(Problem::from(ProblemKind::NotFound).to_json()).unwrap(),
            r#"{"type":"urn:neverstale:problem:not-found","title":"There is no such thing","status":404}"#
        );
    }
}
