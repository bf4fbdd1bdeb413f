//! The head of a request, screened before anything is made of it: framing and targets that two servers could read differently.
//!
//! What hyper refuses by itself (bad chunks, folded lines, lengths that differ) never comes here; what it repairs in silence is
//! seen by the listener's `framing` and comes here as the connection's trick. Pure, and fuzzed.

use http::{HeaderMap, HeaderName, Method, Version, header, request::Parts, uri::Authority};
use neverstale_listener::Trick;

/// More header bytes than this are refused.
pub const HEAD_BYTES_MAX: usize = 48 * 1024;
/// Longer targets are refused.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;

/// Why a request is refused before anything is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Screened {
    /// What was seen on the connection.
    #[error("{0}")]
    Framing(#[from] Trick),
    /// A method that is for proxies, or that echoes what it is sent.
    #[error("the method is not passed on")]
    Method,
    /// The target is no path: absolute, an authority, or an asterisk.
    #[error("the request's target is not a path")]
    Target,
    /// There is no host, or there are several, or it is none.
    #[error("there is not exactly one valid Host")]
    Host,
    /// Several lengths.
    #[error("there are several Content-Length headers")]
    Length,
    /// A header that `Connection` must not name.
    #[error("Connection names a header that is for everybody")]
    Connection,
    /// The target is too long.
    #[error("the request's target is too long")]
    TargetTooLong,
    /// There are too many header bytes.
    #[error("the headers are too large")]
    HeadTooLarge,
}

/// Checks a head.
///
/// # Errors
/// Two servers could read it differently, or it is too large.
pub fn check(head: &Parts, trick: Option<Trick>) -> Result<(), Screened> {
    if let Some(trick) = trick {
        return Err(trick.into());
    }
    if matches!(head.method, Method::CONNECT | Method::TRACE) || head.method.as_str().eq_ignore_ascii_case("TRACK") {
        return Err(Screened::Method);
    }
    let target = head.uri.path_and_query().ok_or(Screened::Target)?.as_str();
    if !target.starts_with('/') {
        return Err(Screened::Target);
    }
    if target.len() > TARGET_BYTES_MAX {
        return Err(Screened::TargetTooLong);
    }
    let bytes = |(name, value): (&HeaderName, &http::HeaderValue)| name.as_str().len() + value.len();
    if head.headers.iter().map(bytes).sum::<usize>() > HEAD_BYTES_MAX {
        return Err(Screened::HeadTooLarge);
    }
    host(head)?;
    if head.headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(Screened::Length);
    }
    connection(&head.headers)
}

/// HTTP/1 names the host in one header and not in the target; HTTP/2 in the target, and a header beside it says the same.
fn host(head: &Parts) -> Result<(), Screened> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Screened::Host);
    }
    let authority = head.uri.authority();
    if head.version < Version::HTTP_2 {
        if authority.is_some() || head.uri.scheme().is_some() {
            return Err(Screened::Target);
        }
        let is_missing_by_right = host.is_none() && head.version < Version::HTTP_11;
        return match host {
            Some(host) if is_host(host.as_bytes()) => Ok(()),
            None if is_missing_by_right => Ok(()),
            _ => Err(Screened::Host),
        };
    }
    match (authority, host) {
        (Some(authority), Some(host)) if authority.as_str().as_bytes() != host.as_bytes() => Err(Screened::Host),
        (Some(authority), _) if is_host(authority.as_str().as_bytes()) => Ok(()),
        (None, Some(host)) if is_host(host.as_bytes()) => Ok(()),
        _ => Err(Screened::Host),
    }
}

fn is_host(bytes: &[u8]) -> bool {
    !bytes.contains(&b'@') && Authority::try_from(bytes).is_ok()
}

/// What every hop drops may not be something that a later one needs in order to understand or judge the request.
fn connection(headers: &HeaderMap) -> Result<(), Screened> {
    static FOR_EVERYBODY: [HeaderName; 10] = [
        header::HOST,
        header::AUTHORIZATION,
        header::COOKIE,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::TRANSFER_ENCODING,
        header::ORIGIN,
        header::FORWARDED,
        header::VIA,
    ];
    let is_fine = |option: &str| {
        !FOR_EVERYBODY
            .iter()
            .any(|name| option.eq_ignore_ascii_case(name.as_str()))
    };
    if options(headers).all(is_fine) {
        Ok(())
    } else {
        Err(Screened::Connection)
    }
}

/// The length of the body, where a head tells it.
pub fn announced_bytes(head: &Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The options that `Connection` headers name. One that is no text names nothing.
pub fn options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CONNECTION).iter();
    let options = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    options.map(str::trim).filter(|option| !option.is_empty())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn checked(version: Version, method: &str, target: &str, headers: &[(&str, &str)]) -> Result<(), Screened> {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0, None)
    }

    fn first(target: &str, headers: &[(&str, &str)]) -> Result<(), Screened> {
        checked(Version::HTTP_11, "GET", target, headers)
    }

    const HOST: (&str, &str) = ("host", "chat.example:8080");

    #[test]
    fn an_ordinary_request_passes() {
        assert_eq!(
            first("/a?b=//c", &[HOST, ("connection", "keep-alive, Upgrade")]),
            Ok(())
        );
        assert_eq!(first("/", &[("host", "[::1]:80")]), Ok(()));
        assert_eq!(checked(Version::HTTP_10, "GET", "/", &[]), Ok(()));
        assert_eq!(checked(Version::HTTP_2, "GET", "https://chat.example/", &[]), Ok(()));
    }

    #[test]
    fn what_two_servers_could_read_differently_does_not() {
        for (headers, target, screened) in [
            (&[][..], "/", Screened::Host),
            (&[HOST, HOST], "/", Screened::Host),
            (&[("host", "")], "/", Screened::Host),
            (&[("host", "a b")], "/", Screened::Host),
            (&[("host", "user@chat.example")], "/", Screened::Host),
            (&[("host", "chat.example/x")], "/", Screened::Host),
            (&[HOST], "http://chat.example/", Screened::Target),
            (&[HOST], "*", Screened::Target),
            (
                &[HOST, ("content-length", "1"), ("content-length", "1")],
                "/",
                Screened::Length,
            ),
            (
                &[HOST, ("connection", "close, Authorization")],
                "/",
                Screened::Connection,
            ),
            (
                &[HOST, ("connection", "x"), ("connection", "cookie")],
                "/",
                Screened::Connection,
            ),
        ] {
            assert_eq!(first(target, headers), Err(screened), "{target} {headers:?}");
        }
        for method in ["TRACE", "TRACK", "track"] {
            assert_eq!(checked(Version::HTTP_11, method, "/", &[HOST]), Err(Screened::Method));
        }
        assert_eq!(
            checked(Version::HTTP_11, "CONNECT", "chat.example:443", &[HOST]),
            Err(Screened::Method)
        );
        assert_eq!(
            checked(
                Version::HTTP_2,
                "GET",
                "https://chat.example/",
                &[("host", "other.example")]
            ),
            Err(Screened::Host)
        );
        let long = format!("/{}", "a".repeat(TARGET_BYTES_MAX));
        assert_eq!(first(&long, &[HOST]), Err(Screened::TargetTooLong));
        let large = "a".repeat(HEAD_BYTES_MAX);
        assert_eq!(first("/", &[HOST, ("x", &large)]), Err(Screened::HeadTooLarge));
    }
}
