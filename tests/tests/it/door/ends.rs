//! When the application, or the sidecar, comes to its end.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Door, read_until};
use crate::{contract::expect_problem, house::until};

#[tokio::test]
async fn an_application_that_is_away_or_silent_is_named() {
    let door = Door::open_with(&[("FIRST_BYTE_SECONDS", "1")]).await.unwrap();
    expect_problem(&door.client().get("/api/hang").await.unwrap(), 504, "deadline-exceeded").unwrap();
    assert_eq!(door.passed("late").await.unwrap(), 1);
    let nowhere = format!("http://127.0.0.1:{}", neverstale_testkit::free_port().unwrap());
    let door = Door::open_with(&[("UPSTREAM", &nowhere)]).await.unwrap();
    expect_problem(&door.client().get("/").await.unwrap(), 502, "bad-gateway").unwrap();
    assert_eq!(
        (
            door.passed("unreachable").await.unwrap(),
            door.refused("upstream").await.unwrap()
        ),
        (1, 1)
    );
}

/// After an exception uvicorn closes the connection, and its answer does not say so: the next request would be sent into nothing.
#[tokio::test]
async fn a_connection_on_which_the_application_failed_is_not_used_again() {
    let door = Door::open().await.unwrap();
    let mut client = door.client();
    for connections in 1..=5 {
        assert_eq!(client.get("/api/fail").await.unwrap().status, 500);
        assert_eq!(door.upstream.state.connections.load(Relaxed), connections);
    }
}

#[tokio::test]
async fn asked_to_drain_the_door_lets_its_callers_go_and_everything_else_goes_on() {
    let door = Door::open().await.unwrap();
    let sidecar = door.sidecar();
    let (mut asking, mut idle) = (door.client(), door.connect().await.unwrap());
    assert_eq!(asking.get("/").await.unwrap().header("connection"), None);
    assert_eq!(sidecar.admin().get("/drain").await.unwrap().status, 405);
    // The application posts webhooks where its users say, from the same loopback: those are not empty.
    for (headers, body) in [(&[("content-type", "application/json")][..], &b""[..]), (&[], b"{}")] {
        let posted = sidecar.admin().send("POST", "/drain", headers, body).await.unwrap();
        assert_eq!(posted.status, 403);
    }
    assert_eq!(asking.get("/").await.unwrap().header("connection"), None);
    assert_eq!(
        sidecar.admin().send("POST", "/drain", &[], &[]).await.unwrap().status,
        200
    );
    until("answers end their connections", Duration::from_secs(5), async || {
        Ok(asking.get("/").await?.header("connection") == Some("close"))
    })
    .await
    .unwrap();
    // One that asks nothing is closed, so that its caller asks elsewhere before the application is gone.
    let mut bytes = [0; 16];
    let end = tokio::time::timeout(Duration::from_secs(5), idle.read(&mut bytes));
    assert_eq!(end.await.unwrap().unwrap(), 0);
    let readiness = sidecar.admin().get("/readyz").await.unwrap();
    assert!(
        readiness.status == 503 && readiness.text().contains("drain"),
        "{}",
        readiness.text()
    );
    // The application needs its answers for what it has begun.
    assert_eq!(sidecar.get("/v1/users/u2/role").await.unwrap().status, 200);
    assert_eq!(sidecar.terminate().await.unwrap(), 0);
}

/// Somebody who was refused and goes on sending, slowly, is not waited for.
#[tokio::test]
async fn who_was_refused_does_not_hold_up_the_end() {
    let door = Door::open_with(&[("BODY_BYTES_MAX", "2048")]).await.unwrap();
    let (mut reading, mut writing) = door.connect().await.unwrap().into_split();
    let head = b"POST /api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    writing.write_all(head).await.unwrap();
    let answer = read_until(&mut reading, "\r\n\r\n").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let dripping = tokio::spawn(async move {
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let open = "neverstale_http_connections{listener=\"ingress\"}";
    assert_eq!(door.counted(open).await.unwrap(), 1, "his body is read");
    let sidecar = door.sidecar();
    sidecar.ask_to_end().unwrap();
    assert_eq!(sidecar.exited(Duration::from_secs(10)).await.unwrap(), 0);
    dripping.await.unwrap();
}

#[tokio::test]
async fn an_open_stream_comes_to_its_end_while_the_door_closes() {
    let door = Door::open().await.unwrap();
    let sidecar = door.sidecar();
    let mut stream = door.streaming().await.unwrap();
    let mut kept = door.client();
    assert_eq!(kept.get("/").await.unwrap().status, 200);
    sidecar.ask_to_end().unwrap();
    until("it drains", Duration::from_secs(5), async || {
        Ok(sidecar.log().contains("draining"))
    })
    .await
    .unwrap();
    // What the application needs for the end of the stream is still answered, after the door has begun to close.
    assert_eq!(sidecar.get("/v1/users/u2/role").await.unwrap().status, 200);
    assert_eq!(kept.get("/").await.unwrap().header("connection"), Some("close"));
    door.upstream.state.go.add_permits(2);
    read_until(&mut stream, "data: 2\n\n\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(
        sidecar.exited(Duration::from_secs(10)).await.unwrap(),
        0,
        "{}",
        sidecar.log()
    );
    assert!(TcpStream::connect(("127.0.0.1", door.port)).await.is_err());
}
