//! The application behind the door: notes what reaches it, and answers with every list that a route may have.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, ETAG, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use neverstale_testkit::free_port;
use tokio::net::TcpListener;

/// A request that reached it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) on: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// The running application.
pub(super) struct Upstream {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    reached: Vec<Reached>,
    /// What is answered next, and always.
    answer: String,
    has_etag: bool,
}

impl Upstream {
    pub(super) async fn start() -> Result<Self> {
        let port = free_port()?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(answer(&state, request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { port, state })
    }

    /// What it answers from now on.
    pub(super) fn will_answer(&self, answer: impl Into<String>, has_etag: bool) {
        let mut state = self.state.lock().unwrap();
        (state.answer, state.has_etag) = (answer.into(), has_etag);
    }

    /// What has reached it since this was asked last.
    pub(super) fn take_reached(&self) -> Vec<Reached> {
        std::mem::take(&mut self.state.lock().unwrap().reached)
    }
}

async fn answer(state: &Mutex<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let on = format!("{} {}", request.method(), request.uri());
    let headers = request.headers().clone();
    let body = request
        .into_body()
        .collect()
        .await
        .map(Collected::to_bytes)
        .unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut state = state.lock().unwrap();
    state.reached.push(Reached { on, headers, body });
    let mut response = Response::new(Full::from(state.answer.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if state.has_etag {
        headers.insert(ETAG, HeaderValue::from_static("\"of-the-application\""));
    }
    response
}
