//! TLS at the door: both protocols by agreement, WebSockets, a certificate that is renewed, and who does not speak it.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use neverstale_testkit::Scratch;
use rcgen::{CertifiedKey, KeyPair};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Door, read_until, tunnels::UPGRADE};
use crate::house::until;

type Made = CertifiedKey<KeyPair>;

fn made() -> Made {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// Puts a certificate in the place of another, as Kubernetes does it.
fn put(home: &Path, made: &Made) {
    for (name, contents) in [("key", made.signing_key.serialize_pem()), ("cert", made.cert.pem())] {
        let next = home.join("next");
        std::fs::write(&next, contents).unwrap();
        std::fs::rename(&next, home.join(name)).unwrap();
    }
}

async fn open(home: &Path, settings: &[(&str, &str)]) -> Result<Door> {
    let files = ["cert", "key"].map(|name| home.join(name).display().to_string());
    let mut all = vec![("TLS_CERT_FILE", files[0].as_str()), ("TLS_KEY_FILE", &files[1])];
    all.extend(settings);
    Door::open_with(&all).await
}

/// Connects as whoever trusts this certificate and no other, and speaks this protocol and no other.
async fn connect(door: &Door, trusted: &Made, protocol: &str) -> Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.cert.der().clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost")?, door.connect().await?)
        .await?;
    let agreed = stream.get_ref().1.alpn_protocol().context("nothing was agreed on")?;
    ensure!(agreed == protocol.as_bytes(), "{agreed:?}");
    Ok(stream)
}

const REQUEST: &[u8] = b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn both_protocols_pass_by_agreement_and_so_does_a_websocket() {
    let (scratch, made) = (Scratch::new().unwrap(), made());
    put(scratch.path(), &made);
    let door = open(scratch.path(), &[]).await.unwrap();

    let mut stream = connect(&door, &made, "http/1.1").await.unwrap();
    for _ in 0..3 {
        stream.write_all(REQUEST).await.unwrap();
        let answer = read_until(&mut stream, "]}").await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains(r#"["x-forwarded-proto","https"]"#),
            "{answer}"
        );
    }

    let stream = connect(&door, &made, "h2").await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::get("https://localhost/api/x")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(
            text.contains(r#"["host","localhost"]"#) && text.contains(r#"["x-forwarded-proto","https"]"#),
            "{text}"
        );
    }

    let mut stream = connect(&door, &made, "http/1.1").await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(read_until(&mut stream, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_renewed_certificate_counts_for_the_next_connection_and_open_ones_go_on() {
    let (scratch, old, new) = (Scratch::new().unwrap(), made(), made());
    put(scratch.path(), &old);
    let door = open(scratch.path(), &[]).await.unwrap();
    let mut open = connect(&door, &old, "http/1.1").await.unwrap();
    assert!(connect(&door, &new, "http/1.1").await.is_err());
    put(scratch.path(), &new);
    until("the new certificate is shown", Duration::from_secs(10), async || {
        Ok(connect(&door, &new, "http/1.1").await.is_ok())
    })
    .await
    .unwrap();
    assert!(connect(&door, &old, "http/1.1").await.is_err());
    open.write_all(REQUEST).await.unwrap();
    let answer = read_until(&mut open, "]}").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn who_does_not_speak_it_or_never_finishes_a_handshake_gets_nothing() {
    let (scratch, made) = (Scratch::new().unwrap(), made());
    put(scratch.path(), &made);
    let door = open(scratch.path(), &[("FIRST_REQUEST_MS", "500")]).await.unwrap();
    // In plain text; then the beginning of a handshake (RFC 8446 §5.1) and no more of it.
    for begun in [REQUEST, b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = door.connect().await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut all = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await;
        assert!(ended.is_ok() && !all.starts_with(b"HTTP"), "{all:?}");
    }
    assert_eq!(door.upstream.times("/api/x"), 0);
}
