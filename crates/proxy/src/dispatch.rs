//! The slow path: checks a request, finds what it asks for, and has it answered before its deadline.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header, request::Parts, uri::PathAndQuery};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use neverstale_cache::{Answer, Level, Source};
use neverstale_flavour::{Read, RouteError};
use neverstale_listener::{Body, InFlight, Peer};
use neverstale_telemetry::{Label as _, ReadOutcome};
use neverstale_wire::ProblemKind;
use tokio::time::{Instant, timeout_at};

use crate::{
    access::Grant, api_keys, asked::Asked, batch, decisions, events, names, problem::Failure, respond, sessions,
    shared::Shared, writes,
};

/// A longer path with its query is refused; no key is longer than a quarter of it.
pub(crate) const URI_BYTES_MAX: usize = 8 * 1024;
/// More header bytes than this are refused.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;

const GET: &str = "GET, HEAD";
const POST: &str = "POST";
const PATCH: &str = "PATCH";
const GET_OR_PATCH: &str = "GET, HEAD, PATCH";

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Position,
    Events,
    Batch,
    ApiKeys,
    Sessions,
    AccessCheck,
    AccessBatch,
    AccessList,
    AccessExplain,
    Contract,
    /// Whatever the flavour's router makes of it.
    Read,
    /// A write that the flavour takes there.
    Write,
}

impl Endpoint {
    fn of(path: &str) -> Self {
        match path {
            "/v1/position" => Self::Position,
            "/v1/events" => Self::Events,
            "/v1/batch" => Self::Batch,
            "/v1/api-keys/resolve" => Self::ApiKeys,
            "/v1/sessions/resolve" => Self::Sessions,
            "/v1/access/check" => Self::AccessCheck,
            "/v1/access/batch-check" => Self::AccessBatch,
            "/v1/access/list" => Self::AccessList,
            "/v1/access/explain" => Self::AccessExplain,
            "/openapi.json" => Self::Contract,
            _ => Self::Read,
        }
    }

    /// The methods of the path, for `Allow`.
    fn methods(self) -> &'static str {
        match self {
            Self::Batch | Self::ApiKeys | Self::Sessions | Self::AccessCheck | Self::AccessBatch => POST,
            Self::Position | Self::Events | Self::AccessList | Self::AccessExplain | Self::Contract | Self::Read => GET,
            Self::Write => GET_OR_PATCH,
        }
    }
}

/// One request as its endpoint sees it.
pub(crate) struct Call<'r> {
    pub(crate) shared: &'r Arc<Shared>,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) asked: Asked<'r>,
    pub(crate) grant: Grant,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
}

/// Answers a request that was not a hit.
pub(crate) async fn dispatch(
    shared: &Arc<Shared>,
    peer: Peer,
    request: Request<Incoming>,
    in_flight: InFlight,
) -> Result<Response<Body>, Failure> {
    let arrived = Instant::now();
    let (head, body) = request.into_parts();
    check_size(&head)?;
    let grant = shared.access.judge(peer, head.headers.get(header::AUTHORIZATION))?;
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let endpoint = match Endpoint::of(path) {
        Endpoint::Read if head.method == Method::PATCH && shared.router.write(path).is_some() => Endpoint::Write,
        endpoint => endpoint,
    };
    check_method(shared, endpoint, &head.method, target)?;
    let asked = Asked::read(&head.headers)?;
    let deadline = shared.deadline(asked.timeout_ms);
    let call = Call {
        shared,
        headers: &head.headers,
        asked,
        grant,
        arrived,
        deadline,
    };
    if endpoint == Endpoint::Events {
        return events::subscribe(&call, query, in_flight);
    }
    let takes_query = matches!(
        endpoint,
        Endpoint::Read | Endpoint::AccessList | Endpoint::AccessExplain
    );
    if !takes_query && !query.is_empty() {
        return Err(Failure::malformed("unknown query parameter"));
    }
    let _place = shared.places.try_acquire().map_err(|_| ProblemKind::TooManyRequests)?;
    match endpoint {
        Endpoint::Position => position(&call).await,
        Endpoint::Contract => Ok(contract(&call)),
        Endpoint::Read => read(&call, target).await,
        Endpoint::Write => Box::pin(writes::answer(&call, path, body)).await,
        Endpoint::Batch => batch::answer(&call, body).await,
        Endpoint::ApiKeys => api_keys::resolve(&call, body).await,
        Endpoint::Sessions => Box::pin(sessions::resolve(&call, body)).await,
        Endpoint::AccessCheck => decisions::check(&call, body).await,
        Endpoint::AccessBatch => decisions::batch_check(&call, body).await,
        Endpoint::AccessList => decisions::list(&call, query).await,
        Endpoint::AccessExplain => decisions::explain(&call, query).await,
        Endpoint::Events => unreachable!("answered above"),
    }
}

fn check_size(head: &Parts) -> Result<(), Failure> {
    let uri_bytes = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if uri_bytes > URI_BYTES_MAX {
        return Err(Failure::uri_too_long(URI_BYTES_MAX));
    }
    let header_bytes: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if header_bytes > HEAD_BYTES_MAX {
        return Err(Failure::head_too_large(HEAD_BYTES_MAX));
    }
    Ok(())
}

