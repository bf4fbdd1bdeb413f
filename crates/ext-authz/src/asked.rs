//! What Envoy tells of a request, read back into a head and a body, or refused where that could be done in two ways.
//!
//! Envoy joins headers of one name by commas: all of them, unless it is told to send them as they are, and some even then. A comma
//! where a credential stands could be one header or two, of which the application takes another than we do.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, request::Parts};
use neverstale_guard::{
    credentials::{self, Ambiguous},
    refused::Refused,
    screen::{self, Screened},
};
use neverstale_listener::Trick;
use neverstale_telemetry::DoorRefusal;
use neverstale_wire::ProblemKind;

use crate::proto::{CheckRequest, attribute_context::HttpRequest};

/// Where Envoy says whether the body that it sends is a part of it.
const PARTIAL: &str = "x-envoy-auth-partial-body";

/// A request that Envoy asks about.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) head: Parts,
    pub(crate) sent: Sent,
}

/// What Envoy sent of the body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All of it.
    Whole(Bytes),
    /// A part of it, or it can't be known.
    InPart,
}

impl Asked {
    /// Reads one.
    ///
    /// # Errors
    /// It is no request of HTTP, or can be read in two ways.
    pub(crate) fn read(request: CheckRequest, api_key_header: &HeaderName) -> Result<Self, Refused> {
        let http = request.attributes.and_then(|attributes| attributes.request?.http);
        let mut http = http.ok_or_else(|| Refused::undecided("Envoy tells nothing of the request"))?;
        let (headers, partial) = headers(&mut http, api_key_header)?;
        let method = Method::from_bytes(http.method.as_bytes()).map_err(|_| Screened::Method)?;
        let target: Uri = http.path.parse().map_err(|_| Screened::Target)?;
        // What the parser leaves out, such as a fragment, Envoy would still pass on.
        if target.path_and_query().is_none_or(|whole| whole.as_str() != http.path) {
            return Err(Screened::Target.into());
        }
        let mut request = Request::builder().method(method).uri(target);
        *request.headers_mut().expect("nothing has failed yet") = headers;
        let (head, ()) = request.body(()).map_err(|_| Screened::Target)?.into_parts();
        framing(&head).map_err(Screened::from)?;
        let sent = sent(&mut http, &head, &partial);
        Ok(Self { head, sent })
    }
}

/// The headers of a request, and what Envoy says of the body beside them.
fn headers(http: &mut HttpRequest, api_key_header: &HeaderName) -> Result<(HeaderMap, Vec<String>), Refused> {
    let (mut headers, mut hosts, mut partial) = (HeaderMap::new(), Vec::new(), Vec::new());
    for (name, value) in lines(http) {
        match name.as_str() {
            PARTIAL => partial.push(String::from_utf8_lossy(&value).into_owned()),
            ":authority" | "host" => hosts.push(value),
            name if name.starts_with(':') => {}
            name => {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| no_header())?;
                headers.append(name, HeaderValue::from_bytes(&value).map_err(|_| no_header())?);
            }
        }
    }
    if !http.host.is_empty() {
        hosts.push(std::mem::take(&mut http.host).into_bytes());
    }
    hosts.dedup();
    for host in hosts {
        headers.append(
            header::HOST,
            HeaderValue::from_bytes(&host).map_err(|_| Screened::Host)?,
        );
    }
    unjoined(&headers, api_key_header)?;
    unmasked(&headers, api_key_header)?;
    Ok((headers, partial))
}

fn no_header() -> Refused {
    Refused::problem(DoorRefusal::Framing, ProblemKind::Malformed, "a header is none of HTTP")
}

fn lines(http: &mut HttpRequest) -> Vec<(String, Vec<u8>)> {
    match http.header_map.take() {
        Some(map) => {
            let lines = map.headers.into_iter();
            lines
                .map(|line| {
                    let value = if line.raw_value.is_empty() {
                        line.value.into_bytes()
                    } else {
                        line.raw_value
                    };
                    (line.key, value)
                })
                .collect()
        }
        None => {
            let lines = std::mem::take(&mut http.headers).into_iter();
            lines.map(|(name, value)| (name, value.into_bytes())).collect()
        }
    }
}

