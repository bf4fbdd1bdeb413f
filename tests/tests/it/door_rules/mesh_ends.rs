//! When what Envoy asks can't be known, and when the sidecar that it asks comes to its end.

use std::time::Duration;

use neverstale_testkit::{Postgres, PostgresVersion, Sidecar, free_port};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::grpc::{Asker, Channel, Mesh, request};
use crate::{
    house::{Plan, until},
    question::session_token,
};

const SERVICE: &str = "envoy.service.auth.v3.Authorization";

async fn health(client: &mut HealthClient<Channel>, service: &str) -> Option<i32> {
    let asked = HealthCheckRequest {
        service: service.into(),
    };
    client.check(asked).await.ok().map(|answer| answer.into_inner().status)
}

/// The primary hangs: whoever shows something can't be known, and is not let pass.
#[tokio::test]
async fn what_can_not_be_known_does_not_pass() {
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[("fsync", "off")])
        .await
        .unwrap();
    let port = free_port().unwrap();
    let house = Plan::of(neverstale_testkit::Application::OpenWebUi012)
        .sidecars(1)
        .with("NEVERSTALE_EXT_AUTHZ__LISTEN", format!("127.0.0.1:{port}"))
        .with("NEVERSTALE_INGRESS__DECISION_MS", 1_500)
        .open_on(&postgres)
        .await
        .unwrap();
    let mut asker = Asker::over(Channel::tcp(port).await.unwrap());
    let token = format!("Bearer {}", session_token("u2", "stamp-2", None));
    let about = request("GET", "/api/v1/auths/", &[("authorization", &token)], None);
    assert_eq!(asker.ask(about.clone()).await.unwrap().status, None);
    postgres.pause().unwrap();
    // For as long as the lease lasts, nothing can have been committed.
    let refused = until("the lease has run out", Duration::from_secs(20), async || {
        Ok(asker.ask(about.clone()).await?.status == Some(503))
    })
    .await;
    let told = asker.ask(about.clone()).await;
    let page = asker
        .ask(request("GET", "/static/app.js", &[("authorization", &token)], None))
        .await;
    postgres.resume().unwrap();
    refused.unwrap();
    let told = told.unwrap();
    assert_eq!(told.status, Some(503));
    assert_eq!(told.json().unwrap()["type"], "urn:neverstale:problem:unavailable");
    assert_eq!(page.unwrap().status, None, "files stay open");
    drop(house);
}

/// The health service goes before anything is refused, and what was asked is answered.
#[tokio::test]
async fn envoy_hears_first_that_the_sidecar_ends() {
    let mesh = Mesh::open(&[]).await.unwrap();
    let channel = Channel::tcp(mesh.port).await.unwrap();
    let (mut client, mut asker) = (HealthClient::new(channel.clone()), Asker::over(channel));
    for service in ["", SERVICE] {
        assert_eq!(
            health(&mut client, service).await,
            Some(ServingStatus::Serving.into()),
            "{service}"
        );
    }
    assert_eq!(health(&mut client, "another").await, None);
    let watched = HealthCheckRequest {
        service: SERVICE.into(),
    };
    let mut watching = client.watch(watched).await.unwrap().into_inner();
    assert_eq!(
        watching.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    mesh.sidecar().ask_to_end().unwrap();
    assert_eq!(
        watching.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    while let Ok(Some(_)) = watching.message().await {}
    let told = asker.ask(request("GET", "/static/app.js", &[], None)).await;
    assert!(told.is_err() || told.unwrap().status.is_none());
    let code = mesh.sidecar().exited(Duration::from_secs(10)).await.unwrap();
    assert_eq!(code, 0, "{}", mesh.sidecar().log());
}

#[tokio::test]
async fn envoy_may_ask_over_a_unix_socket_and_nobody_else_is_answered() {
    let mesh = Mesh::open(&[]).await.unwrap();
    let path = mesh.sidecar().home().join("authz.sock");
    let port = mesh.port;
    let options = mesh
        .doors
        .house
        .options
        .clone()
        .with("NEVERSTALE_EXT_AUTHZ__SOCKET", path.display());
    let by_socket = Sidecar::start(&options).await.unwrap();
    let mut asker = Asker::over(Channel::unix(&path).await.unwrap());
    let told = asker.ask(request("GET", "/api/v1/users/", &[], None)).await.unwrap();
    assert_eq!(told.status, Some(401));
    assert_eq!(by_socket.terminate().await.unwrap(), 0);
    assert!(!path.exists());
    let taken = mesh
        .doors
        .house
        .options
        .clone()
        .with("NEVERSTALE_EXT_AUTHZ__LISTEN", format!("127.0.0.1:{port}"));
    let second = Sidecar::launch(&taken).unwrap();
    assert_ne!(second.exited(Duration::from_secs(20)).await.unwrap(), 0);
    assert!(second.log().contains("ext_authz.listen"), "{}", second.log());
}
