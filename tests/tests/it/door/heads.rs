//! What the application sees of a request, and the caller of an answer: byte for byte what was sent, but for what a hop must do.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{Door, read_until};

/// The values of a header that the application saw.
fn saw(seen: &Value, name: &str) -> Vec<String> {
    let lines = seen["headers"].as_array().unwrap().iter();
    lines
        .filter(|line| line[0] == name)
        .map(|line| line[1].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn heads_go_through_letter_by_letter() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let door = Door::open_with(&[("UPSTREAM", &url)]).await.unwrap();
    let mut caller = door.connect().await.unwrap();
    let sent = "GET /static/a%20b.js?x=%2F..&y=//;z HTTP/1.1\r\nHost: Chat.Example:8080\r\nX-tHIRD: 1\r\nAccept: */*\r\n\
                Accept: text/html\r\nuser-AGENT: me\r\nCookie: a=b\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Last: \u{e4}\r\n\r\n";
    caller.write_all(sent.as_bytes()).await.unwrap();
    let (mut application, _) = listener.accept().await.unwrap();
    let came = read_until(&mut application, "\r\n\r\n").await.unwrap();
    let kept = sent.replace("Connection: X-Hop\r\nX-Hop: 1\r\n", "");
    let kept = kept.strip_suffix("\r\n").unwrap();
    let added = came
        .strip_prefix(kept)
        .unwrap_or_else(|| panic!("{came}\nis not\n{kept}"));
    let mut names: Vec<_> = added
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    let expected = [
        "traceparent",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ];
    assert_eq!(names, expected, "{added}");

    let given = "HTTP/1.1 299 Quite Fine\r\nX-fIRST: 1\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nserver: uvicorn\r\nContent-Length: 2\r\n\
                 Keep-Alive: timeout=5\r\nETag: \"x\"\r\n\r\nok";
    application.write_all(given.as_bytes()).await.unwrap();
    let answer = read_until(&mut caller, "\r\n\r\nok").await.unwrap();
    assert_eq!(answer, given.replace("Keep-Alive: timeout=5\r\n", ""));
}

#[tokio::test]
async fn who_a_caller_is_and_where_he_comes_from_is_not_for_him_to_say() {
    let spoofed = [
        ("X-OpenWebUI-User-Role", "admin"),
        ("X_OpenWebUI_User_Role", "admin"),
        ("X-Forwarded-Email", "admin@example.com"),
        ("Remote-User", "admin"),
        ("X-Forwarded-For", "10.1.1.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "10.1.1.1"),
        ("Forwarded", "for=10.1.1.1"),
    ];
    let door = Door::open().await.unwrap();
    let answer = door.client().get_with("/api/x", &spoofed).await.unwrap();
    let text = answer.text();
    assert!(!text.contains("admin") && !text.contains("10.1.1.1"), "{text}");
    let seen = answer.json().unwrap();
    assert_eq!(saw(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(saw(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(
        door.counted("neverstale_ingress_identity_headers_dropped_total")
            .await
            .unwrap(),
        4
    );
    // Without the safeguard, that is from a proxy that is trusted, they arrive: the test can fail.
    let door = Door::open_with(&[("TRUSTED_PROXIES", "127.0.0.0/8")]).await.unwrap();
    let seen = door
        .client()
        .get_with("/api/x", &spoofed)
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(saw(&seen, "x-openwebui-user-role"), ["admin"]);
    assert_eq!(saw(&seen, "x-forwarded-for"), ["10.1.1.1, 127.0.0.1"]);
    assert_eq!(saw(&seen, "x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn connections_to_the_application_are_used_again() {
    let door = Door::open().await.unwrap();
    let (mut one, mut other) = (door.client(), door.client());
    for _ in 0..25 {
        assert_eq!(one.get("/api/x").await.unwrap().status, 200);
        assert_eq!(
            other.send("POST", "/api/upload", &[], b"abc").await.unwrap().text(),
            "3"
        );
    }
    let connections = door.upstream.state.connections.load(Relaxed);
    assert!(connections <= 2, "{connections}");
}

#[tokio::test]
async fn http_2_comes_out_as_http_1_with_its_host_and_one_cookie_header() {
    let door = Door::open().await.unwrap();
    let stream = TokioIo::new(door.connect().await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    for number in 0..20 {
        let request = Request::get(format!("http://chat.example:8080/api/{number}"))
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let seen: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(seen["target"], format!("/api/{number}"));
        assert_eq!(saw(&seen, "host"), ["chat.example:8080"]);
        assert_eq!(saw(&seen, "cookie"), ["a=1; b=2"]);
    }
}

#[tokio::test]
async fn an_address_has_so_many_connections() {
    let door = Door::open_with(&[("CONNECTIONS_PER_CLIENT_MAX", "2")]).await.unwrap();
    let mut held = [door.client(), door.client()];
    for client in &mut held {
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    let answer = door.client().get("/").await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (429, Some("close")));
    assert_eq!(door.refused("connections").await.unwrap(), 1);
    drop(held);
    crate::house::until("a place is free again", std::time::Duration::from_secs(5), async || {
        Ok(door.client().get("/").await?.status == 200)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed() {
    let door = Door::open_with(&[("FIRST_REQUEST_MS", "300")]).await.unwrap();
    let mut slow = door.connect().await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ").await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(std::time::Duration::from_secs(10), slow.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(rest.is_empty() && door.upstream.times("/") == 0);
}
