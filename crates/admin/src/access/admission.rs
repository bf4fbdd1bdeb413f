//! Who may ask about people: a bearer token of `admin.token_file` where there is one, else the page itself, on loopback.
//!
//! Loopback is a person with a forwarded port, or a program in the pod. It is neither of them where the connection was forwarded for
//! somebody else, by a proxy or a mesh, nor where a page that somebody has open reaches us under a name of its own (DNS rebinding).
//! A program in the pod may fetch whatever address its users name (links, webhooks, redirects): so an address alone is never enough,
//! and the page sends a header that such a fetch does not, and a page from elsewhere can't without asking us first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Uri, header, uri::Authority};
use neverstale_listener::{Peer, Tokens};
use neverstale_wire::{Problem, ProblemKind};

/// What the page's own questions carry; see `ask` in `page/access.js`.
const PAGE: (&str, &str) = ("neverstale-page", "access");
/// What proxies add, of whom and by whom they ask.
const FORWARDED: [&str; 4] = ["forwarded", "via", "x-real-ip", "x-request-id"];
const FORWARDED_PREFIXES: [&str; 2] = ["x-forwarded-", "x-envoy-"];

/// Judges a caller.
pub(super) fn judge(peer: Peer, uri: &Uri, headers: &HeaderMap, tokens: Option<&Tokens>) -> Result<(), Problem> {
    if let Some(tokens) = tokens {
        let authorization = headers.get(header::AUTHORIZATION);
        if authorization.is_some_and(|value| tokens.accept(value)) {
            return Ok(());
        }
        return Err(Problem::new(
            ProblemKind::Unauthorised,
            "names and addresses of people are for a bearer token of admin.token_file",
        ));
    }
    if !is_near(peer) || is_forwarded(headers) || !is_addressed_here(uri, headers) {
        return Err(Problem::new(
            ProblemKind::Forbidden,
            "names and addresses of people are for loopback alone, as by `kubectl port-forward`; for others set admin.token_file",
        ));
    }
    if headers.get(PAGE.0).is_none_or(|value| value != PAGE.1) {
        return Err(Problem::new(
            ProblemKind::Forbidden,
            "an address alone is not told about people: the page asks with the header `Neverstale-Page: access`, and programs ask /v1/access",
        ));
    }
    Ok(())
}

/// The two addresses by which a forwarded port and a program in the pod come; a mesh delivers what is from elsewhere by another one of
/// 127.0.0.0/8.
fn is_near(peer: Peer) -> bool {
    match peer {
        Peer::Tcp(address) => {
            let address = address.ip().to_canonical();
            address == IpAddr::V4(Ipv4Addr::LOCALHOST) || address == IpAddr::V6(Ipv6Addr::LOCALHOST)
        }
        Peer::Unix => false,
    }
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    let is_of_proxy =
        |name: &str| FORWARDED.contains(&name) || FORWARDED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    headers.keys().any(|name| is_of_proxy(name.as_str()))
}

/// Whether the request names loopback, and not a name or an address that may be anybody's.
fn is_addressed_here(uri: &Uri, headers: &HeaderMap) -> bool {
    let named = headers
        .get_all(header::HOST)
        .iter()
        .map(|host| host.to_str().unwrap_or_default());
    let mut names = uri
        .authority()
        .map(Authority::as_str)
        .into_iter()
        .chain(named)
        .peekable();
    names.peek().is_some() && names.all(is_here)
}

fn is_here(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    ["127.0.0.1", "[::1]"].contains(&host) || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NEAR: &str = "127.0.0.1:9";
    const HOST: (&str, &str) = ("host", "127.0.0.1");

    fn judged(peer: &str, given: &[(&'static str, &str)], tokens: Option<&Tokens>) -> Option<ProblemKind> {
        let pair = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        let headers: HeaderMap<HeaderValue> = given.iter().map(pair).collect();
        let peer = Peer::Tcp(peer.parse().unwrap());
        judge(peer, &Uri::from_static("/access/people"), &headers, tokens)
            .err()
            .map(|problem| problem.kind)
    }

    #[test]
    fn without_tokens_it_is_for_the_page_on_loopback_and_nobody_behind_it() {
        let no = Some(ProblemKind::Forbidden);
        for host in ["127.0.0.1:7381", "localhost:7381", "LOCALHOST", "[::1]:7381"] {
            assert_eq!(judged(NEAR, &[("host", host), PAGE], None), None, "{host}");
        }
        for near in ["[::1]:9", "[::ffff:127.0.0.1]:9"] {
            assert_eq!(judged(near, &[HOST, PAGE], None), None, "{near}");
        }
        for far in ["10.0.0.7:9", "127.0.0.6:9", "[::ffff:127.0.0.6]:9", "[fe80::1]:9"] {
            assert_eq!(judged(far, &[HOST, PAGE], None), no, "{far}");
        }
        for behind in [
            ("x-forwarded-for", "10.0.0.7"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-client-cert", "By=spiffe://a"),
            ("x-real-ip", "10.0.0.7"),
            ("x-request-id", "1"),
            ("x-envoy-attempt-count", "1"),
            ("x-envoy-peer-metadata-id", "sidecar"),
            ("forwarded", "for=10.0.0.7"),
            ("via", "1.1 mesh"),
        ] {
            assert_eq!(judged(NEAR, &[HOST, PAGE, behind], None), no, "{behind:?}");
        }
        for elsewhere in [
            "evil.example",
            "evil.example:7381",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.1.2.3",
            "127.0.0.6",
            "[::2]",
            "",
        ] {
            assert_eq!(judged(NEAR, &[("host", elsewhere), PAGE], None), no, "{elsewhere}");
        }
        assert_eq!(judged(NEAR, &[PAGE], None), no);
        let mut twice = HeaderMap::new();
        twice.append(header::HOST, HeaderValue::from_static("127.0.0.1"));
        twice.append(header::HOST, HeaderValue::from_static("evil.example"));
        twice.append(PAGE.0, HeaderValue::from_static(PAGE.1));
        let peer = Peer::Tcp(NEAR.parse().unwrap());
        assert!(judge(peer, &Uri::from_static("/access/people"), &twice, None).is_err());
    }

    /// Whoever is made to fetch a URL sends no header of ours.
    #[test]
    fn without_tokens_an_address_alone_is_not_enough() {
        let no = Some(ProblemKind::Forbidden);
        assert_eq!(judged(NEAR, &[HOST], None), no);
        assert_eq!(judged(NEAR, &[HOST, (PAGE.0, "status")], None), no);
    }

    #[test]
    fn with_tokens_it_is_for_whoever_has_one_wherever_he_is() {
        let tokens = Tokens::parse(b"right").unwrap();
        let (right, wrong) = (("authorization", "Bearer right"), ("authorization", "Bearer wrong"));
        let no = Some(ProblemKind::Unauthorised);
        assert_eq!(judged("10.0.0.7:9", &[right], Some(&tokens)), None);
        assert_eq!(judged("10.0.0.7:9", &[wrong], Some(&tokens)), no);
        assert_eq!(judged(NEAR, &[HOST, PAGE], Some(&tokens)), no);
    }
}
