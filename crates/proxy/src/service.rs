//! One connection's requests: the hot path first, then, in a future of its own, everything else.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use futures_util::future::Either;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{body::Incoming, service::Service};
use neverstale_listener::{Activity, Body, Peer, without_body};
use neverstale_telemetry::{Listener as Label, StatusClass};
use neverstale_wire::ProblemKind;
use tracing::{Instrument, Span};

use crate::{dispatch::dispatch, hit, shared::Shared, traced};

/// Serves the requests of one connection.
pub(crate) struct ApiService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: Peer,
    pub(crate) activity: Arc<Activity>,
}

type Answered = Result<Response<Body>, Infallible>;

impl Service<Request<Incoming>> for ApiService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Answered>, Pin<Box<dyn Future<Output = Answered> + Send>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.activity.began(request.version());
        let manner = Manner {
            label: label(self.peer),
            version: request.version(),
            is_head: request.method() == Method::HEAD,
        };
        if let Some(hit) = hit::look(&self.shared, self.peer, &request) {
            return Either::Left(ready(Ok(manner.finish(&self.shared, hit.respond(request)))));
        }
        let (shared, peer, in_flight) = (Arc::clone(&self.shared), self.peer, self.activity.in_flight());
        let span = traced::request(request.headers(), request.method());
        let answering = async move {
            let response = match dispatch(&shared, peer, request, in_flight).await {
                Ok(response) => response,
                Err(failure) => {
                    shared.metrics.problems_total[failure.problem.kind].inc();
                    failure.into_response()
                }
            };
            Span::current().record("http.response.status_code", u64::from(response.status().as_u16()));
            Ok(manner.finish(&shared, response))
        };
        Either::Right(Box::pin(answering.instrument(span)))
    }
}

const fn label(peer: Peer) -> Label {
    match peer {
        Peer::Tcp(_) => Label::Api,
        Peer::Unix => Label::ApiSocket,
    }
}

/// How the request came, which every answer must fit.
#[derive(Clone, Copy)]
struct Manner {
    label: Label,
    version: Version,
    is_head: bool,
}

impl Manner {
    fn finish(self, shared: &Shared, mut response: Response<Body>) -> Response<Body> {
        let status = response.status();
        shared.metrics.http_requests_total[self.label][StatusClass::of(status.as_u16())].inc();
        if status == StatusCode::NOT_FOUND && response.headers().contains_key(header::ETAG) {
            // A coherent "there is none" is an answer of the cache, but counted as a problem like any other.
            shared.metrics.problems_total[ProblemKind::NotFound].inc();
        }
        if self.is_head {
            without_body(&mut response);
        }
        if shared.is_draining.load(Ordering::Relaxed) && self.version < Version::HTTP_2 {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
