//! Accepts connections and serves each by hyper until it ends, is told to drain, or has been silent for too long.
//!
//! What is answered is the business of the service that the caller makes for each connection. Connections have no timers of their own; one watch looks over all of them, so that a request costs none.

use std::{
    convert::Infallible,
    error::Error,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::Service};
use neverstale_lifecycle::{Backoff, CancellationToken, Tasks};
use neverstale_telemetry::{Listener as Label, Metrics};
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
};

use crate::{
    Activity, ListenError, ServerTls,
    connection::{Ground, serve},
    socket::{self, SocketFile},
    watch::Watch,
};

/// Pauses after a connection could not be accepted, which is when the process is short of file descriptors.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// From whom a connection comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP, from this address.
    Tcp(SocketAddr),
    /// Over the Unix socket.
    Unix,
}

impl Peer {
    /// Whether it is on this machine, as far as addresses tell: who forwards a connection is near whoever is behind it.
    pub fn is_loopback(self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix => true,
        }
    }
}

/// How the connections of a listener speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// They are answered by this house.
    Own,
    /// They are passed on to somebody else, whose answers stay as they are: names keep their case, no date is added,
    /// connections may be upgraded, and requests are watched for tricks of framing (`Activity::trick`).
    PassedOn,
}

/// What bounds the connections of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open at once; more wait in the kernel's queue to be accepted.
    pub connections_max: usize,
    /// A new connection has so long for its first request, the TLS handshake included.
    pub first_request: Duration,
    /// A connection that asks nothing for so long is closed.
    pub idle: Duration,
    /// While draining, a connection of HTTP/1 that asks nothing for so long is closed; asked, it answers and closes.
    pub drain_quiet: Duration,
}

/// One or more places to listen, with bounds and a drain in common. Clones are the same listener.
#[derive(Clone)]
pub struct Listener {
    shared: Arc<Shared>,
}

struct Shared {
    tasks: Tasks,
    metrics: Arc<Metrics>,
    manner: Manner,
    limits: Limits,
    places: Arc<Semaphore>,
    watch: Watch,
    is_draining: Arc<AtomicBool>,
    /// Cancelled when draining begins.
    drain_begun: CancellationToken,
    /// Cancelled when nothing more will be accepted and no connection is open.
    ended: CancellationToken,
}

