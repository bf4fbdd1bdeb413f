//! The standard health service (`grpc.health.v1.Health`), which tells what readiness says.

use neverstale_lifecycle::{CancellationToken, Readiness};
use tonic::server::NamedService;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{check::Checker, proto::authorization_server::AuthorizationServer};

/// The names under which health is asked for: the whole server's, and the service's.
const NAMES: [&str; 2] = ["", AuthorizationServer::<Checker>::NAME];

/// The service that answers what is reported.
pub(crate) fn service(reporter: &HealthReporter) -> HealthServer<HealthService> {
    HealthServer::new(HealthService::from_health_reporter(reporter.clone()))
}

/// Reports until all tasks are to end. Once draining begins both names are taken back, which ends the streams of whoever watches;
/// readiness has gone before.
pub(crate) async fn report(
    mut reporter: HealthReporter,
    readiness: Readiness,
    drain: CancellationToken,
    shutdown: CancellationToken,
) {
    tokio::select! {
        () = follow(&reporter, &readiness) => {}
        () = drain.cancelled() => {}
    }
    for name in NAMES {
        reporter.clear_service_status(name).await;
    }
    // A task that ends before all are to end counts as failed.
    shutdown.cancelled().await;
}

async fn follow(reporter: &HealthReporter, readiness: &Readiness) {
    loop {
        tell(reporter, ServingStatus::NotServing).await;
        readiness.ready().await;
        tell(reporter, ServingStatus::Serving).await;
        readiness.unready().await;
    }
}

async fn tell(reporter: &HealthReporter, status: ServingStatus) {
    for name in NAMES {
        reporter.set_service_status(name, status).await;
    }
}
