//! `If-None-Match` (RFC 9110 §13.1.2): whether the caller already has what would be answered; and `If-Match` (§13.1.1) of writes.

use http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH};

/// Says whether one of the caller's validators is `etag`, by weak comparison, or `*`. What is malformed matches nothing.
pub(crate) fn has_already(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|value| matches(value.as_bytes(), etag.as_bytes()))
}

/// Says whether one of the validators of `If-Match` headers is `etag`, by strong comparison.
pub(crate) fn has_exactly(lists: &[HeaderValue], etag: &HeaderValue) -> bool {
    lists.iter().any(|list| names(list.as_bytes(), etag.as_bytes(), false))
}

fn matches(list: &[u8], etag: &[u8]) -> bool {
    list.trim_ascii() == b"*" || names(list, etag, true)
}

fn names(list: &[u8], etag: &[u8], is_weak_enough: bool) -> bool {
    let mut rest = list;
    loop {
        rest = rest.trim_ascii_start();
        let weak = rest.strip_prefix(b"W/");
        let opaque = weak.unwrap_or(rest);
        let Some(inner) = opaque.strip_prefix(b"\"") else {
            return false;
        };
        let Some(length) = inner.iter().position(|byte| *byte == b'"') else {
            return false;
        };
        if &opaque[..length + 2] == etag && (weak.is_none() || is_weak_enough) {
            return true;
        }
        match inner[length + 1..].trim_ascii_start().strip_prefix(b",") {
            Some(next) => rest = next,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_weak_validators_and_the_star_match() {
        for list in [
            r#""abc""#,
            r#"W/"abc""#,
            r#""x", "abc""#,
            r#""x" ,  W/"abc","y""#,
            r#""a,b", "abc""#,
            "*",
            " * ",
        ] {
            assert!(matches(list.as_bytes(), br#""abc""#), "{list}");
        }
        for list in [
            "",
            r#""ab""#,
            r#""abcd""#,
            "abc",
            r#""abc"#,
            r#"w/"abc""#,
            r#""x" "abc""#,
            r#""x",, "abc""#,
            r#""*""#,
        ] {
            assert!(!matches(list.as_bytes(), br#""abc""#), "{list}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(IF_NONE_MATCH, HeaderValue::from_static("\"x\""));
        headers.append(IF_NONE_MATCH, HeaderValue::from_static("\"abc\""));
        assert!(has_already(&headers, &HeaderValue::from_static("\"abc\"")));
    }
}
