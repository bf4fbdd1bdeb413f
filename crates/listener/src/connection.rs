//! The life of one connection: a TLS handshake if there is one, then hyper until the end.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, rt::Executor, service::Service};
use hyper_util::{rt::TokioIo, server::conn::auto};
use neverstale_lifecycle::Tasks;
use neverstale_telemetry::Metrics;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use crate::{
    Manner, ServerTls,
    activity::{Activity, Told},
    inspected::Inspected,
    listener::Stream,
};

/// What hyper buffers of requests; a longer head it answers with 431 by itself.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Streams of one HTTP/2 connection at once; the caller waits with more.
const STREAMS_MAX: u32 = 256;
/// Decoded header bytes of one HTTP/2 request.
const HEADER_LIST_BYTES: u32 = 64 * 1024;

/// What a connection shares with its listener.
pub(crate) struct Ground {
    pub(crate) manner: Manner,
    pub(crate) activity: Arc<Activity>,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) handshake_limit: Duration,
}

/// Serves one connection until it ends.
pub(crate) async fn serve<S, B>(stream: Stream, tls: Option<ServerTls>, service: S, ground: Ground)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match (stream, tls) {
        (Stream::Tcp(stream), Some(tls)) => {
            match timeout(ground.handshake_limit, tls.acceptor().accept(stream)).await {
                Ok(Ok(stream)) => talk(stream, service, ground).await,
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        }
        (Stream::Tcp(stream), None) => talk(stream, service, ground).await,
        (Stream::Unix(stream), _) => talk(stream, service, ground).await,
    }
}

async fn talk<I, S, B>(io: I, service: S, ground: Ground)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let activity = &ground.activity;
    let mut builder = auto::Builder::new(HyperTasks {
        tasks: ground.tasks.clone(),
        name: "listener.stream",
    });
    builder.http1().max_buf_size(READ_BUFFER_BYTES);
    builder
        .http2()
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES);
    let ended = match ground.manner {
        Manner::Own => {
            // Answers to pipelined requests leave together.
            builder.http1().pipeline_flush(true);
            let connection = pin!(builder.serve_connection(TokioIo::new(io), service));
            drive(connection, activity, auto::Connection::graceful_shutdown).await
        }
        Manner::PassedOn => {
            builder.http1().preserve_header_case(true).auto_date_header(false);
            builder.http2().auto_date_header(false);
            let io = TokioIo::new(Inspected::new(io, activity));
            let connection = pin!(builder.serve_connection_with_upgrades(io, service));
            drive(connection, activity, auto::UpgradeableConnection::graceful_shutdown).await
        }
    };
    if let Err(error) = ended {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            ground.metrics.http_unreadable_total.inc();
        }
        tracing::debug!(error = &*error, "a connection ended with an error");
    }
}

/// Polls a connection until it ends, and tells it what the watch says.
async fn drive<C, T>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    graceful_shutdown: impl Fn(Pin<&mut C>),
) -> Result<(), Box<dyn Error + Send + Sync>>
where
    C: Future<Output = Result<T, Box<dyn Error + Send + Sync>>>,
{
    let mut is_draining = false;
    poll_fn(|context| {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended.map(drop));
            }
            match activity.told(context.waker()) {
                Told::Close => return Poll::Ready(Ok(())),
                Told::Drain if !is_draining => {
                    is_draining = true;
                    graceful_shutdown(connection.as_mut());
                }
                Told::Drain | Told::Nothing => return Poll::Pending,
            }
        }
    })
    .await
}

/// Runs what hyper wants to run by itself as tasks that have a name and whose panics are noticed.
#[derive(Clone)]
pub struct HyperTasks {
    /// Who owns them.
    pub tasks: Tasks,
    /// What each is called.
    pub name: &'static str,
}

impl<F> Executor<F> for HyperTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.tasks.spawn_brief(self.name, future);
    }
}
