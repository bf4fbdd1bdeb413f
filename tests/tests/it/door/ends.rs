//! When the application, or the sidecar, comes to its end.

use std::time::Duration;

use tokio::net::TcpStream;

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
