//! The two streams of a request: its body on the way in, the answer's on the way out, piece by piece.
//!
//! Neither holds more than one piece. Each has an end: the size of what comes in is bounded, and neither may stand still for
//! ever. What goes wrong in one ends the other by itself, since hyper gives up a connection whose body fails.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use neverstale_listener::InFlight;
use neverstale_telemetry::{Metrics, PassOutcome};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::upstream::Answer;

/// Why a stream was ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamError {
    /// The body is larger than the limit.
    #[error("the body is too large")]
    TooLarge,
    /// Nothing came for too long.
    #[error("the body stood still for too long")]
    StoodStill,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How far the body of a request has come, seen from outside.
#[derive(Debug)]
pub(crate) struct Progress(Option<Arc<Moved>>);

#[derive(Debug, Default)]
struct Moved {
    frames: AtomicU64,
    is_done: AtomicBool,
}

/// How far the body of a request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    frames: u64,
    /// All of it has been taken.
    pub(crate) is_done: bool,
}

impl Progress {
    /// Of a body that is all here.
    const DONE: Self = Self(None);

    /// Says how far it has come: further than before, if it has moved.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            frames: self.0.as_ref().map_or(0, |moved| moved.frames.load(Relaxed)),
            is_done: self.0.as_ref().is_none_or(|moved| moved.is_done.load(Relaxed)),
        }
    }
}

/// A body: all here, or as it comes.
pub(crate) enum Flow<S> {
    /// A body that is all here.
    Finished(Option<Bytes>),
    /// A body as it comes.
    Stream(Box<S>),
}

/// What is sent to the application.
pub(crate) type Upload = Flow<UploadStream>;

/// What is sent to the caller.
pub(crate) type Download = Flow<DownloadStream>;

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// A body that passes through, watched on its way.
pub(crate) trait Passing {
    /// Its next piece.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Polled;

    /// Says whether nothing more will come.
    fn is_over(&self) -> bool;

    /// How much will come.
    fn size(&self) -> SizeHint;
}

impl<S: Passing> Body for Flow<S> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        match self.get_mut() {
            Self::Finished(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream.poll_piece(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Finished(bytes) => bytes.is_none(),
            Self::Stream(stream) => stream.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Finished(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream(stream) => stream.size(),
        }
    }
}

impl<S> From<Bytes> for Flow<S> {
    fn from(bytes: Bytes) -> Self {
        Self::Finished((!bytes.is_empty()).then_some(bytes))
    }
}

/// The body of a request as it comes.
pub(crate) struct UploadStream {
    /// What was read of it before, and comes first.
    first: Option<Bytes>,
    body: Incoming,
    bytes_left: u64,
    patience: Patience,
    moved: Arc<Moved>,
}

impl Upload {
    pub(crate) fn of(body: Incoming, bytes_max: u64, idle: Duration) -> (Self, Progress) {
        if body.is_end_stream() {
            return (Self::Finished(None), Progress::DONE);
        }
        let moved = Arc::<Moved>::default();
        let stream = UploadStream {
            first: None,
            body,
            bytes_left: bytes_max,
            patience: Patience::new(idle),
            moved: Arc::clone(&moved),
        };
        (Self::Stream(Box::new(stream)), Progress(Some(moved)))
    }

    pub(crate) fn finished(body: Bytes) -> (Self, Progress) {
        (Self::from(body), Progress::DONE)
    }

    /// Puts back what was read of it.
    pub(crate) fn with_first(mut self, first: Bytes) -> Self {
        if let Self::Stream(stream) = &mut self {
            stream.first = Some(first).filter(|first| !first.is_empty());
        }
        self
    }
}

impl Passing for UploadStream {
    fn is_over(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, |first| first.len() as u64);
        let (rest, mut size) = (self.body.size_hint(), SizeHint::new());
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(first)) {
            size.set_upper(upper);
        }
        size.set_lower(rest.lower().saturating_add(first));
        size
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Polled {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.patience.renew();
                self.moved.frames.fetch_add(1, Relaxed);
                let bytes = frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
                match self.bytes_left.checked_sub(bytes) {
                    Some(left) => self.bytes_left = left,
                    None => return Poll::Ready(Some(Err(StreamError::TooLarge.into()))),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.moved.is_done.store(true, Relaxed);
                Poll::Ready(None)
            }
            Poll::Pending if self.patience.is_over(context) => Poll::Ready(Some(Err(StreamError::StoodStill.into()))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for UploadStream {
    fn drop(&mut self) {
        self.moved.is_done.store(true, Relaxed);
    }
}

/// The application's answer as it comes.
pub(crate) struct DownloadStream {
    body: Answer,
    patience: Patience,
    metrics: Arc<Metrics>,
    is_over: bool,
    /// The connection is not idle while this lives, unless its caller does not read.
    in_flight: InFlight,
}

impl Download {
    pub(crate) fn of(body: Answer, idle: Duration, metrics: &Arc<Metrics>, in_flight: InFlight) -> Self {
        Self::Stream(Box::new(DownloadStream {
            is_over: body.is_end_stream(),
            body,
            patience: Patience::new(idle),
            metrics: Arc::clone(metrics),
            in_flight,
        }))
    }
}

impl Passing for DownloadStream {
    fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Polled {
        self.in_flight.asked();
        let polled = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending if self.patience.is_over(context) => Poll::Ready(Some(Err(StreamError::StoodStill.into()))),
            polled => polled.map_err(BoxError::from),
        };
        match &polled {
            Poll::Ready(Some(Ok(_))) => {
                self.patience.renew();
                self.in_flight.gave();
                // With a known length the end is known before it is asked for.
                self.is_over = self.body.is_end_stream();
            }
            Poll::Ready(Some(Err(_))) => {
                self.is_over = true;
                self.metrics.ingress_passes_total[PassOutcome::BrokenOff].inc();
            }
            Poll::Ready(None) => self.is_over = true,
            Poll::Pending => {}
        }
        polled
    }
}

impl Drop for DownloadStream {
    fn drop(&mut self) {
        if !self.is_over {
            self.metrics.ingress_passes_total[PassOutcome::CallerLeft].inc();
        }
    }
}

/// How long a body may stand still. The timer is made when it first does, and moved when it does again.
struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_renewed: bool,
}

impl Patience {
    const fn new(limit: Duration) -> Self {
        Self {
            limit,
            timer: None,
            is_renewed: false,
        }
    }

    const fn renew(&mut self) {
        self.is_renewed = true;
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        if self.is_renewed {
            self.is_renewed = false;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(context).is_ready()
    }
}
