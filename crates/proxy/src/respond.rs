//! Turns an answer of the cache into an HTTP response: finished bytes and prebuilt headers.

use std::{cell::RefCell, sync::LazyLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use neverstale_cache::{Answer, Entry, Level};
use neverstale_listener::Body;
use neverstale_wire::{Problem, ProblemKind, Token};

use crate::{asked::Asked, conditional::has_already, names};

/// The body of every 404 that comes from the database.
static NOT_FOUND: LazyLock<Bytes> = LazyLock::new(|| Problem::from(ProblemKind::NotFound).to_json().into());

/// Says whether the caller has the entry already. Conditions are for what would be a 200 (RFC 9110 §13.2.1).
pub(crate) fn is_known_to_caller(entry: &Entry, asked: &Asked<'_>, request_headers: &HeaderMap) -> bool {
    asked.is_conditional && entry.is_found && has_already(request_headers, &entry.etag)
}

/// Responds with an answer: 404, 304 where the caller has it already, else 200.
///
/// `headers` is whatever table is at hand, such as the request's own: it is emptied and filled, so that nothing is allocated.
pub(crate) fn answer(answer: &Answer, is_known: bool, mut headers: HeaderMap) -> Response<Body> {
    let entry = &*answer.entry;
    let (status, body, content_type) = if !entry.is_found {
        let body = Body::from(NOT_FOUND.clone());
        (StatusCode::NOT_FOUND, body, Some(names::PROBLEM))
    } else if is_known {
        (StatusCode::NOT_MODIFIED, Body::empty(), None)
    } else {
        (StatusCode::OK, Body::from(entry.body.clone()), Some(names::JSON))
    };
    headers.clear();
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(header::ETAG, entry.etag.clone());
    headers.insert(names::POSITION, position(answer.token));
    headers.insert(names::CONSISTENCY, names::kept(answer.kept));
    headers.insert(names::CACHE_STATUS, names::cache_status(answer.source));
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
