//! What the door answers by itself: problems, and nothing else.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use neverstale_wire::{Problem, problem::PROBLEM_MEDIA_TYPE};

/// Answers with a problem.
pub fn problem(problem: &Problem) -> Response<Bytes> {
    let status = StatusCode::from_u16(problem.status()).expect("kinds of problems have valid statuses");
    let mut response = Response::new(Bytes::from(problem.to_json()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = problem.retry_after_seconds {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
