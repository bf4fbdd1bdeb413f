//! One kept connection to a sidecar, on which several questions are sent at once and their answers read in turn.
//!
//! Answers are looked at where they lie in the buffer; nothing of them is parsed but what a read is judged by.

use std::{ops::Range, path::Path};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

/// An answer larger than this is none of ours.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    /// What is taken already.
    taken: usize,
}

/// Where the parts of an answer are.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: Range<usize>,
    body: Range<usize>,
}

impl Connection {
    pub(crate) async fn to_port(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self::of(Box::new(stream)))
    }

    pub(crate) async fn to_socket(path: &Path) -> Result<Self> {
        Ok(Self::of(Box::new(UnixStream::connect(path).await?)))
    }

    fn of(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(64 * 1024),
            taken: 0,
        }
    }

    /// Sends questions, whole.
    pub(crate) async fn send(&mut self, questions: &[u8]) -> Result<()> {
        self.stream.write_all(questions).await.context("send")
    }

    /// Reads the next answer.
    ///
    /// # Cancel safety
    /// Not safe: the connection is to be given up.
    pub(crate) async fn answer(&mut self) -> Result<Answer> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let mut searched = 0;
        let head = loop {
            let from = searched;
            if let Some(end) = self.buffer[from..].windows(4).position(|four| four == b"\r\n\r\n") {
                break 0..from + end + 4;
            }
            searched = self.buffer.len().saturating_sub(3);
            self.receive().await?;
        };
        let text = &self.buffer[head.clone()];
        ensure!(text.starts_with(b"HTTP/1.1 "), "this is no HTTP");
        let status = digits(&text[9..]);
        let length = header(text, b"content-length").map_or(0, digits);
        let body = head.end..head.end + length;
        while self.buffer.len() < body.end {
            self.receive().await?;
        }
        self.taken = body.end;
        Ok(Answer {
            status: status as u16,
            head,
            body,
        })
    }

    /// The value of a header, whose name is given in lower case.
    pub(crate) fn header(&self, answer: &Answer, name: &[u8]) -> Option<&[u8]> {
        header(&self.buffer[answer.head.clone()], name)
    }

    pub(crate) fn body(&self, answer: &Answer) -> &[u8] {
        &self.buffer[answer.body.clone()]
    }

    async fn receive(&mut self) -> Result<()> {
        ensure!(self.buffer.len() < ANSWER_BYTES_MAX, "an answer has no end");
        let read = self.stream.read_buf(&mut self.buffer).await.context("receive")?;
        ensure!(read > 0, "the connection ended");
        Ok(())
    }
}

fn header<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    let line = lines.find(|line| {
        line.len() > name.len() && line[name.len()] == b':' && line[..name.len()].eq_ignore_ascii_case(name)
    })?;
    Some(line[name.len() + 1..].trim_ascii())
}

fn digits(text: &[u8]) -> usize {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |value, digit| value * 10 + usize::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn answers_that_come_together_or_in_pieces_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let pieces: [&[u8]; 3] = [
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: 1\r\n\r\nabcHTTP/1.1 503 No",
                b"pe\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:5\r\n\r",
                b"\nabcde",
            ];
            for piece in pieces {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let client = async {
            let mut connection = Connection::to_port(port).await.unwrap();
            let first = connection.answer().await.unwrap();
            assert_eq!((first.status, connection.body(&first)), (200, &b"abc"[..]));
            assert_eq!(connection.header(&first, b"x"), Some(&b"1"[..]));
            let second = connection.answer().await.unwrap();
            assert_eq!((second.status, connection.body(&second)), (503, &b""[..]));
            let third = connection.answer().await.unwrap();
            assert_eq!((third.status, connection.body(&third)), (200, &b"abcde"[..]));
            assert!(connection.answer().await.is_err());
        };
        tokio::join!(server, client);
    }
}
