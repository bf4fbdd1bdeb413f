//! Which token or key of a request the application will take, found as the application finds it, and how to take it away.
//!
//! The order is the application's: a bearer token, then the cookie `token` (the last one, if there are several), then the
//! credentials of any other scheme, then the header for API keys. Pure, and fuzzed.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The cookie that holds a session.
const COOKIE: &[u8] = b"token";

/// Several `Authorization` headers: which of them counts is anybody's guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are several Authorization headers")]
pub struct Ambiguous;

/// Finds what a request shows; none if it shows nothing. What is no text is shown as a text that no token is.
///
/// # Errors
/// It shows two things in the same place.
pub fn shown<'h>(headers: &'h HeaderMap, api_key_header: &HeaderName) -> Result<Option<Cow<'h, str>>, Ambiguous> {
    let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
    let authorization = authorizations.next();
    if authorizations.next().is_some() {
        return Err(Ambiguous);
    }
    let (scheme, credentials) = authorization.map_or((&b""[..], &b""[..]), |value| split(value.as_bytes()));
    if scheme.eq_ignore_ascii_case(b"bearer") && !credentials.is_empty() {
        return Ok(Some(text(credentials)));
    }
    if let Some(cookie) = cookies(headers).next_back() {
        return Ok(Some(unquote(cookie)));
    }
    if !scheme.is_empty() && !credentials.is_empty() {
        return Ok(Some(text(credentials)));
    }
    Ok(headers.get(api_key_header).map(|value| text(value.as_bytes())))
}

/// Says whether a request holds a credential beside the one that was judged.
pub fn holds_others(headers: &HeaderMap, api_key_header: &HeaderName, judged: &str) -> bool {
    let is_other = |found: &[u8]| found != judged.as_bytes();
    headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .any(|value| is_other(split(value.as_bytes()).1))
        || headers
            .get_all(api_key_header)
            .iter()
            .any(|value| is_other(value.as_bytes()))
        || cookies(headers).any(|cookie| unquote(cookie) != judged)
}

/// Takes everything away that could be taken for a credential, but the one that was judged.
pub fn strip(headers: &mut HeaderMap, api_key_header: &HeaderName, judged: Option<&str>) {
    let is_judged = |found: &[u8]| judged.is_some_and(|judged| found == judged.as_bytes());
    let is_judged_cookie = |cookie: &[u8]| judged.is_some_and(|judged| unquote(cookie) == judged);
    let is_stripped = |name: &HeaderName, value: &HeaderValue| {
        (*name == header::AUTHORIZATION && !is_judged(split(value.as_bytes()).1))
            || (name == api_key_header && !is_judged(value.as_bytes()))
    };
    let mut left = HeaderMap::with_capacity(headers.len());
    let mut last = None;
    for (name, value) in std::mem::take(headers) {
        let name = name.or_else(|| last.take()).expect("a map gives a name first");
        if name == header::COOKIE {
            if let Some(value) = without_token(&value, is_judged_cookie) {
                left.append(&name, value);
            }
        } else if !is_stripped(&name, &value) {
            left.append(&name, value);
        }
        last = Some(name);
    }
    *headers = left;
}

/// Splits at the first blank: a scheme, and its credentials without blanks around.
fn split(value: &[u8]) -> (&[u8], &[u8]) {
    match value.iter().position(|byte| *byte == b' ') {
        Some(end) => (&value[..end], trim(&value[end + 1..])),
        None => (value, &[]),
    }
}

/// The cookies of the name, in any of the headers.
fn cookies(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = &[u8]> {
    let pieces = headers.get_all(header::COOKIE).iter();
    let pieces = pieces.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pieces.filter_map(token_of)
}

/// The value of a piece of a `Cookie` header, if it is our cookie.
fn token_of(piece: &[u8]) -> Option<&[u8]> {
    let end = piece.iter().position(|byte| *byte == b'=')?;
    (trim(&piece[..end]) == COOKIE).then(|| trim(&piece[end + 1..]))
}

/// Takes the quotes off as the application does. A quoted value with escapes is no token of anybody.
fn unquote(value: &[u8]) -> Cow<'_, str> {
    match value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
        Some(inner) if inner.contains(&b'\\') => Cow::Borrowed(""),
        Some(inner) => text(inner),
        None => text(value),
    }
}

