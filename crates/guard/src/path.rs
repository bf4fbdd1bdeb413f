//! The path of a request as the application will understand it, or the refusal of one that could be understood in two ways.
//!
//! The application decodes percent signs once and then compares letter by letter: it folds no case, joins no slashes and
//! resolves no dots. Decisions must see what it sees; and what anything between here and there could make another path of is
//! refused rather than repaired. Pure, and fuzzed.

use percent_encoding::percent_decode_str;

/// A longer path is refused.
pub const PATH_BYTES_MAX: usize = 8 * 1024;

/// A path, decoded once, in which nothing is ambiguous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePath {
    decoded: String,
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathTrick {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// It is too long.
    #[error("the path is too long")]
    TooLong,
    /// A percent sign without two hexadecimal digits, digits that make no UTF-8, or letters that had to be encoded.
    #[error("the path is not percent-encoded UTF-8")]
    Malformed,
    /// A control character, encoded or not.
    #[error("the path holds a control character")]
    Control,
    /// A backslash, encoded or not.
    #[error("the path holds a backslash")]
    Backslash,
    /// An encoded slash.
    #[error("the path holds an encoded slash")]
    EncodedSlash,
    /// Two slashes in a row.
    #[error("the path holds an empty segment")]
    EmptySegment,
    /// A segment `.` or `..`, encoded or not.
    #[error("the path holds a dot segment")]
    DotSegment,
    /// A bare semicolon, which some take for the beginning of parameters.
    #[error("the path holds a parameter")]
    Parameter,
    /// Something that decoding a second time would change into one of the above.
    #[error("the path is encoded twice")]
    EncodedTwice,
}

impl RoutePath {
    /// Reads the path of a request line, without its query.
    ///
    /// # Errors
    /// It could be understood in two ways.
    pub fn read(raw: &str) -> Result<Self, PathTrick> {
        if raw.len() > PATH_BYTES_MAX {
            return Err(PathTrick::TooLong);
        }
        if !raw.starts_with('/') {
            return Err(PathTrick::NotAbsolute);
        }
        if !raw.is_ascii() {
            return Err(PathTrick::Malformed);
        }
        if raw.contains(';') {
            return Err(PathTrick::Parameter);
        }
        if !raw.contains('%') {
            check(raw)?;
            return Ok(Self {
                decoded: raw.to_owned(),
            });
        }
        if !is_well_encoded(raw) {
            return Err(PathTrick::Malformed);
        }
        if holds_escape(raw, b'/') {
            return Err(PathTrick::EncodedSlash);
        }
        let decoded = percent_decode_str(raw).decode_utf8();
        let decoded = decoded.map_err(|_| PathTrick::Malformed)?.into_owned();
        check(&decoded)?;
        if [b'/', b'\\', b'.', 0].iter().any(|byte| holds_escape(&decoded, *byte)) {
            return Err(PathTrick::EncodedTwice);
        }
        Ok(Self { decoded })
    }

    /// Gives the path as the application sees it.
    pub fn as_str(&self) -> &str {
        &self.decoded
    }

    /// Gives the segments between the slashes; a trailing slash gives a last empty one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.decoded[1..].split('/')
    }

    /// Says whether one of the prefixes, in any case of letters, is this path or ends before a slash of it. In any case,
    /// because a path that only looks like one of the API's is no page either.
    pub fn is_below_any(&self, prefixes: &[&str]) -> bool {
        let path = self.decoded.as_bytes();
        prefixes.iter().any(|prefix| {
            path.get(..prefix.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
                && matches!(path.get(prefix.len()), None | Some(b'/'))
        })
    }
}

/// Says whether every percent sign is followed by two hexadecimal digits.
fn is_well_encoded(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    bytes.iter().enumerate().all(|(place, byte)| {
        let is_digit = |ahead: usize| bytes.get(place + ahead).is_some_and(u8::is_ascii_hexdigit);
        *byte != b'%' || (is_digit(1) && is_digit(2))
    })
}

