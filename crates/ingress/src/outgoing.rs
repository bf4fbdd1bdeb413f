//! The head that is passed on: the caller's own, without what ends here, and with what the next one must know.
//!
//! What ends here are the headers of the hop (RFC 9110 §7.6.1), identity headers of whoever is not trusted with them, and
//! `Expect`, which is met here. The rest goes on in its order; headers of one name come together, which is all that changes.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{self, Entry},
    request::Parts,
};

use neverstale_guard::identity_headers::{
    FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, is_spoken_for,
};

use crate::{
    screen,
    trace::{self, TRACEPARENT, TRACESTATE, X_REQUEST_ID},
};

/// What ends at every hop, whether `Connection` names it or not.
static OF_THE_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("Upgrade");

/// From where a request came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// None over a Unix socket.
    pub(crate) address: Option<IpAddr>,
    /// Whether it may say for whom it speaks.
    pub(crate) is_trusted: bool,
    /// Whether it came over TLS.
    pub(crate) is_tls: bool,
}

/// What the caller brought of headers that are not his to bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// How many identity headers were taken away.
    pub(crate) identity_headers: usize,
}

/// Says whether a request asks for a WebSocket.
pub(crate) fn asks_for_websocket(head: &Parts) -> bool {
    let is_named = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && head.headers.get(header::UPGRADE).is_some_and(is_named)
        && screen::options(&head.headers).any(|option| option.eq_ignore_ascii_case("upgrade"))
}

/// Makes the headers that are passed on of those that came.
pub(crate) fn request_headers(
    head: &mut Parts,
    origin: Origin,
    identity_headers: &[HeaderName],
    is_websocket: bool,
) -> Dropped {
    let came = std::mem::take(&mut head.headers);
    let named: Vec<HeaderName> = named_by_connection(&came);
    let ends_here = |name: &HeaderName| OF_THE_HOP.contains(name) || named.contains(name) || *name == header::EXPECT;
    let is_spoofed = |name: &HeaderName| !origin.is_trusted && is_spoken_for(name, identity_headers);
    let is_taken_over = |name: &HeaderName| origin.is_trusted || !FORWARDED.contains(name);
    let mut dropped = Dropped::default();
    let stays = |name: &HeaderName| !ends_here(name) && !is_spoofed(name) && is_taken_over(name);
    let has_several_cookies = came.get_all(header::COOKIE).iter().nth(1).is_some();
    let mut headers = if !has_several_cookies && came.keys().all(stays) {
        came
    } else {
        let mut headers = HeaderMap::with_capacity(came.len() + 8);
        let mut last = None;
        for (name, value) in came {
            let name = name.or_else(|| last.take()).expect("a map gives a name first");
            if !ends_here(&name) && is_spoofed(&name) {
                dropped.identity_headers += 1;
            } else if stays(&name) {
                pass(&mut headers, &name, value);
            }
            last = Some(name);
        }
        headers
    };
    say_from_where(&mut headers, head, origin);
    give_names(&mut headers);
    if is_websocket {
        headers.insert(header::CONNECTION, UPGRADE);
        headers.insert(header::UPGRADE, WEBSOCKET);
    }
    head.headers = headers;
    dropped
}

/// Takes off an answer what ends here; `is_switching` keeps what makes an upgrade.
pub(crate) fn response_headers(headers: &mut HeaderMap, is_switching: bool) {
    let named = named_by_connection(headers);
    let ends_here = |name: &HeaderName| OF_THE_HOP.contains(name) || named.contains(name);
    if is_switching || !headers.keys().any(ends_here) {
        return;
    }
    let mut left = HeaderMap::with_capacity(headers.len());
    let mut last = None;
    for (name, value) in std::mem::take(headers) {
        let name = name.or_else(|| last.take()).expect("a map gives a name first");
        if !ends_here(&name) {
            left.append(&name, value);
        }
        last = Some(name);
    }
    *headers = left;
}

/// Cookies come together in one header, because some servers read one only; everything else as it is.
fn pass(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    if *name == header::COOKIE
        && let Entry::Occupied(mut cookies) = headers.entry(name)
    {
        let joined = [cookies.get().as_bytes(), b"; ", value.as_bytes()].concat();
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            cookies.insert(joined);
        }
        return;
    }
    headers.append(name, value);
}

/// The headers that `Connection` says are for this hop alone.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    screen::options(headers)
        .filter(|option| !option.eq_ignore_ascii_case("close") && !option.eq_ignore_ascii_case("keep-alive"))
        .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
        .collect()
}

fn say_from_where(headers: &mut HeaderMap, head: &Parts, origin: Origin) {
    if head.version >= Version::HTTP_2
        && let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(header::HOST, host);
    }
    if let Some(address) = origin.address {
        let address = address.to_canonical().to_string();
        let before = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut list = before.fold(String::new(), |list, address| list + address + ", ");
        list += &address;
        if let Ok(list) = HeaderValue::try_from(list) {
            headers.insert(X_FORWARDED_FOR, list);
        }
    }
    if let Entry::Vacant(proto) = headers.entry(X_FORWARDED_PROTO) {
        proto.insert(HeaderValue::from_static(if origin.is_tls { "https" } else { "http" }));
    }
    if let Some(host) = headers.get(header::HOST).cloned()
        && let Entry::Vacant(entry) = headers.entry(X_FORWARDED_HOST)
    {
        entry.insert(host);
    }
}