fn without_token(value: &HeaderValue, is_judged: impl Fn(&[u8]) -> bool) -> Option<HeaderValue> {
    let pieces = value.as_bytes().split(|byte| *byte == b';');
    let stays = |piece: &&[u8]| token_of(piece).is_none_or(&is_judged);
    if pieces.clone().all(|piece| stays(&piece)) {
        return Some(value.clone());
    }
    let left: Vec<&[u8]> = pieces.filter(stays).map(trim).collect();
    let left = left.join(&b"; "[..]);
    if left.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&left).ok()
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    // What is right at once is found out faster than what is wrong.
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// The blanks that the application's language takes off, as far as a header can hold them.
fn trim(bytes: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0x85 | 0xa0);
    let begin = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| !is_blank(byte))
        .map_or(begin, |last| last + 1);
    &bytes[begin..end]
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const KEY: HeaderName = HeaderName::from_static("x-api-key");

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    fn found(lines: &[(&'static str, &str)]) -> Option<String> {
        shown(&headers(lines), &KEY).unwrap().map(Cow::into_owned)
    }

    #[test]
    fn the_application_and_we_take_the_same_one() {
        let (bearer, cookie, key) = (
            ("authorization", "Bearer b"),
            ("cookie", "x=1; token=c; y=2"),
            ("x-api-key", "k"),
        );
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[key, cookie, bearer]).as_deref(), Some("b"));
        assert_eq!(found(&[key, cookie]).as_deref(), Some("c"));
        assert_eq!(found(&[key]).as_deref(), Some("k"));
        let basic = ("authorization", "Basic z");
        assert_eq!(found(&[basic, cookie]).as_deref(), Some("c"));
        assert_eq!(found(&[basic, key]).as_deref(), Some("z"));
        for spelled in ["bearer b", "BEARER   b  ", "Bearer b"] {
            assert_eq!(found(&[("authorization", spelled)]).as_deref(), Some("b"), "{spelled}");
        }
        assert_eq!(found(&[("authorization", "Bearer"), cookie]).as_deref(), Some("c"));
        assert_eq!(found(&[("authorization", "Bearer ")]), None);
    }

    #[test]
    fn of_several_cookies_the_last_counts() {
        let of = |cookie: &str| found(&[("cookie", cookie)]);
        assert_eq!(of("token=a; token=b").as_deref(), Some("b"));
        assert_eq!(of("token=a;token =b; tokens=c; atoken=d").as_deref(), Some("b"));
        assert_eq!(of("token=\"a\"").as_deref(), Some("a"));
        assert_eq!(of("token=\"a\\073\"").as_deref(), Some(""));
        assert_eq!(of("token=a=b").as_deref(), Some("a=b"));
        assert_eq!(of("Token=a; token"), None);
        assert_eq!(
            found(&[("cookie", "token=a"), ("cookie", "token=b")]).as_deref(),
            Some("b")
        );
    }

    #[test]
    fn what_was_judged_stays_and_nothing_beside_it() {
        let judged = |lines: &[(&'static str, &str)]| {
            let mut headers = headers(lines);
            let found = shown(&headers, &KEY).unwrap().unwrap().into_owned();
            let holds_others = holds_others(&headers, &KEY, &found);
            strip(&mut headers, &KEY, Some(&found));
            assert_eq!(shown(&headers, &KEY).unwrap().as_deref(), Some(&*found));
            (holds_others, headers)
        };
        let (bearer, other) = (("authorization", "Bearer a"), ("cookie", "token=b; x=1"));
        for alone in [
            &[bearer][..],
            &[("cookie", "token=\"a\"")],
            &[bearer, ("cookie", "token=a; x=1")],
            &[other],
            &[("x-api-key", "k")],
        ] {
            assert_eq!(judged(alone), (false, headers(alone)));
        }
        assert_eq!(judged(&[bearer, other]), (true, headers(&[bearer, ("cookie", "x=1")])));
        assert_eq!(judged(&[other, ("x-api-key", "k")]), (true, headers(&[other])));
        assert_eq!(
            judged(&[("cookie", "token=b; token=a")]),
            (true, headers(&[("cookie", "token=a")]))
        );
    }

    #[test]
    fn two_authorizations_are_none() {
        let headers = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]);
        assert_eq!(shown(&headers, &KEY), Err(Ambiguous));
    }

    #[test]
    fn nothing_is_left_of_a_stripped_credential_and_everything_of_the_rest() {
        let mut left = headers(&[
            ("accept", "a"),
            ("authorization", "Bearer b"),
            ("cookie", "x=1; token=c;y=2 ; token=d"),
            ("cookie", "token=e"),
            ("cookie", "z=3"),
            ("x-api-key", "k"),
            ("accept", "b"),
        ]);
        strip(&mut left, &KEY, None);
        assert_eq!(shown(&left, &KEY), Ok(None));
        assert_eq!(
            left,
            headers(&[
                ("accept", "a"),
                ("accept", "b"),
                ("cookie", "x=1; y=2"),
                ("cookie", "z=3")
            ])
        );
    }

    proptest! {
        /// Whatever a request shows, nothing of it is left but what is kept, and the other headers stay.
        #[test]
        fn what_is_stripped_is_gone(lines in vec((0_usize..4, "(Bearer |bearer|Basic |x=|token=|TOKEN=|[ab\" ;=,\\\\]|\\PC){0,8}"), 0..6)) {
            let names = [header::AUTHORIZATION, header::COOKIE, KEY, header::ACCEPT];
            let mut all = HeaderMap::new();
            for (name, value) in &lines {
                if let Ok(value) = HeaderValue::from_str(value) {
                    all.append(&names[*name], value);
                }
            }
            if let Ok(Some(judged)) = shown(&all, &KEY) {
                let mut left = all.clone();
                strip(&mut left, &KEY, Some(&judged));
                prop_assert!(!holds_others(&left, &KEY, &judged));
                let left = shown(&left, &KEY).unwrap();
                prop_assert!(left.is_none_or(|left| left == judged));
            }
            let mut left = all.clone();
            strip(&mut left, &KEY, None);
            prop_assert_eq!(shown(&left, &KEY), Ok(None));
            prop_assert_eq!(left.get_all(header::ACCEPT).iter().count(), all.get_all(header::ACCEPT).iter().count());
        }
    }
}
