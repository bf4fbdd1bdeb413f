//! One connection's calls, each to the service that it names.

use std::{convert::Infallible, pin::Pin, sync::Arc};

use http::{Request, Response};
use hyper::body::Incoming;
use neverstale_listener::Activity;
use neverstale_telemetry::{Listener as Label, Metrics, StatusClass};
use tonic::{Status, body::Body, codegen::Service as _, server::NamedService};
use tonic_health::{pb::health_server::HealthServer, server::HealthService};

use crate::{check::Checker, proto::authorization_server::AuthorizationServer};

/// Serves the calls of one connection.
#[derive(Clone)]
pub(crate) struct GrpcService {
    pub(crate) authorization: AuthorizationServer<Checker>,
    pub(crate) health: HealthServer<HealthService>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) activity: Arc<Activity>,
}

type Answered = Result<Response<Body>, Infallible>;

impl hyper::service::Service<Request<Incoming>> for GrpcService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answered> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.activity.began(request.version());
        let mut called = self.clone();
        let in_flight = self.activity.in_flight();
        Box::pin(async move {
            let _in_flight = in_flight;
            let service = request.uri().path().split('/').nth(1).unwrap_or_default();
            let response = if service == AuthorizationServer::<Checker>::NAME {
                called.authorization.call(request).await?
            } else if service == HealthServer::<HealthService>::NAME {
                called.health.call(request).await?
            } else {
                Status::unimplemented("there is no such service").into_http()
            };
            let class = StatusClass::of(response.status().as_u16());
            called.metrics.http_requests_total[Label::ExtAuthz][class].inc();
            Ok(response)
        })
    }
}
