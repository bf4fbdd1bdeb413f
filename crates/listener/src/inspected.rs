//! A connection whose incoming bytes are watched for tricks of framing before hyper sees them, and whose end waits for a body that
//! nobody reads any more.
//!
//! An answer may come before its request has ended: a refusal, or an application that has heard enough. A socket that is closed
//! over bytes that were not read is reset, and the answer is lost with it to a caller who still sends. So what is left of the
//! body is read into nothing, for a while.

use std::{
    io::{IoSlice, Result},
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::{Activity, Framing};

/// So long what is left of a body is read.
const LINGER_MAX: Duration = Duration::from_secs(30);
/// So long nothing may come of it.
const LINGER_IDLE: Duration = Duration::from_secs(5);
const PIECE_BYTES: usize = 8 * 1024;

/// Passes everything through, and notes in the connection's activity what it saw.
pub(crate) struct Inspected<I> {
    io: I,
    framing: Framing,
    activity: Arc<Activity>,
    lingering: Option<Lingering>,
}

/// The wait for the end of a body after the last answer was sent.
struct Lingering {
    until: Instant,
    quiet: Pin<Box<Sleep>>,
}

impl<I> Inspected<I> {
    pub(crate) fn new(io: I, activity: &Arc<Activity>) -> Self {
        Self {
            io,
            framing: Framing::default(),
            activity: Arc::clone(activity),
            lingering: None,
        }
    }
}

impl<I: AsyncRead + Unpin> Inspected<I> {
    /// Reads what is left of a body into nothing, until its end, or that of our patience; one that has been told to end has none.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
        while self.framing.is_in_body() && !self.activity.is_ending() {
            let now = Instant::now();
            let lingering = self.lingering.get_or_insert_with(|| Lingering {
                until: now + LINGER_MAX,
                quiet: Box::pin(sleep_until(now + LINGER_IDLE)),
            });
            let mut into = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut self.io).poll_read(context, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() && now < lingering.until => {
                    self.framing.feed(into.filled());
                    lingering.quiet.as_mut().reset((now + LINGER_IDLE).min(lingering.until));
                }
                Poll::Ready(_) => break,
                Poll::Pending => return lingering.quiet.as_mut().poll(context),
            }
        }
        Poll::Ready(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Inspected<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, into))?;
        if !self.framing.is_lost()
            && let Some(trick) = self.framing.feed(&into.filled()[before..])
        {
            self.activity.note(trick);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Inspected<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(context))?;
        }
        self.poll_rest(context).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
