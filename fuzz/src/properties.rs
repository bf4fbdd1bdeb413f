//! What must hold of the door's parsers, for any bytes. Each panics where it does not.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::subject::{Framing, RoutePath, credentials};

const KEY: HeaderName = HeaderName::from_static("x-api-key");

/// However the bytes of a connection are cut, the same trick is seen, and after the first one nothing is watched. The bytes after
/// the last line feed say where to cut, as letters.
pub fn framing(data: &[u8]) {
    let (bytes, cuts) = match data.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => data.split_at(end + 1),
        None => (data, &[][..]),
    };
    let mut whole = Framing::default();
    let seen = whole.feed(bytes);
    let mut pieces = Framing::default();
    let (mut rest, mut found) = (bytes, None);
    for cut in cuts {
        let (now, later) = rest.split_at(usize::from(*cut).min(rest.len()));
        found = found.or(pieces.feed(now));
        rest = later;
    }
    found = found.or(pieces.feed(rest));
    assert_eq!(seen, found);
    assert_eq!(whole.is_lost(), pieces.is_lost());
    assert!(seen.is_none() || whole.is_lost());
}

/// A path that is accepted can be understood in one way only, by whoever decodes, joins or resolves it once more.
pub fn path(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let Ok(path) = RoutePath::read(raw) else { return };
    let path = path.as_str();
    assert!(path.starts_with('/') && !path.contains("//") && !path.contains('\\'));
    assert!(!path.bytes().any(|byte| byte.is_ascii_control()));
    assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
    // As many slashes as were written: none came from an escape.
    let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
    assert_eq!(slashes(raw), slashes(path));
    // A second reader that decodes again sees the same slashes and no dot segments.
    if let Ok(again) = RoutePath::read(path) {
        assert_eq!(slashes(again.as_str()), slashes(path));
    }
}

/// Whatever a request shows, nothing of it is left once it is taken away, and the other headers stay. Each line is a header, by
/// its first letter: A(uthorization), C(ookie), K(ey) or any other.
pub fn credentials(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((name, value)) = line.split_first() else {
            continue;
        };
        let name = match name {
            b'A' => header::AUTHORIZATION,
            b'C' => header::COOKIE,
            b'K' => KEY,
            _ => header::ACCEPT,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let others = headers.get_all(header::ACCEPT).iter().count();
    if let Ok(Some(judged)) = credentials::shown(&headers, &KEY) {
        let judged = judged.into_owned();
        let mut left = headers.clone();
        credentials::strip(&mut left, &KEY, Some(&judged));
        assert!(!credentials::holds_others(&left, &KEY, &judged));
        let left = credentials::shown(&left, &KEY).expect("one was left");
        assert!(left.is_none_or(|left| left == judged));
    }
    credentials::strip(&mut headers, &KEY, None);
    assert_eq!(credentials::shown(&headers, &KEY), Ok(None));
    assert_eq!(headers.get_all(header::ACCEPT).iter().count(), others);
}
