//! The endpoints: probes, metrics, status, the pages, and the way to end the process.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_util::future::Either;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{
    body::{Body as _, Incoming},
    service::Service,
};
use neverstale_listener::{Activity, Body, Peer, without_body};
use neverstale_telemetry::{Listener as Label, StatusClass};
use neverstale_wire::{Problem, ProblemKind, problem::PROBLEM_MEDIA_TYPE};
use serde_json::json;

use crate::{
    access::{self, Question},
    admin::Shared,
    gauges, page, status,
};

type Answered = Result<Response<Body>, Infallible>;

/// Serves the requests of one connection.
pub(crate) struct AdminService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: Peer,
    pub(crate) activity: Arc<Activity>,
}

pub(crate) const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Service<Request<Incoming>> for AdminService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Answered>, Pin<Box<dyn Future<Output = Answered> + Send>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.activity.began(request.version());
        let is_head = request.method() == Method::HEAD;
        let Some(question) = Question::at(request.uri().path()).filter(|_| is_read(request.method())) else {
            let response = self.answer(&request);
            return Either::Left(ready(Ok(finish(&self.shared, is_head, response))));
        };
        let (shared, peer, in_flight) = (Arc::clone(&self.shared), self.peer, self.activity.in_flight());
        let answering = async move {
            let _in_flight = in_flight;
            let (uri, headers) = (request.uri(), request.headers());
            let response = access::answer(&shared, peer, question, uri, headers).await;
            Ok(finish(&shared, is_head, response))
        };
        Either::Right(Box::pin(answering))
    }
}

fn finish(shared: &Shared, is_head: bool, mut response: Response<Body>) -> Response<Body> {
    let class = StatusClass::of(response.status().as_u16());
    shared.parts.metrics.http_requests_total[Label::Admin][class].inc();
    if is_head {
        without_body(&mut response);
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

impl AdminService {
    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let is_read = is_read(request.method());
        match path {
            "/quitquitquit" | "/drain" if request.method() == Method::POST && !self.may_end(request) => {
                problem(&Problem::new(
                    ProblemKind::Forbidden,
                    "only loopback with an empty request, or a bearer token of admin.token_file, may end the process or a part of it",
                ))
            }
            "/quitquitquit" if request.method() == Method::POST => self.quit(),
            "/drain" if request.method() == Method::POST => self.drain(),
            "/quitquitquit" | "/drain" => method_not_allowed("POST"),
            "/startupz" | "/readyz" | "/livez" | "/metrics" | "/status" | "/" | "/access" if !is_read => {
                method_not_allowed("GET, HEAD")
            }
            _ if Question::at(path).is_some() => method_not_allowed("GET, HEAD"),
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
            "/" => page::status(),
            "/access" if self.shared.parts.settings.access_page => page::access(),
            _ => problem(&Problem::new(
                ProblemKind::NotFound,
                "the admin listener has no such path",
            )),
        }
    }

    /// Whether a caller may end the process, or a part of it.
    fn may_end(&self, request: &Request<Incoming>) -> bool {
        let authorization = request.headers().get(header::AUTHORIZATION);
        let has_token = self
            .shared
            .tokens
            .as_ref()
            .zip(authorization)
            .is_some_and(|(tokens, value)| tokens.load().accept(value));
        // A browser sends its origin: no page that somebody has open may end us through a forwarded port.
        let is_browser = request.headers().contains_key(header::ORIGIN);
        // The application shares our loopback and posts where its users tell it to: a webhook always has something to say.
        let is_empty = request.body().is_end_stream() && !request.headers().contains_key(header::CONTENT_TYPE);
        has_token || (is_empty && !is_browser && self.peer.is_loopback())
    }

    /// Lets callers go elsewhere, before the application behind the door ends: nothing takes it back but a restart.
    fn drain(&self) -> Response<Body> {
        tracing::info!("asked to drain by POST /drain");
        let reason = "asked to drain, until the process is restarted".to_owned();
        self.shared.parts.readiness.set("drain", Some(reason));
        self.shared.parts.shut.cancel();
        respond(StatusCode::OK, TEXT, "draining\n")
    }

    /// Asks the process to end.
    fn quit(&self) -> Response<Body> {
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

fn method_not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = problem(&ProblemKind::MethodNotAllowed.into());
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

pub(crate) fn problem(problem: &Problem) -> Response<Body> {
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
