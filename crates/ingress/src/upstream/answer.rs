//! The body of the application's answer, together with the connection on which it comes.
//!
//! Whoever asks for the next piece moves the connection on. When the last piece has come the connection is given back; an answer that
//! is dropped before its end takes the connection with it, so that nothing of it is ever read as the beginning of another.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    kept::Kept,
    line::{Answered, Line},
};

/// The body of an answer as it comes.
pub(crate) struct Answer {
    body: Incoming,
    /// None at its end.
    line: Option<Box<Line>>,
    /// Where the connection is given back; none if it is not to be used again.
    kept: Option<Arc<Kept>>,
}

impl Answered {
    /// Makes the answer, whose connection is given back at its end if there is somewhere to give it.
    pub(super) fn answer(self, kept: Option<&Arc<Kept>>) -> Response<Answer> {
        let Self { response, line } = self;
        // After an exception uvicorn closes, and its answer does not say so: whoever came next would find nobody.
        let kept = kept.filter(|_| !response.status().is_server_error()).cloned();
        response.map(|body| {
            let line = Some(line);
            let mut answer = Answer { body, line, kept };
            if answer.body.is_end_stream() {
                answer.give_back();
            }
            answer
        })
    }
}

impl Answer {
    /// Gives the connection back, or ends it.
    fn give_back(&mut self) {
        if let (Some(line), Some(kept)) = (self.line.take(), &self.kept) {
            kept.put(line);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(line) = &mut this.line else {
            return Pin::new(&mut this.body).poll_frame(context);
        };
        // What the body waits for is the connection, which wakes us by itself as long as it lives.
        let mut quiet = Context::from_waker(Waker::noop());
        let mut polled = Pin::new(&mut this.body).poll_frame(&mut quiet);
        if polled.is_pending() {
            line.drive(context);
            let waiting = if line.is_driven_here() { &mut quiet } else { context };
            polled = Pin::new(&mut this.body).poll_frame(waiting);
        }
        match &polled {
            Poll::Ready(Some(Ok(_))) if this.body.is_end_stream() => this.give_back(),
            Poll::Ready(None) => this.give_back(),
            Poll::Ready(Some(Err(_))) => this.line = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
