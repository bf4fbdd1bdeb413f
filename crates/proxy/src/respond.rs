//! Turns an answer of the cache into an HTTP response: finished bytes and prebuilt headers.

use std::{cell::RefCell, sync::LazyLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use neverstale_cache::{Answer, Entry, Level};
use neverstale_wire::{Problem, ProblemKind, Token};

use crate::{asked::Asked, body::Body, conditional::has_already, names};

/// Headers of an answer, with some to spare for the connection's.
const HEADERS: usize = 6;

/// The body of every 404 that comes from the database.
static NOT_FOUND: LazyLock<Bytes> = LazyLock::new(|| Problem::from(ProblemKind::NotFound).to_json().into());

/// Responds with an answer: 200, 304 or 404. Allocates the table of headers and nothing else.
pub(crate) fn answer(answer: &Answer, asked: &Asked<'_>, request_headers: &HeaderMap) -> Response<Body> {
    let mut response = entry(&answer.entry, answer.token, answer.kept, asked, request_headers);
    response
        .headers_mut()
        .insert(names::CACHE_STATUS, names::cache_status(answer.source));
    response
}

/// Responds with an entry, wherever it came from.
pub(crate) fn entry(
    entry: &Entry,
    token: Token,
    kept: Level,
    asked: &Asked<'_>,
    request_headers: &HeaderMap,
) -> Response<Body> {
    // Conditions are for what would be a 200 (RFC 9110 §13.2.1).
    let (status, body, content_type) = if !entry.is_found {
        (
            StatusCode::NOT_FOUND,
            Body::from(NOT_FOUND.clone()),
            Some(names::PROBLEM),
        )
    } else if asked.is_conditional && has_already(request_headers, &entry.etag) {
        (StatusCode::NOT_MODIFIED, Body::empty(), None)
    } else {
        (StatusCode::OK, Body::from(entry.body.clone()), Some(names::JSON))
    };
    let mut headers = HeaderMap::with_capacity(HEADERS);
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(header::ETAG, entry.etag.clone());
    headers.insert(names::POSITION, position(token));
    headers.insert(names::CONSISTENCY, names::kept(kept));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Responds with JSON that shows the state of `token`.
pub(crate) fn json(body: impl Into<Bytes>, token: Token, kept: Level) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, names::JSON);
    headers.insert(names::POSITION, position(token));
    headers.insert(names::CONSISTENCY, names::kept(kept));
    response
}

/// Gives the text of a token as a header. Positions change with writes and are told with reads, so the last one is kept.
fn position(token: Token) -> HeaderValue {
    thread_local! {
        static LAST: RefCell<Option<(Token, HeaderValue)>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| match last {
        Some((known, value)) if *known == token => value.clone(),
        _ => {
            let value = HeaderValue::try_from(token.to_string()).expect("hexadecimal digits are a header value");
            *last = Some((token, value.clone()));
            value
        }
    })
}
