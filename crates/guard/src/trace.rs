//! The names under which a request is found again in logs: `X-Request-Id`, and `traceparent` (W3C Trace Context).
//!
//! What a caller brings is kept if it is well formed; else both are made from one random number. The door records no spans, so a
//! `traceparent` is passed on as it is, and one that is made here asks nobody to sample.

use std::fmt::Write;

use http::{HeaderName, HeaderValue};
use neverstale_lifecycle::random_u64;
use neverstale_telemetry::TraceParent;

/// Names the trace and the span of whoever calls.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What else tracers tell each other.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Names the request.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const REQUEST_ID_BYTES_MAX: usize = 128;

/// Gives an id that nobody else has.
pub fn new_request_id() -> String {
    format!("{:016x}{:016x}", random_u64(), random_u64() | 1)
}

/// Gives a trace that begins here: 32 hexadecimal digits name it.
pub fn new_traceparent(trace: &str) -> HeaderValue {
    let mut text = String::with_capacity(55);
    write!(text, "00-{trace}-{:016x}-00", random_u64() | 1).expect("writing to a string never fails");
    HeaderValue::try_from(text).expect("hexadecimal digits are a header value")
}

/// Says whether the id that a caller brings can be taken over: short, visible, and of letters that no log mistakes.
pub fn is_request_id(value: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    !value.is_empty() && value.len() <= REQUEST_ID_BYTES_MAX && value.as_bytes().iter().all(is_plain)
}

/// Says whether a value is a `traceparent` that can be passed on.
pub fn is_traceparent(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| TraceParent::parse(text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_one_or_not() {
        let is = |text: &str| is_traceparent(&HeaderValue::from_str(text).unwrap());
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is(good) && is("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"));
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert!(!is(wrong), "{wrong}");
        }
        assert!(is_traceparent(&new_traceparent(&new_request_id())));
    }

    #[test]
    fn an_id_that_could_break_a_log_line_is_not_taken_over() {
        let is = |text: &str| is_request_id(&HeaderValue::from_str(text).unwrap());
        assert!(is("a-1_b.c:d") && is(&new_request_id()));
        assert!(!is("") && !is("a b") && !is("a\"b") && !is(&"a".repeat(129)));
    }
}