/// Says whether the text holds the escape of this byte.
fn holds_escape(text: &str, byte: u8) -> bool {
    let escape = [b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    text.as_bytes()
        .windows(3)
        .any(|window| window.eq_ignore_ascii_case(&escape))
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Refuses what is ambiguous however it was written.
fn check(path: &str) -> Result<(), PathTrick> {
    if path.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(PathTrick::Control);
    }
    if path.contains('\\') {
        return Err(PathTrick::Backslash);
    }
    if path.contains("//") {
        return Err(PathTrick::EmptySegment);
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(PathTrick::DotSegment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &str) -> Result<String, PathTrick> {
        RoutePath::read(raw).map(|path| path.decoded)
    }

    #[test]
    fn a_path_is_decoded_once_as_the_application_does() {
        for (raw, decoded) in [
            ("/", "/"),
            ("/api/v1/functions/", "/api/v1/functions/"),
            (
                "/api/v1/files/f/content/na%C3%AFve%20plan%3B1.pdf",
                "/api/v1/files/f/content/naïve plan;1.pdf",
            ),
            ("/files/100%25.pdf", "/files/100%.pdf"),
            ("/API/V1", "/API/V1"),
            ("/a/.../b..c/.d", "/a/.../b..c/.d"),
            ("/a:b@c+d", "/a:b@c+d"),
        ] {
            assert_eq!(read(raw).as_deref(), Ok(decoded), "{raw}");
        }
    }

    #[test]
    fn what_could_be_understood_in_two_ways_is_refused() {
        use PathTrick::{
            Backslash, Control, DotSegment, EmptySegment, EncodedSlash, EncodedTwice, Malformed, NotAbsolute,
            Parameter, TooLong,
        };
        for (raw, trick) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("//api", EmptySegment),
            ("/api//v1", EmptySegment),
            ("/api/v1//", EmptySegment),
            ("/static/../api", DotSegment),
            ("/static/%2e%2E/api", DotSegment),
            ("/static/.%2e/api", DotSegment),
            ("/./api", DotSegment),
            ("/api/..", DotSegment),
            ("/static%2fapi", EncodedSlash),
            ("/static/..%2Fapi", EncodedSlash),
            ("/static\\api", Backslash),
            ("/static%5Capi", Backslash),
            ("/api;v=1/v1", Parameter),
            ("/api%00", Control),
            ("/api%0a", Control),
            ("/api%7f", Control),
            ("/api%", Malformed),
            ("/api%2", Malformed),
            ("/api%zz", Malformed),
            ("/api%ff", Malformed),
            ("/api%c0%af", Malformed),
            ("/caf\u{e9}", Malformed),
            ("/static%252fapi", EncodedTwice),
            ("/static/%252e%252E/api", EncodedTwice),
            ("/a%255cb", EncodedTwice),
            ("/a%2500", EncodedTwice),
        ] {
            assert_eq!(read(raw), Err(trick), "{raw}");
        }
        assert_eq!(read(&"/a".repeat(PATH_BYTES_MAX)), Err(TooLong));
    }

    #[test]
    fn a_prefix_ends_at_a_segment_and_folds_case() {
        let is_below = |raw: &str| RoutePath::read(raw).unwrap().is_below_any(&["/api", "/ws"]);
        for path in ["/api", "/api/", "/api/v1", "/API/v1", "/aPi", "/ws/socket.io/"] {
            assert!(is_below(path), "{path}");
        }
        for path in ["/", "/apis", "/a", "/static/api", "/wsx/y"] {
            assert!(!is_below(path), "{path}");
        }
    }

    proptest! {
        /// Whoever decodes, joins or resolves an accepted path once more finds the same segments.
        #[test]
        fn an_accepted_path_can_be_understood_in_one_way_only(raw in "/?([a-b./\\\\;%]|%2[eEfF5]|%5[cC]|%0[0a]|%c3%a4|\\PC){0,12}") {
            if let Ok(path) = RoutePath::read(&raw) {
                let path = path.as_str();
                let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
                prop_assert!(path.starts_with('/') && !path.contains("//") && !path.contains('\\'));
                prop_assert!(!path.bytes().any(|byte| byte.is_ascii_control()));
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert_eq!(slashes(&raw), slashes(path));
                if let Ok(again) = percent_decode_str(path).decode_utf8() {
                    prop_assert_eq!(slashes(&again), slashes(path));
                    prop_assert!(again.split('/').all(|segment| segment != "." && segment != ".."));
                }
            }
        }
    }
}
