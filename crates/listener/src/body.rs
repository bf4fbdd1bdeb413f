//! The body of every answer: finished bytes, or the stream of events.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::BoxStream};
use http::{HeaderValue, Response, StatusCode, header::CONTENT_LENGTH};
use http_body::{Frame, SizeHint};

/// A body as hyper writes it; finished bytes are shared with the cache, never copied before the socket.
pub enum Body {
    /// All of it at once; `None` when it has been taken or there is none.
    Finished(Option<Bytes>),
    /// Pieces without end.
    Stream(BoxStream<'static, Bytes>),
}

impl Body {
    /// No body.
    pub const fn empty() -> Self {
        Self::Finished(None)
    }

    /// A body without end.
    pub fn stream(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self::Stream(pieces.boxed())
    }
}

/// Makes of an answer to GET the answer to HEAD: the same headers, the length among them, and no body.
pub fn without_body(response: &mut Response<Body>) {
    let length = http_body::Body::size_hint(response.body()).exact();
    if let Some(length) = length.filter(|_| response.status() != StatusCode::NOT_MODIFIED) {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Finished((!bytes.is_empty()).then_some(bytes))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Finished(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(pieces) => pieces
                .poll_next_unpin(context)
                .map(|piece| piece.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Finished(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Finished(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
