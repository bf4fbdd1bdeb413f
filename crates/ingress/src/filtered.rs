//! An answer that the guard filters: read whole, filtered, and given the length and the validator of what is left.
//!
//! The application's own validator is of what is not shown, so it goes, and the condition that a caller makes of ours is judged
//! here: the request went on without it. An answer that can't be read whole, or is none that the route gives, is refused.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use neverstale_cache::etag_of;
use neverstale_identity::Caller;
use neverstale_wire::{Problem, ProblemKind};
use tokio::time::Instant;

use crate::{
    guard::{ListFilter, Refusal},
    shared::Shared,
    upstream::Answer,
    whole::NotWhole,
};

/// Why an answer does not reach the caller.
#[derive(Debug)]
pub(crate) enum NotFiltered {
    /// It can't be read whole.
    NotWhole(NotWhole),
    /// It can't be told what of it may be seen.
    Refused(Refusal),
}

impl From<NotWhole> for NotFiltered {
    fn from(why: NotWhole) -> Self {
        Self::NotWhole(why)
    }
}

impl From<Refusal> for NotFiltered {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What must not go on with a request whose answer is filtered, because it is about bytes that the caller never sees. Gives
/// back the caller's condition.
pub(crate) fn prepare(headers: &mut HeaderMap) -> Option<HeaderValue> {
    static OF_THE_WHOLE: [header::HeaderName; 5] = [
        header::IF_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
    ];
    for name in &OF_THE_WHOLE {
        headers.remove(name);
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.remove(header::IF_NONE_MATCH)
}

/// Filters an answer. One that is not 200 carries no list and stays as it is.
pub(crate) async fn filter(
    shared: &Shared,
    caller: Option<&Caller>,
    rule: &ListFilter,
    response: Response<Answer>,
    condition: Option<HeaderValue>,
) -> Result<Response<Bytes>, NotFiltered> {
    let (mut head, body) = response.into_parts();
    let whole = shared.room.hold(body).await.map_err(|unheld| unheld.why)?;
    if head.status != StatusCode::OK {
        return Ok(Response::from_parts(head, whole.bytes));
    }
    if head.headers.contains_key(header::CONTENT_ENCODING) {
        let detail = "an answer that must be filtered came encoded";
        return Err(Refusal::problem(&Problem::new(ProblemKind::BadGateway, detail)).into());
    }
    // The time of the decision begins when there is something to decide about.
    let deadline = Instant::now() + shared.rules.decision;
    let body = shared.guard.filter(caller, rule, whole.bytes, deadline).await?;
    let etag = etag_of(&body);
    let is_known = condition.is_some_and(|condition| is_named(&condition, &etag));
    for name in [header::LAST_MODIFIED, header::ACCEPT_RANGES] {
        head.headers.remove(name);
    }
    if head.headers.contains_key(header::ETAG) {
        head.headers.insert(header::ETAG, etag);
    }
    if is_known {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_LENGTH);
        return Ok(Response::from_parts(head, Bytes::new()));
    }
    head.headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Ok(Response::from_parts(head, body))
}

/// Says whether a condition names a validator. No comma is in ours, so a list can be cut at commas.
fn is_named(condition: &HeaderValue, etag: &HeaderValue) -> bool {
    let names = condition.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names
        .map(|name| name.strip_prefix(b"W/").unwrap_or(name))
        .any(|name| name == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filtered_answer_is_asked_for_whole_and_plain() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("range", "bytes=0-1"),
            ("if-none-match", "\"a\""),
            ("accept-encoding", "br"),
            ("accept", "x"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        assert_eq!(prepare(&mut headers).unwrap(), "\"a\"");
        assert_eq!(headers.len(), 2);
        assert_eq!(headers[header::ACCEPT_ENCODING], "identity");
    }

    #[test]
    fn a_condition_names_our_validator_or_not() {
        let etag = etag_of(b"x");
        let text = etag.to_str().unwrap();
        let named = |condition: String| is_named(&HeaderValue::from_str(&condition).unwrap(), &etag);
        assert!(named(text.to_owned()) && named(format!("\"a\", W/{text}")));
        assert!(!named("\"a\"".to_owned()) && !named("*".to_owned()));
    }
}
