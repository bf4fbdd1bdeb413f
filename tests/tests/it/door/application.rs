//! What stands behind the door in these tests: an application that notes what reaches it, and does what a path says.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONNECTION, CONTENT_TYPE, ETAG, UPGRADE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use neverstale_testkit::free_port;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
};

type Body = BoxBody<Bytes, io::Error>;

/// The running application.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    pub(super) state: Arc<State>,
}

/// What it has seen, and what it waits for.
pub(super) struct State {
    pub(super) seen: Mutex<Vec<Value>>,
    pub(super) connections: AtomicUsize,
    pub(super) uploaded: AtomicU64,
    /// Uploads that broke off.
    pub(super) broken: AtomicUsize,
    /// Each permit lets a stream go on.
    pub(super) go: Semaphore,
}

impl Upstream {
    pub(crate) async fn start() -> Result<Self> {
        let port = free_port()?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let state = Arc::new(State {
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            uploaded: AtomicU64::new(0),
            broken: AtomicUsize::new(0),
            go: Semaphore::new(0),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Relaxed);
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(answer(&state, request).await) }
                });
                let serving = http1::Builder::new()
                    .preserve_header_case(true)
                    .auto_date_header(false)
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                tokio::spawn(serving);
            }
        });
        Ok(Self { port, state })
    }

    /// How many requests have come whose target is this.
    pub(super) fn times(&self, target: &str) -> usize {
        self.state
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| seen["target"] == target)
            .count()
    }
}

async fn answer(state: &Arc<State>, mut request: Request<Incoming>) -> Response<Body> {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let seen = json!({ "method": request.method().as_str(), "target": request.uri().to_string(), "headers": headers });
    state.seen.lock().unwrap().push(seen.clone());
    match request.uri().path() {
        "/api/stream" => stream_of(state, "text/event-stream"),
        "/api/upload" => upload(state, request).await,
        "/api/die" => {
            let pieces = [
                Ok(Frame::data(Bytes::from("half"))),
                Err(io::Error::other("on purpose")),
            ];
            let pieces = stream::unfold(pieces.into_iter(), |mut pieces| async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((pieces.next()?, pieces))
            });
            Response::new(BodyExt::boxed(StreamBody::new(pieces)))
        }
        "/api/fail" => {
            let mut response = whole(Bytes::from("Internal Server Error"));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
        "/api/hang" => std::future::pending().await,
        "/ws/socket.io/" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    if stream.write_all(&bytes[..count]).await.is_err() {
                        break;
                    }
                }
            });
            let mut response = whole(Bytes::new());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(UPGRADE, "websocket".parse().unwrap());
            response.headers_mut().insert(CONNECTION, "Upgrade".parse().unwrap());
            response
        }
        _ => {
            let mut response = whole(seen.to_string().into());
            response
                .headers_mut()
                .insert(CONTENT_TYPE, "application/json".parse().unwrap());
            response
                .headers_mut()
                .insert(ETAG, "\"of-the-application\"".parse().unwrap());
            response
        }
    }
}

fn whole(bytes: Bytes) -> Response<Body> {
    Response::new(Full::new(bytes).map_err(|never| match never {}).boxed())
}

/// Three events, each of the later ones when a permit is given.
fn stream_of(state: &Arc<State>, content_type: &'static str) -> Response<Body> {
    let state = Arc::clone(state);
    let pieces = stream::unfold(0, move |number| {
        let state = Arc::clone(&state);
        async move {
            if number == 3 {
                return None;
            }
            if number > 0 {
                state.go.acquire().await.unwrap().forget();
            }
            let piece = Bytes::from(format!("data: {number}\n\n"));
            Some((Ok(Frame::data(piece)), number + 1))
        }
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(pieces)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, content_type.parse().unwrap());
    response
}

async fn upload(state: &State, request: Request<Incoming>) -> Response<Body> {
    let (mut body, mut bytes) = (request.into_body(), 0_u64);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            state.broken.fetch_add(1, Relaxed);
            return whole(Bytes::from("broken"));
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        bytes += length;
        state.uploaded.fetch_add(length, Relaxed);
    }
    whole(bytes.to_string().into())
}
