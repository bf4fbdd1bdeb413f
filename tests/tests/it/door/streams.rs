//! Bodies pass piece by piece, in both directions, however long they are.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Door, read_until};
use crate::house::until;

#[tokio::test]
async fn a_body_is_passed_on_before_its_end_in_both_directions() {
    let door = Door::open().await.unwrap();
    let mut stream = door.connect().await.unwrap();
    let head = "POST /api/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    until(
        "the first piece is there before the last is sent",
        Duration::from_secs(10),
        async || Ok(door.upstream.state.uploaded.load(Relaxed) == 5),
    )
    .await
    .unwrap();
    stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
    assert!(
        read_until(&mut stream, "\r\n\r\n9")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
    // Server-sent events: each arrives when it was sent, and the next only when it is let go.
    stream
        .write_all(b"GET /api/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let first = read_until(&mut stream, "data: 0\n\n").await.unwrap();
    assert!(
        first.contains("text/event-stream") && !first.contains("data: 1"),
        "{first}"
    );
    door.upstream.state.go.add_permits(1);
    let second = read_until(&mut stream, "data: 1\n\n").await.unwrap();
    assert!(!second.contains("data: 2"), "{second}");
    door.upstream.state.go.add_permits(1);
    read_until(&mut stream, "0\r\n\r\n").await.unwrap();
    assert!(door.passed("answered").await.unwrap() >= 2);
}

/// The most memory that the process ever had.
fn peak_kilobytes(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_upload_that_is_larger_than_the_process_may_be_passes_through_it() {
    const MEGABYTES: usize = 256;
    let door = Door::open().await.unwrap();
    let pid = door.sidecar().pid().as_raw_nonzero().get();
    let mut stream = door.connect().await.unwrap();
    stream
        .write_all(b"POST /api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        .await
        .unwrap();
    read_until(&mut stream, "\r\n\r\n3").await.unwrap();
    let before = peak_kilobytes(pid);
    let piece = vec![b'x'; 1 << 20];
    let head = format!(
        "POST /api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        MEGABYTES << 20
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..MEGABYTES {
        stream.write_all(&piece).await.unwrap();
    }
    read_until(&mut stream, &format!("\r\n\r\n{}", MEGABYTES << 20))
        .await
        .unwrap();
    let grown = peak_kilobytes(pid) - before;
    assert!(grown < 32 * 1024, "{grown} KB for {MEGABYTES} MB");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let door = Door::open().await.unwrap();
    let mut stream = door.connect().await.unwrap();
    stream
        .write_all(b"GET /api/die HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut all = Vec::new();
    // Closed or reset, but never ended as a whole answer is.
    let _ = stream.read_to_end(&mut all).await;
    let all = String::from_utf8(all).unwrap();
    assert!(
        all.starts_with("HTTP/1.1 200") && all.contains("half") && !all.contains("0\r\n\r\n"),
        "{all}"
    );
    until("it is counted", Duration::from_secs(5), async || {
        Ok(door.passed("broken-off").await? == 1)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_caller_who_leaves_in_the_middle_leaves_nothing_behind() {
    let door = Door::open().await.unwrap();
    let state = &door.upstream.state;
    let mut stream = door.connect().await.unwrap();
    let head = "POST /api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.unwrap();
    until("the upload has begun", Duration::from_secs(10), async || {
        Ok(state.uploaded.load(Relaxed) == 3)
    })
    .await
    .unwrap();
    drop(stream);
    until("the application hears of it", Duration::from_secs(10), async || {
        Ok(state.broken.load(Relaxed) == 1)
    })
    .await
    .unwrap();
    // A half-closed socket is a caller who left, too.
    let mut stream = door.streaming().await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    until("both are counted and gone", Duration::from_secs(10), async || {
        let open = door
            .counted("neverstale_http_connections{listener=\"ingress\"}")
            .await?;
        Ok(door.passed("caller-left").await? >= 1 && open == 0)
    })
    .await
    .unwrap();
    assert_eq!(door.client().get("/").await.unwrap().status, 200);
}

/// A socket that is closed over bytes which nobody has read is reset, and what was answered is lost with it.
#[tokio::test]
async fn who_is_refused_while_he_sends_reads_why() {
    let door = Door::open_with(&[("BODY_BYTES_MAX", "2048")]).await.unwrap();
    let body = vec![b'x'; 0x80_0000];
    for (framing, before, after) in [
        ("Content-Length: 8388608", "", ""),
        ("Transfer-Encoding: chunked", "800000\r\n", "\r\n0\r\n\r\n"),
    ] {
        let mut stream = door.connect().await.unwrap();
        let head = format!("POST /api/upload HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{before}");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        stream.write_all(after.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "\r\n\r\n").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{framing}: {answer}");
        // It is over with the body, and does not wait for the caller to close.
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_body_has_a_size_and_a_pace() {
    let door = Door::open_with(&[("BODY_BYTES_MAX", "2048"), ("IDLE_SECONDS", "1")])
        .await
        .unwrap();
    let mut client = door.client();
    let answer = client.send("POST", "/api/upload", &[], &[b'x'; 2048]).await.unwrap();
    assert_eq!(answer.text(), "2048");
    let answer = client.send("POST", "/api/upload", &[], &[b'x'; 2049]).await.unwrap();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (413, Some("close")),
        "{}",
        answer.text()
    );
    let chunk = format!("800\r\n{}\r\n", "x".repeat(2048));
    let head = "POST /api/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let over = format!("{head}{chunk}1\r\nx\r\n");
    assert_eq!(super::status_of(&door, over.as_bytes()).await.unwrap(), Some(413));
    let slow = format!("{head}1\r\nx\r\n");
    assert_eq!(super::status_of(&door, slow.as_bytes()).await.unwrap(), Some(408));
    assert_eq!(
        (door.refused("size").await.unwrap(), door.refused("slow").await.unwrap()),
        (2, 1)
    );
}
