//! Requests that two servers could read differently: each is refused, counted, and never reaches the application.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Door, status_of};

const HOST: &str = "Host: x\r\n";

#[tokio::test]
async fn nothing_is_smuggled() {
    let door = Door::open().await.unwrap();
    let inner = "GET /api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let chunked = format!("0\r\n\r\n{inner}");
    let head = |line: &str, lines: &str| format!("{line} HTTP/1.1\r\n{HOST}{lines}\r\n");
    let post = |lines: &str| head("POST /api/outer", lines) + &chunked;
    // Refused by what we see of the framing, and by hyper where it reads no further.
    let ours = [
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        post("Content-Length: 0\r\nContent-Length: 0\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        post("Transfer-Encoding: gzip, chunked\r\n"),
        post("Host: y\r\n"),
        "GET /api/outer HTTP/1.1\nHost: x\n\n".to_owned(),
        "GET /api/outer HTTP/1.1\r\n\r\n".to_owned(),
        "GET /api/outer HTTP/1.1\r\nHost: a@b\r\n\r\n".to_owned(),
        head("GET /api/outer", "Connection: close, Authorization\r\n"),
        head("GET /api/outer", "Connection: Cookie\r\n"),
    ];
    for request in &ours {
        assert_eq!(
            status_of(&door, request.as_bytes()).await.unwrap(),
            Some(400),
            "{request}"
        );
    }
    assert_eq!(door.refused("framing").await.unwrap(), ours.len());
    let before = door.counted("neverstale_http_unreadable_total").await.unwrap();
    let theirs = [
        post("Content-Length: 5\r\nContent-Length: 6\r\n"),
        post("Content-Length: +5\r\n"),
        post("Content-Length: 5, 5\r\n"),
        post("Transfer-Encoding: identity\r\n"),
        post("Transfer-Encoding: xchunked\r\n"),
        post("Transfer-Encoding : chunked\r\n"),
        post("X: a\r\n folded\r\n"),
        post("X: a\rb\r\n"),
        post("X: a\0b\r\n"),
        "POST /api/outer HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "GET /api/outer HTTP/9.9\r\nHost: x\r\n\r\n".to_owned(),
        "GET /api/out er HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ];
    for request in &theirs {
        let status = status_of(&door, request.as_bytes()).await.unwrap();
        assert!(matches!(status, Some(400..=499 | 505) | None), "{status:?} {request}");
    }
    let counted = door.counted("neverstale_http_unreadable_total").await.unwrap() - before;
    assert!(
        counted + door.refused("framing").await.unwrap() >= ours.len() + theirs.len(),
        "{counted}"
    );
    assert_eq!(
        door.upstream.times("/api/smuggled") + door.upstream.times("/api/outer"),
        0
    );
    assert_eq!(
        door.client().get("/api/outer").await.unwrap().status,
        200,
        "the door still works, and the test can fail"
    );
    assert_eq!(door.upstream.times("/api/outer"), 1);
}

#[tokio::test]
async fn bad_chunks_reach_nobody_as_a_whole_body() {
    let door = Door::open().await.unwrap();
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "-1\r\nx\r\n",
        "5\r\nhelloX0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nx",
        "g\r\n",
    ] {
        let request = format!("POST /api/upload HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{chunks}");
        let mut stream = door.connect().await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{chunks:?}: {answer}");
    }
}

#[tokio::test]
async fn targets_that_are_no_path_are_refused() {
    let door = Door::open().await.unwrap();
    for (line, expected) in [
        ("GET http://x/api/outer", 400),
        ("GET https://other/api/outer", 400),
        ("OPTIONS *", 400),
        ("CONNECT x:443", 405),
        ("TRACE /api/outer", 405),
        ("TRACK /api/outer", 405),
    ] {
        let request = format!("{line} HTTP/1.1\r\n{HOST}\r\n");
        assert_eq!(
            status_of(&door, request.as_bytes()).await.unwrap(),
            Some(expected),
            "{line}"
        );
    }
    assert_eq!(door.refused("target").await.unwrap(), 6);
    let long = format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "a".repeat(20_000));
    assert_eq!(status_of(&door, long.as_bytes()).await.unwrap(), Some(414));
    let large = format!("GET / HTTP/1.1\r\n{HOST}X: {}\r\n\r\n", "a".repeat(60_000));
    assert_eq!(status_of(&door, large.as_bytes()).await.unwrap(), Some(431));
    let many = format!("GET / HTTP/1.1\r\n{HOST}{}\r\n", "X: a\r\n".repeat(200));
    assert_eq!(status_of(&door, many.as_bytes()).await.unwrap(), Some(431));
    assert_eq!(door.refused("size").await.unwrap(), 2);
    assert_eq!(door.upstream.state.seen.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn paths_that_could_be_two_are_refused() {
    let door = Door::open().await.unwrap();
    let tricks = [
        "//api/v1/functions/",
        "/api//v1/functions/",
        "/static/../api/v1/functions/",
        "/static/%2e%2e/api/v1/functions/",
        "/static/.%2E/api/v1/functions/",
        "/./api/v1/functions/",
        "/api%2fv1/functions/",
        "/api/v1%2Ffunctions/",
        "/api%5cv1/functions/",
        "/api;x=1/v1/functions/",
        "/api/v1/functions/%00",
        "/api/v1/functions/%0d%0aX:1",
        "/api/v1/functions/%",
        "/api/v1/functions/%zz",
        "/api/v1/functions/%ff",
        "/api%252fv1/functions/",
        "/static/%252e%252e/api/v1/functions/",
    ];
    for trick in tricks {
        let request = format!("GET {trick} HTTP/1.1\r\n{HOST}\r\n");
        assert_eq!(
            status_of(&door, request.as_bytes()).await.unwrap(),
            Some(400),
            "{trick}"
        );
    }
    assert_eq!(door.refused("path").await.unwrap(), tricks.len());
    assert_eq!(door.upstream.state.seen.lock().unwrap().len(), 0);
    // A path in other letters is judged as the one that it looks like.
    let mut client = door.client();
    let headers = [("Authorization", "Bearer forged")];
    for path in ["/API/v1/functions/", "/aPi/V1"] {
        let text = client.get_with(path, &headers).await.unwrap().text();
        assert!(text.contains(path) && !text.contains("forged"), "{text}");
    }
}
