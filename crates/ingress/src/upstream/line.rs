//! One connection to the application, moved on by whoever uses it.
//!
//! hyper wants a connection to be polled; here its user polls it, so that no task lies between a caller and the application: what
//! arrives there is written on here at the same time. A connection that nobody uses is not polled, and is looked at before it is
//! used again.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use neverstale_lifecycle::Tasks;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::PassError;
use crate::streams::{Progress, Upload};

/// What the head of an answer may take.
const HEAD_BYTES_MAX: usize = 256 * 1024;
const HEADERS_MAX: usize = 256;

type HttpConnection = Connection<TokioIo<TcpStream>, Upload>;

/// How long is waited for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Its head, after the request's end.
    pub(super) first_byte: Duration,
    /// The next piece of a body.
    pub(super) idle: Duration,
}

/// One connection to the application.
pub(super) struct Line {
    sender: SendRequest<Upload>,
    /// None once it has ended, and where a task of its own moves it on.
    connection: Option<HttpConnection>,
    /// Moved from request to request, which costs less than a new one for each.
    timer: Option<Pin<Box<Sleep>>>,
}

/// The head of an answer, and the connection on which its body comes.
pub(super) struct Answered {
    pub(super) response: Response<Incoming>,
    pub(super) line: Box<Line>,
}

/// A request that has no answer.
pub(super) enum Unanswered {
    /// No byte of it has left: it may be sent elsewhere.
    NotSent(Box<Request<Upload>>, hyper::Error),
    /// What became of it is not known.
    Failed(PassError),
}

impl Unanswered {
    /// Gives up.
    pub(super) fn into_error(self) -> PassError {
        match self {
            Self::NotSent(_, error) => error.into(),
            Self::Failed(error) => error,
        }
    }
}

impl Line {
    /// Begins a connection.
    pub(super) async fn new(stream: TcpStream) -> Result<Box<Self>, PassError> {
        let (sender, connection) = builder().handshake(TokioIo::new(stream)).await?;
        Ok(Box::new(Self {
            sender,
            connection: Some(connection),
            timer: None,
        }))
    }

    /// Begins a connection that a task of its own moves on, so that it can become something else than HTTP.
    pub(super) async fn apart(stream: TcpStream, tasks: &Tasks) -> Result<Box<Self>, PassError> {
        let (sender, connection) = builder().handshake(TokioIo::new(stream)).await?;
        tasks.spawn_brief("ingress.upstream", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the application ended with an error");
            }
        });
        Ok(Box::new(Self {
            sender,
            connection: None,
            timer: None,
        }))
    }

    /// Moves the connection on, which may end it.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) {
        drive(&mut self.connection, context);
    }

    /// Says whether the last request and its answer were sent and read to their ends, and nothing else has come: hyper wants the
    /// next request then, and only then.
    pub(super) fn is_free(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Says whether somebody moves the connection on, so that nothing else needs to wake him.
    pub(super) fn is_driven_here(&self) -> bool {
        self.connection.is_some()
    }

    /// Sends a request and waits for the head of its answer: so long after the request's end, or after the last piece that the
    /// application took of a body that it does not read on.
    ///
    /// # Cancel safety
    /// Dropping it ends the connection.
    pub(super) async fn ask(
        mut self: Box<Self>,
        request: Request<Upload>,
        progress: &Progress,
        limits: Limits,
        now: Instant,
    ) -> Result<Answered, Unanswered> {
        let Limits { first_byte, idle } = limits;
        let Self {
            sender,
            connection,
            timer,
        } = &mut *self;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(now + first_byte)));
        timer.as_mut().reset(now + first_byte);
        let (mut before, mut moved) = (progress.mark(), now);
        let answered = {
            let mut answering = pin!(sender.try_send_request(request));
            poll_fn(|context| {
                // What the answer waits for is the connection, which wakes us by itself.
                let mut quiet = Context::from_waker(Waker::noop());
                drive(connection, context);
                let waiting = if connection.is_some() {
                    &mut quiet
                } else {
                    &mut *context
                };
                if let Poll::Ready(answered) = answering.as_mut().poll(waiting) {
                    return Poll::Ready(Some(answered));
                }
                while timer.as_mut().poll(context).is_ready() {
                    let (mark, now) = (progress.mark(), Instant::now());
                    if mark != before {
                        moved = now;
                    } else if mark.is_done || now.saturating_duration_since(moved) > idle {
                        // A body that still comes has limits of its own; one that is not read is not asked for its.
                        return Poll::Ready(None);
                    }
                    before = mark;
                    timer.as_mut().reset(now + first_byte);
                }
                Poll::Pending
            })
            .await
        };
        match answered {
            Some(Ok(response)) => Ok(Answered { response, line: self }),
            Some(Err(mut error)) => Err(match error.take_message() {
                Some(request) => Unanswered::NotSent(Box::new(request), error.into_error()),
                None => Unanswered::Failed(error.into_error().into()),
            }),
            None => Err(Unanswered::Failed(PassError::Late)),
        }
    }
}

/// One that has ended is dropped, and whoever still waits for something of it hears so.
fn drive(connection: &mut Option<HttpConnection>, context: &mut Context<'_>) {
    if let Some(moved) = connection
        && let Poll::Ready(ended) = Pin::new(moved).poll(context)
    {
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the application ended with an error");
        }
        *connection = None;
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .preserve_header_case(true)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
}
