//! One kept connection that asks for an answer and waits for it, with as little work of its own as can be.
//!
//! It knows HTTP/1.1 answers with a length, and RESP bulk strings; an answer that looks like the last one (same head length,
//! same length digits) is not parsed again. Any status but 200 is an error: a bench of refusals would be a fast one.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Answers are read into one buffer of this size; none is larger here.
const BUFFER_BYTES: usize = 64 * 1024;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    filled: usize,
    last: Shape,
}

/// How an answer looks: where its head ends, where the digits of its length are, how many bytes it has in all.
#[derive(Clone, Debug, Default)]
struct Shape {
    head: usize,
    digits: Range<usize>,
    text: Box<[u8]>,
    total: usize,
}

/// Writes a request of this path, with further headers (each ended by CRLF).
pub(crate) fn request(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: neverstale\r\n{headers}\r\n").into_bytes()
}

impl Connection {
    /// Connects to a loopback port.
    pub(crate) async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .with_context(|| format!("connect to port {port}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_BYTES].into(),
            filled: 0,
            last: Shape::default(),
        })
    }

    /// Sends an HTTP request and gives the body of its answer.
    ///
    /// # Errors
    /// The answer is not 200, has no length, or the connection ends.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.stream.write_all(request).await.context("send a request")?;
        self.filled = 0;
        loop {
            self.receive().await?;
            if !self.looks_like_the_last() && !self.parse()? {
                continue;
            }
            if self.filled == self.last.total {
                break;
            }
            ensure!(self.filled < self.last.total, "more came than was asked for");
        }
        ensure!(
            &self.buffer[..12] == b"HTTP/1.1 200",
            "answered: {}",
            String::from_utf8_lossy(&self.buffer[..self.filled])
        );
        Ok(&self.buffer[self.last.head..self.filled])
    }

    /// Gives the head of the last answer.
    pub(crate) fn head(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.last.head]).into_owned()
    }

    /// Sends a Redis command and waits for its one-line or bulk answer.
    pub(crate) async fn command(&mut self, command: &[u8]) -> Result<()> {
        self.stream.write_all(command).await.context("send a command")?;
        self.filled = 0;
        loop {
            self.receive().await?;
            let answer = &self.buffer[..self.filled];
            let Some(line) = answer.iter().position(|byte| *byte == b'\n') else {
                continue;
            };
            match answer[0] {
                b'+' | b':' => return Ok(()),
                b'$' => {
                    let length: usize = std::str::from_utf8(&answer[1..line - 1])?
                        .parse()
                        .context("find the key in Redis")?;
                    if self.filled == line + 1 + length + 2 {
                        return Ok(());
                    }
                }
                _ => bail!("Redis answered: {}", String::from_utf8_lossy(answer)),
            }
        }
    }

    async fn receive(&mut self) -> Result<()> {
        let read = self
            .stream
            .read(&mut self.buffer[self.filled..])
            .await
            .context("read an answer")?;
        ensure!(
            read > 0,
            "the connection ended, or an answer is larger than {BUFFER_BYTES} bytes"
        );
        self.filled += read;
        Ok(())
    }

    fn looks_like_the_last(&self) -> bool {
        let Shape { head, digits, text, .. } = &self.last;
        *head > 0
            && self.filled >= *head
            && self.buffer[*head - 4..*head] == *b"\r\n\r\n"
            && self.buffer[digits.clone()] == **text
    }

    /// Finds head and length; false while the head is not whole.
    fn parse(&mut self) -> Result<bool> {
        let answer = &self.buffer[..self.filled];
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(false);
        };
        let head = end + 4;
        let name = b"\r\ncontent-length:";
        let at = answer[..head]
            .windows(name.len())
            .position(|line| line.eq_ignore_ascii_case(name))
            .context("find a length")?;
        let start = at
            + name.len()
            + answer[at + name.len()..]
                .iter()
                .take_while(|byte| **byte == b' ')
                .count();
        let digits = start..start + answer[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text: Box<[u8]> = answer[digits.clone()].into();
        let length: usize = std::str::from_utf8(&text)?.parse().context("read a length")?;
        self.last = Shape {
            head,
            digits,
            text,
            total: head + length,
        };
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn answers_of_different_length_and_in_pieces_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pieces: [&[&str]; 4] = [
            &["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"],
            &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "de"],
            &["HTTP/1.1 200 OK\r\nContent-Le", "ngth: 12\r\n\r\nabcdefghijkl"],
            &["HTTP/1.1 503 Unavailable\r\ncontent-length:2\r\n\r\n{}"],
        ];
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            for pieces in pieces {
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                for piece in pieces {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        };
        let client = async {
            let mut connection = Connection::open(port).await.unwrap();
            let request = request("/", "");
            assert_eq!(connection.ask(&request).await.unwrap(), b"abc");
            assert_eq!(connection.ask(&request).await.unwrap(), b"abcde");
            assert_eq!(connection.ask(&request).await.unwrap(), b"abcdefghijkl");
            assert!(connection.ask(&request).await.is_err());
        };
        tokio::join!(server, client);
    }
}
