//! `If-None-Match` (RFC 9110 §13.1.2): whether the caller already has what would be answered.

use http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH};

/// Says whether one of the caller's validators is `etag`, by weak comparison, or `*`. What is malformed matches nothing.
pub(crate) fn has_already(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|value| matches(value.as_bytes(), etag.as_bytes()))
}

fn matches(list: &[u8], etag: &[u8]) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = list;
    loop {
        rest = rest.trim_ascii_start();
        let opaque = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(inner) = opaque.strip_prefix(b"\"") else {
            return false;
        };
        let Some(length) = inner.iter().position(|byte| *byte == b'"') else {
            return false;
        };
        if &opaque[..length + 2] == etag {
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
