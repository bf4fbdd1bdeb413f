//! The life of one connection: a TLS handshake if there is one, then hyper until the end.

use std::{convert::Infallible, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, rt::Executor, service::Service};
use hyper_util::{rt::TokioIo, server::conn::auto};
use neverstale_lifecycle::Tasks;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    Stream,
    activity::{Activity, Told},
    tls::ServerTls,
};
use crate::body::Body;

/// What hyper buffers of requests; a longer head it answers with 431 by itself.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Streams of one HTTP/2 connection at once; the caller waits with more.
const STREAMS_MAX: u32 = 256;
/// Decoded header bytes of one HTTP/2 request.
const HEADER_LIST_BYTES: u32 = 64 * 1024;

/// Serves one connection until it ends.
pub(super) async fn serve<S>(
    stream: Stream,
    tls: Option<ServerTls>,
    service: S,
    activity: Arc<Activity>,
    tasks: Tasks,
    handshake_limit: Duration,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    match (stream, tls) {
        (Stream::Tcp(stream), Some(tls)) => match timeout(handshake_limit, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => talk(stream, service, &activity, tasks).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
        (Stream::Tcp(stream), None) => talk(stream, service, &activity, tasks).await,
        (Stream::Unix(stream), _) => talk(stream, service, &activity, tasks).await,
    }
}

async fn talk<I, S>(io: I, service: S, activity: &Activity, tasks: Tasks)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let mut builder = auto::Builder::new(Streams(tasks));
    // Answers to pipelined requests leave together.
    builder.http1().pipeline_flush(true).max_buf_size(READ_BUFFER_BYTES);
    builder
        .http2()
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut is_draining = false;
    let ended = poll_fn(|context| {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            match activity.told(context.waker()) {
                Told::Close => return Poll::Ready(Ok(())),
                Told::Drain if !is_draining => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                Told::Drain | Told::Nothing => return Poll::Pending,
            }
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(error = &*error, "a connection ended with an error");
    }
}

/// Runs the streams of HTTP/2 connections as tasks whose panics are noticed.
#[derive(Clone)]
struct Streams(Tasks);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn_brief("listener.stream", stream);
    }
}
