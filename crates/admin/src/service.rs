//! The endpoints: probes, metrics, status, the page, and the way to end the process.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::Service};
use neverstale_listener::{Activity, Body, Peer, without_body};
use neverstale_telemetry::{Listener as Label, StatusClass};
use neverstale_wire::{Problem, ProblemKind, problem::PROBLEM_MEDIA_TYPE};
use serde_json::json;

use crate::{admin::Shared, gauges, page, status};

/// Serves the requests of one connection.
pub(crate) struct AdminService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: Peer,
    pub(crate) activity: Arc<Activity>,
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Service<Request<Incoming>> for AdminService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.activity.began(request.version());
        let mut response = self.answer(&request);
        let class = StatusClass::of(response.status().as_u16());
        self.shared.parts.metrics.http_requests_total[Label::Admin][class].inc();
        if request.method() == Method::HEAD {
            without_body(&mut response);
        }
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        ready(Ok(response))
    }
}

impl AdminService {
    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match path {
            "/quitquitquit" if request.method() == Method::POST => self.quit(request),
            "/quitquitquit" => method_not_allowed("POST"),
            "/startupz" | "/readyz" | "/livez" | "/metrics" | "/status" | "/" if !is_read => {
                method_not_allowed("GET, HEAD")
            }
            "/startupz" if self.shared.has_started.load(Ordering::Relaxed) => probe(Vec::new()),
            "/startupz" | "/readyz" => probe(self.shared.parts.readiness.reasons()),
            // Stores that are away are no reason: restarting a sidecar mends none of them.
            "/livez" => probe(self.shared.tasks.failures()),
            "/metrics" => {
                gauges::refresh(&self.shared);
                respond(StatusCode::OK, METRICS, self.shared.parts.metrics.encode())
            }
            "/status" => {
                let status =
                    serde_json::to_vec(&status::report(&self.shared)).expect("numbers and texts always serialise");
                respond(StatusCode::OK, JSON, status)
            }
            "/" => page::respond(),
            _ => problem(&Problem::new(
                ProblemKind::NotFound,
                "the admin listener has no such path",
            )),
        }
    }

    /// Asks the process to end, if the caller may.
    fn quit(&self, request: &Request<Incoming>) -> Response<Body> {
        let authorization = request.headers().get(header::AUTHORIZATION);
        let has_token = self
            .shared
            .tokens
            .as_ref()
            .zip(authorization)
            .is_some_and(|(tokens, value)| tokens.load().accept(value));
        // A browser sends its origin: no page that somebody has open may end us through a forwarded port.
        let is_browser = request.headers().contains_key(header::ORIGIN);
        if !has_token && (is_browser || !is_loopback(self.peer)) {
            return problem(&Problem::new(
                ProblemKind::Forbidden,
                "only loopback, or a bearer token of admin.token_file, may end the process",
            ));
        }
        tracing::info!("asked to end by POST /quitquitquit");
        self.shared.parts.quit.cancel();
        respond(StatusCode::OK, TEXT, "shutting down\n")
    }
}

/// Answers a probe: 200, or 503 with the reasons.
fn probe(reasons: Vec<(&'static str, String)>) -> Response<Body> {
    let is_well = reasons.is_empty();
    let status = if is_well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let reasons: Vec<_> = reasons
        .into_iter()
        .map(|(key, text)| json!({ "key": key, "text": text }))
        .collect();
    respond(status, JSON, json!({ "ok": is_well, "reasons": reasons }).to_string())
}

fn is_loopback(peer: Peer) -> bool {
    match peer {
        Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Peer::Unix => true,
    }
}

fn method_not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = problem(&ProblemKind::MethodNotAllowed.into());
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn problem(problem: &Problem) -> Response<Body> {
    let status = StatusCode::from_u16(problem.status()).expect("kinds of problems have valid statuses");
    respond(status, PROBLEM_MEDIA_TYPE, problem.to_json())
}

pub(crate) fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_loopback_in_both_families() {
        let peer = |address: &str| Peer::Tcp(address.parse().unwrap());
        for near in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(is_loopback(peer(near)), "{near}");
        }
        for far in ["10.0.0.1:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert!(!is_loopback(peer(far)), "{far}");
        }
    }
}
