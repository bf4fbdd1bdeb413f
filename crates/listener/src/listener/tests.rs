//! Connections of every kind, against a service that says `ok`.

use std::{future::ready, path::Path};

use bytes::Bytes;
use hyper::service::service_fn;
use neverstale_lifecycle::Readiness;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::*;
use crate::Body;

const LIMITS: Limits = Limits {
    connections_max: 2,
    first_request: Duration::from_secs(2),
    idle: Duration::from_mins(1),
    drain_quiet: Duration::from_millis(100),
};
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

struct Running {
    listener: Listener,
    address: SocketAddr,
    drain: CancellationToken,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

fn ok(
    _: Peer,
    activity: Arc<Activity>,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future = impl Send> + Send {
    service_fn(move |request: Request<Incoming>| {
        activity.began(request.version());
        ready(Ok(Response::new(Body::from(Bytes::from_static(b"ok")))))
    })
}

async fn running(socket: Option<&Path>) -> Running {
    let (tasks, metrics) = (
        Tasks::new(Readiness::new("start", "starting"), || {}),
        Arc::new(Metrics::new("0")),
    );
    let drain = CancellationToken::new();
    let listener = Listener::new("test.watch", Manner::Own, LIMITS, &metrics, drain.clone(), &tasks);
    let address = listener
        .tcp("test.tcp", Label::Api, "127.0.0.1:0", None, ok)
        .await
        .unwrap();
    if let Some(path) = socket {
        listener.unix("test.socket", Label::ApiSocket, path, ok).await.unwrap();
    }
    Running {
        listener,
        address,
        drain,
        tasks,
        metrics,
    }
}

/// Reads answers until `count` of them have come.
async fn read_answers(stream: &mut (impl tokio::io::AsyncRead + Unpin), count: usize) -> String {
    let mut read = Vec::new();
    while String::from_utf8_lossy(&read).matches("\r\n\r\nok").count() < count {
        assert_ne!(
            stream.read_buf(&mut read).await.unwrap(),
            0,
            "the connection ended early"
        );
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn requests_may_follow_each_other_without_waiting() {
    let running = running(None).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&REQUEST.repeat(3)).await.unwrap();
    let answers = read_answers(&mut stream, 3).await;
    assert_eq!(answers.matches("content-length: 2").count(), 3);
    assert_eq!(running.metrics.http_connections[Label::Api].get(), 1);
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let running = running(None).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        streams.push(stream);
    }
    let mut third = streams.pop().unwrap();
    for stream in &mut streams {
        read_answers(stream, 1).await;
    }
    assert!(timeout(Duration::from_millis(100), third.read_u8()).await.is_err());
    drop(streams);
    read_answers(&mut third, 1).await;
}

#[tokio::test]
async fn draining_ends_quiet_connections_and_the_socket_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("api.sock");
    let running = running(Some(&path)).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    read_answers(&mut stream, 1).await;
    running.drain.cancel();
    assert_eq!(
        stream.read(&mut [0; 1]).await.unwrap(),
        0,
        "the quiet connection is closed, not reset"
    );
    running.listener.drained().await;
    assert_eq!(
        running.tasks.join(Duration::from_secs(5)).await,
        neverstale_lifecycle::Joined::InTime
    );
    assert!(!path.exists());
    assert!(TcpStream::connect(running.address).await.is_err());
}
