//! How requests come: kept and pipelined connections, HTTP/2 with prior knowledge, TLS, the Unix socket.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use neverstale_testkit::{Application, Scratch};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::house::{Plan, trusted};

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await.unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", house.sidecars[0].api_port()))
        .await
        .unwrap();
    let mut requests = String::new();
    for user in ["u2", "nobody", "u3", "u2"] {
        requests.push_str(&format!("GET /v1/users/{user} HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
    requests.push_str("GET /v1/users/u5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    let found: Vec<&str> = all.matches("HTTP/1.1 200 OK").collect();
    assert_eq!((found.len(), all.matches("HTTP/1.1 404").count()), (4, 1), "{all}");
    let places = ["\"u2\"", "\"u3\"", "\"u5\""].map(|id| all.find(&format!("\"id\" : {id}")).unwrap());
    assert!(places.is_sorted(), "{all}");
}

#[tokio::test]
async fn a_kept_connection_serves_many_requests_over_tcp_and_socket() {
    let house = Plan::of(Application::OpenWebUi06).sidecars(1).open().await.unwrap();
    for mut client in [house.sidecars[0].api(), trusted(&house.sidecars[0])] {
        for number in 1..=60 {
            let answer = client.get(&format!("/v1/users/u{number}")).await.unwrap();
            assert_eq!((answer.status, answer.header("connection")), (200, None));
        }
    }
    let connections = house.sidecars[0]
        .metric("neverstale_http_requests_total")
        .await
        .unwrap();
    assert!(connections >= 120.0, "{connections}");
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await.unwrap();
    let stream = TcpStream::connect(("127.0.0.1", house.sidecars[0].api_port()))
        .await
        .unwrap();
    many_streams(stream).await.unwrap();
}

/// Twenty requests at once on one connection.
async fn many_streams(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<()> {
    let (sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut asked = Vec::new();
    for number in 1..=20 {
        let mut sender = sender.clone();
        let request = Request::get(format!("http://neverstale/v1/users/u{number}")).body(Empty::new())?;
        asked.push(tokio::spawn(async move {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            anyhow::Ok((head.status, head.headers, body.collect().await?.to_bytes()))
        }));
    }
    for (place, answer) in asked.into_iter().enumerate() {
        let (status, headers, body) = answer.await??;
        let body: serde_json::Value = serde_json::from_slice(&body)?;
        ensure!(
            status == 200 && body["id"] == format!("u{}", place + 1),
            "{status} {body}"
        );
        for name in [
            "neverstale-position",
            "cache-status",
            "etag",
            "content-length",
            "neverstale-consistency",
        ] {
            ensure!(headers.contains_key(name), "no {name} over HTTP/2: {headers:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn tls_is_spoken_with_http_1_and_2() {
    let scratch = Scratch::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = ["cert.pem", "key.pem"].map(|name| scratch.path().join(name));
    std::fs::write(&files[0], made.cert.pem()).unwrap();
    std::fs::write(&files[1], made.signing_key.serialize_pem()).unwrap();
    let plan = Plan::of(Application::OpenWebUi012).sidecars(1);
    let plan = plan
        .with("NEVERSTALE_API__TLS_CERT_FILE", files[0].display())
        .with("NEVERSTALE_API__TLS_KEY_FILE", files[1].display());
    let house = plan.open().await.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let connect = async |protocol: &str| -> Result<_> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", house.sidecars[0].api_port())).await?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("localhost")?, stream)
            .await?;
        let agreed = stream
            .get_ref()
            .1
            .alpn_protocol()
            .context("no protocol was agreed on")?;
        ensure!(agreed == protocol.as_bytes(), "{agreed:?}");
        Ok(stream)
    };
    many_streams(connect("h2").await.unwrap()).await.unwrap();
    let mut stream = connect("http/1.1").await.unwrap();
    stream
        .write_all(b"GET /v1/users/u2/role HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"role\""),
        "{answer}"
    );
    // Who speaks plain HTTP there gets nothing, and the socket needs no TLS.
    assert!(house.sidecars[0].get("/v1/users/u2").await.is_err());
    assert_eq!(
        trusted(&house.sidecars[0]).get("/v1/users/u2").await.unwrap().status,
        200
    );
}