impl Listener {
    /// Begins to watch over connections; they drain when `drain` is cancelled or all tasks are to end. Before that nothing
    /// is accepted that [`Listener::tcp`] and [`Listener::unix`] were not asked to.
    pub fn new(
        watch_name: &'static str,
        manner: Manner,
        limits: Limits,
        metrics: &Arc<Metrics>,
        drain: CancellationToken,
        tasks: &Tasks,
    ) -> Self {
        let shared = Arc::new(Shared {
            tasks: tasks.clone(),
            metrics: Arc::clone(metrics),
            manner,
            limits,
            places: Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS))),
            watch: Watch::new(limits),
            is_draining: Arc::default(),
            drain_begun: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        let watching = Arc::clone(&shared);
        tasks.spawn(watch_name, async move {
            let shutdown = watching.tasks.shutdown();
            watching.watch.run_until(drain, &shutdown).await;
            watching.is_draining.store(true, Ordering::Relaxed);
            watching.drain_begun.cancel();
            watching.watch.drain().await;
            watching.ended.cancel();
            // A task that ends before all are to end counts as failed.
            shutdown.cancelled().await;
        });
        Self { shared }
    }

    /// Listens over TCP, with TLS if there is any, and gives the address that was bound.
    ///
    /// # Errors
    /// The address can't be understood or is taken.
    pub async fn tcp<S, B, M>(
        &self,
        task: &'static str,
        label: Label,
        address: &str,
        tls: Option<ServerTls>,
        make: M,
    ) -> Result<SocketAddr, ListenError>
    where
        M: Fn(Peer, Arc<Activity>) -> S + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let failed = |source| ListenError::Tcp {
            address: address.to_owned(),
            source,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_address = listener.local_addr().map_err(failed)?;
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(task, async move {
            let accept = || async {
                let (stream, address) = listener.accept().await?;
                // Answers are written whole, so there is nothing to wait for.
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), Peer::Tcp(address)))
            };
            shared.accept_until_drained(accept, label, tls.as_ref(), &make).await;
            drop(listener);
            shared.tasks.shutdown().cancelled().await;
        });
        Ok(local_address)
    }

    /// Listens on a Unix socket, whose file it removes at the end.
    ///
    /// # Errors
    /// The socket is in use by another process, the path is something else than a socket, or the system refuses.
    pub async fn unix<S, B, M>(&self, task: &'static str, label: Label, path: &Path, make: M) -> Result<(), ListenError>
    where
        M: Fn(Peer, Arc<Activity>) -> S + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let failed = |source| ListenError::Unix {
            path: PathBuf::from(path),
            source,
        };
        let (listener, file): (UnixListener, SocketFile) = socket::bind(path).await.map_err(failed)?;
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(task, async move {
            let accept = || async {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix))
            };
            shared.accept_until_drained(accept, label, None, &make).await;
            drop((listener, file));
            shared.tasks.shutdown().cancelled().await;
        });
        Ok(())
    }

    /// Shows whether connections are being drained: a plain load, for every request.
    pub fn is_draining(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.is_draining)
    }

    /// Gives a token that is cancelled when draining begins, for answers without end.
    pub fn drain_begun(&self) -> CancellationToken {
        self.shared.drain_begun.clone()
    }

    /// Waits until it has been drained: told to, and no connection is open any more.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn drained(&self) {
        self.shared.ended.cancelled().await;
    }
}

/// A connection before hyper has it.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Shared {
    async fn accept_until_drained<S, B, M, F>(
        &self,
        accept: impl Fn() -> F,
        label: Label,
        tls: Option<&ServerTls>,
        make: &M,
    ) where
        F: Future<Output = io::Result<(Stream, Peer)>>,
        M: Fn(Peer, Arc<Activity>) -> S,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut pause = Backoff::new(ACCEPT_PAUSE_MIN, ACCEPT_PAUSE_MAX);
        let accepting = async {
            loop {
                let place = Arc::clone(&self.places)
                    .acquire_owned()
                    .await
                    .expect("the semaphore is never closed");
                let (stream, peer) = match accept().await {
                    Ok(accepted) => accepted,
                    Err(error) if is_of_the_connection(&error) => continue,
                    Err(error) => {
                        tracing::warn!(%error, listener = ?label, "a connection can't be accepted: are there file descriptors left?");
                        tokio::time::sleep(pause.next_delay()).await;
                        continue;
                    }
                };
                pause.reset();
                let activity = self.watch.admit();
                let service = make(peer, Arc::clone(&activity));
                let open = Open::new(Arc::clone(&self.metrics), label);
                let ground = Ground {
                    manner: self.manner,
                    activity,
                    tasks: self.tasks.clone(),
                    metrics: Arc::clone(&self.metrics),
                    handshake_limit: self.limits.first_request,
                };
                let serving = serve(stream, tls.cloned(), service, ground);
                self.tasks.spawn_brief("listener.connection", async move {
                    let _held = (place, open);
                    serving.await;
                });
            }
        };
        self.ended.run_until_cancelled(accepting).await;
    }
}

/// Errors of one connection that was gone before it was accepted; the next one is not concerned.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput | NotConnected
    )
}

/// Counts a connection as open for as long as it lives, however it ends.
struct Open(Arc<Metrics>, Label);

impl Open {
    fn new(metrics: Arc<Metrics>, label: Label) -> Self {
        metrics.http_connections[label].inc();
        Self(metrics, label)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.http_connections[self.1].dec();
    }
}

#[cfg(test)]
mod tests;