/// Refuses a comma that could stand between two credentials.
fn unjoined(headers: &HeaderMap, api_key_header: &HeaderName) -> Result<(), Ambiguous> {
    let holds_comma = |value: &HeaderValue| value.as_bytes().contains(&b',');
    if [&header::AUTHORIZATION, api_key_header]
        .iter()
        .any(|name| headers.get(*name).is_some_and(holds_comma))
    {
        return Err(Ambiguous);
    }
    let Some(cookies) = headers.get(header::COOKIE).filter(|value| holds_comma(value)) else {
        return Ok(());
    };
    let mut apart = headers.clone();
    apart.remove(header::COOKIE);
    for cookie in cookies.as_bytes().split(|byte| *byte == b',') {
        apart.append(header::COOKIE, HeaderValue::from_bytes(cookie).map_err(|_| Ambiguous)?);
    }
    if credentials::shown(&apart, api_key_header)? == credentials::shown(headers, api_key_header)? {
        Ok(())
    } else {
        Err(Ambiguous)
    }
}

/// Refuses a mark of exclamation that could stand for a byte that the application takes for white space: Envoy puts one for each
/// byte that is no UTF-8, unless it sends raw headers, and passes the byte on.
fn unmasked(headers: &HeaderMap, api_key_header: &HeaderName) -> Result<(), Ambiguous> {
    const NO_BREAK_SPACE: u8 = 0xa0;
    if !headers
        .get_all(header::COOKIE)
        .iter()
        .any(|value| value.as_bytes().contains(&b'!'))
    {
        return Ok(());
    }
    let mut sent = headers.clone();
    for (name, value) in &mut sent {
        if *name == header::COOKIE {
            let bytes = value.as_bytes().iter();
            let bytes: Vec<u8> = bytes
                .map(|byte| if *byte == b'!' { NO_BREAK_SPACE } else { *byte })
                .collect();
            *value = HeaderValue::from_bytes(&bytes).map_err(|_| Ambiguous)?;
        }
    }
    let told = credentials::shown(headers, api_key_header)?;
    let holds_others = |headers: &HeaderMap| {
        told.as_ref()
            .is_some_and(|told| credentials::holds_others(headers, api_key_header, told))
    };
    if credentials::shown(&sent, api_key_header)? == told && holds_others(&sent) == holds_others(headers) {
        Ok(())
    } else {
        Err(Ambiguous)
    }
}

/// What hyper and the listener see of framing at the door, as far as Envoy shows it.
fn framing(head: &Parts) -> Result<(), Trick> {
    let lengths = head.headers.get_all(header::CONTENT_LENGTH);
    let is_length = |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if !lengths.iter().all(is_length) {
        return Err(Trick::Lengths);
    }
    let mut encodings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(_), _) if lengths.iter().next().is_some() => Err(Trick::LengthAndChunks),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Trick::TransferEncoding),
    }
}

/// The body, if it is known that all of it is there.
fn sent(http: &mut HttpRequest, head: &Parts, partial: &[String]) -> Sent {
    let body = if http.raw_body.is_empty() {
        Bytes::from(std::mem::take(&mut http.body))
    } else {
        Bytes::from(std::mem::take(&mut http.raw_body))
    };
    let is_http1 = http.protocol.starts_with("HTTP/1.");
    let is_chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
    let is_whole = match screen::announced_bytes(head) {
        Some(bytes) => bytes == body.len() as u64,
        // Without a length there is none in HTTP/1, and anything in HTTP/2.
        None if body.is_empty() => is_http1 && !is_chunked,
        // Envoy's own word, if it is the only one.
        None => partial == ["false"],
    };
    if is_whole && partial.iter().all(|word| word == "false") {
        Sent::Whole(body)
    } else {
        Sent::InPart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_may_stand_for_white_space_must_not_hide_a_credential() {
        const KEY: HeaderName = HeaderName::from_static("x-api-key");
        let read = |cookie: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_static(cookie));
            unmasked(&headers, &KEY).is_ok()
        };
        // The application takes the second for its cookie, and we would have judged the first.
        assert!(!read("token=a; !token=b"));
        assert!(!read("!token=b"));
        assert!(!read("token=a; token!=b"));
        assert!(read("token=a; theme=dark!"));
        assert!(read("theme=!; token=a"));
        assert!(read("token=a"));
    }
}