fn check_method(shared: &Shared, endpoint: Endpoint, method: &Method, target: &str) -> Result<(), Failure> {
    let allowed = endpoint.methods();
    let is_allowed = match endpoint {
        Endpoint::Write => true,
        _ if allowed == POST => method == Method::POST,
        _ => matches!(*method, Method::GET | Method::HEAD),
    };
    if is_allowed {
        return Ok(());
    }
    if endpoint != Endpoint::Read {
        return Err(Failure::method_not_allowed(allowed));
    }
    let path = target.split('?').next().unwrap_or(target);
    let is_written = shared.router.write(path).is_some();
    let is_read = shared.router.route(target) != Err(RouteError::UnknownPath);
    Err(match (is_read, is_written) {
        (true, true) => Failure::method_not_allowed(GET_OR_PATCH),
        (true, false) => Failure::method_not_allowed(allowed),
        (false, true) => Failure::method_not_allowed(PATCH),
        // A path that does not exist has no methods either.
        (false, false) => Failure::unknown_path(),
    })
}

impl Call<'_> {
    /// Answers one read, and lets the auditor have a look.
    pub(crate) async fn read(&self, read: &Read) -> Result<Answer, Failure> {
        if self.shared.router.flavour().view(read.view).secret && !self.grant.secrets {
            return Err(ProblemKind::SecretNeedsToken.into());
        }
        let answer = self.shared.cache.read(read, self.asked.level, self.deadline).await;
        let outcome = match &answer {
            Ok(answer) => outcome_of(answer.source),
            Err(_) => ReadOutcome::Error,
        };
        tracing::Span::current().record("cache.outcome", outcome.text());
        self.shared.metrics.read_seconds[outcome].observe(self.arrived.elapsed().as_secs_f64());
        let answer = answer?;
        if self.shared.auditor.wants() {
            self.shared.auditor.offer(read, &answer.entry, answer.source);
        }
        Ok(answer)
    }

    /// Responds with an answer under this request's conditions.
    pub(crate) fn respond(&self, answer: &Answer) -> Response<Body> {
        let is_known = respond::is_known_to_caller(&answer.entry, &self.asked, self.headers);
        respond::answer(answer, is_known, HeaderMap::with_capacity(8))
    }

    /// Reads the request's body, within its bound and before the deadline.
    pub(crate) async fn body(&self, body: Incoming) -> Result<Bytes, Failure> {
        let bytes_max = self.shared.settings.body_bytes_max;
        let announced = self
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > bytes_max) {
            return Err(Failure::body_too_large(bytes_max));
        }
        let collecting = Limited::new(body, bytes_max as usize).collect();
        match timeout_at(self.deadline, collecting).await {
            Err(_) => Err(ProblemKind::DeadlineExceeded.into()),
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::body_too_large(bytes_max)),
            Ok(Err(_)) => Err(Failure::malformed("the body ended early")),
        }
    }
}

const fn outcome_of(source: Source) -> ReadOutcome {
    match source {
        Source::L1 => ReadOutcome::L1,
        Source::L2 => ReadOutcome::L2,
        Source::Fill => ReadOutcome::Fill,
        Source::Join => ReadOutcome::Join,
        Source::Bypass => ReadOutcome::Bypass,
    }
}

async fn read(call: &Call<'_>, target: &str) -> Result<Response<Body>, Failure> {
    let read = call.shared.router.route(target)?;
    let answer = call.read(&read).await?;
    Ok(call.respond(&answer))
}

/// Takes a fence and tells its token.
async fn position(call: &Call<'_>) -> Result<Response<Body>, Failure> {
    let token = call.shared.cache.position(call.deadline).await?;
    Ok(respond::json(
        format!("{{\"position\":\"{token}\"}}"),
        token,
        Level::FullyConsistent,
    ))
}

/// Gives the published contract.
fn contract(call: &Call<'_>) -> Response<Body> {
    let (document, etag) = &call.shared.openapi;
    let has_already = call.asked.is_conditional && crate::conditional::has_already(call.headers, etag);
    let mut response = Response::new(if has_already {
        Body::empty()
    } else {
        Body::from(document.clone())
    });
    if has_already {
        *response.status_mut() = http::StatusCode::NOT_MODIFIED;
    } else {
        response.headers_mut().insert(header::CONTENT_TYPE, names::JSON);
    }
    response.headers_mut().insert(header::ETAG, etag.clone());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_methods() {
        for path in ["/v1/batch", "/v1/api-keys/resolve", "/v1/sessions/resolve"] {
            assert_eq!(Endpoint::of(path).methods(), POST, "{path}");
        }
        for path in [
            "/v1/position",
            "/v1/events",
            "/openapi.json",
            "/v1/users/u1",
            "/v1/batch/",
        ] {
            assert_eq!(Endpoint::of(path).methods(), GET, "{path}");
        }
    }
}