fn give_names(headers: &mut HeaderMap) {
    let is_named = headers.get(X_REQUEST_ID).is_some_and(trace::is_request_id);
    let is_traced = headers.get(TRACEPARENT).is_some_and(trace::is_traceparent);
    if is_named && is_traced {
        return;
    }
    let id = trace::new_request_id();
    if !is_traced {
        headers.insert(TRACEPARENT, trace::new_traceparent(&id));
        headers.remove(TRACESTATE);
    }
    if !is_named {
        let id = HeaderValue::try_from(id).expect("hexadecimal digits are a header value");
        headers.insert(X_REQUEST_ID, id);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const STRANGER: Origin = Origin {
        address: Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7))),
        is_trusted: false,
        is_tls: true,
    };

    fn passed(origin: Origin, lines: &[(&str, &str)]) -> (Vec<(String, String)>, Dropped) {
        let mut request = Request::builder().uri("/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        let identity = [HeaderName::from_static("x-auth-request-email")];
        let dropped = request_headers(&mut head, origin, &identity, false);
        let line = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.to_str().unwrap().to_owned());
        (head.headers.iter().map(line).collect(), dropped)
    }

    fn value<'l>(lines: &'l [(String, String)], name: &str) -> Option<&'l str> {
        lines
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn the_hop_ends_here_and_the_rest_keeps_its_order() {
        let (lines, _) = passed(
            STRANGER,
            &[
                ("host", "chat.example"),
                ("b", "1"),
                ("connection", "close, x-mine"),
                ("a", "2"),
                ("x-mine", "3"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
                ("expect", "100-continue"),
                ("b", "4"),
            ],
        );
        let names: Vec<_> = lines
            .iter()
            .map(|(name, value)| format!("{name}:{value}"))
            .take(4)
            .collect();
        assert_eq!(names, ["host:chat.example", "b:1", "b:4", "a:2"]);
        for gone in [
            "connection",
            "x-mine",
            "keep-alive",
            "te",
            "upgrade",
            "http2-settings",
            "expect",
        ] {
            assert_eq!(value(&lines, gone), None, "{gone}");
        }
    }

    #[test]
    fn a_stranger_says_neither_who_he_is_nor_where_he_comes_from() {
        let spoofed = [
            ("host", "chat.example"),
            ("x-auth-request-email", "admin@example.com"),
            ("x_auth_request_email", "admin@example.com"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
        ];
        let (lines, dropped) = passed(STRANGER, &spoofed);
        assert_eq!(dropped.identity_headers, 2);
        assert!(
            lines
                .iter()
                .all(|(_, value)| !value.contains("127.0.0.1") && !value.contains("admin")),
            "{lines:?}"
        );
        assert_eq!(value(&lines, "x-forwarded-for"), Some("192.0.2.7"));
        assert_eq!(value(&lines, "x-forwarded-proto"), Some("https"));
        assert_eq!(value(&lines, "x-forwarded-host"), Some("chat.example"));
        let trusted = Origin {
            is_trusted: true,
            ..STRANGER
        };
        let (lines, dropped) = passed(trusted, &spoofed);
        assert_eq!(dropped.identity_headers, 0);
        assert_eq!(value(&lines, "x-auth-request-email"), Some("admin@example.com"));
        assert_eq!(value(&lines, "x-forwarded-for"), Some("127.0.0.1, 192.0.2.7"));
        assert_eq!(value(&lines, "x-forwarded-proto"), Some("http"));
    }

    #[test]
    fn every_request_has_names_and_well_formed_ones_are_kept() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let (lines, _) = passed(
            STRANGER,
            &[("x-request-id", "mine"), ("traceparent", parent), ("tracestate", "a=b")],
        );
        assert_eq!(value(&lines, "x-request-id"), Some("mine"));
        assert_eq!(
            (value(&lines, "traceparent"), value(&lines, "tracestate")),
            (Some(parent), Some("a=b"))
        );
        let (lines, _) = passed(
            STRANGER,
            &[("x-request-id", "a b"), ("traceparent", "x"), ("tracestate", "a=b")],
        );
        let id = value(&lines, "x-request-id").unwrap();
        assert!(value(&lines, "traceparent").unwrap().contains(id));
        assert_eq!(value(&lines, "tracestate"), None);
    }

    #[test]
    fn cookies_come_together() {
        let (lines, _) = passed(STRANGER, &[("cookie", "a=1"), ("cookie", "b=2")]);
        assert_eq!(value(&lines, "cookie"), Some("a=1; b=2"));
        assert_eq!(lines.iter().filter(|(name, _)| name == "cookie").count(), 1);
    }

    #[test]
    fn an_answer_keeps_what_is_not_of_the_hop() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("b", "1"),
            ("connection", "close, x-hop"),
            ("x-hop", "2"),
            ("a", "3"),
            ("set-cookie", "x"),
            ("set-cookie", "y"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        response_headers(&mut headers, false);
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a", "set-cookie", "set-cookie"]);
    }
}
