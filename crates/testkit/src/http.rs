//! A small HTTP/1.1 client of our own, with keep-alive, over TCP and Unix sockets.
//!
//! It exists so that what judges the product shares no code with it. It speaks what the contract needs and no more: no TLS, no redirects, no pipelining.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
};

const HEAD_BYTES_MAX: u64 = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A loopback port.
    Port(u16),
    /// A Unix socket.
    Socket(PathBuf),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A client with one connection, made at the first request and kept.
///
/// After an error the connection is given up, and the next request makes a new one; nothing is repeated by itself.
pub struct Client {
    target: Target,
    connection: Option<BufReader<Box<dyn Stream>>>,
    timeout: Duration,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("read JSON of a {} answer: {}", self.status, self.text()))
    }
}

impl Client {
    /// Makes a client; nothing is connected yet.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            connection: None,
            timeout: TIMEOUT,
        }
    }

    /// Makes a client of a loopback port.
    pub fn port(port: u16) -> Self {
        Self::new(Target::Port(port))
    }

    /// Limits each request, connecting included; ten seconds unless set.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// `GET`.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], &[]).await
    }

    /// `GET` with headers.
    pub async fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.send("GET", path, headers, &[]).await
    }

    /// `POST` of JSON.
    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Answer> {
        self.send(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            body.to_string().as_bytes(),
        )
        .await
    }

    /// Any request. A body always comes with its length; none is sent for an empty body of a `GET` or `HEAD`.
    ///
    /// # Cancel safety
    /// Dropping it gives up the connection, because a half-read answer is still on it.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request.push_str("Host: neverstale\r\n");
        }
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n")?;
        }
        if !body.is_empty() || !matches!(method, "GET" | "HEAD") {
            write!(request, "Content-Length: {}\r\n", body.len())?;
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        self.send_raw(&request, method == "HEAD").await
    }

    /// Sends bytes as they are, which need not be HTTP, and reads one answer; `bodyless` as after `HEAD`.
    pub async fn send_raw(&mut self, request: &[u8], bodyless: bool) -> Result<Answer> {
        // Taken out, so that an error or a drop in between leaves no half-used connection behind.
        let (kept, target) = (self.connection.take(), self.target.clone());
        let exchange = async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => connect(&target).await?,
            };
            connection.write_all(request).await.context("send a request")?;
            let answer = read_answer(&mut connection, bodyless).await?;
            anyhow::Ok((connection, answer))
        };
        let exchanged = tokio::time::timeout(self.timeout, exchange).await;
        let (connection, answer) = exchanged.with_context(|| format!("no answer within {:?}", self.timeout))??;
        if !answer
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
        {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    /// Opens a stream of server-sent events on a connection of its own.
    pub async fn events(&self, path: &str, headers: &[(&str, &str)]) -> Result<EventLines> {
        let mut connection = connect(&self.target).await?;
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: neverstale\r\nAccept: text/event-stream\r\n");
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n")?;
        }
        request.push_str("\r\n");
        connection.write_all(request.as_bytes()).await?;
        let head = tokio::time::timeout(self.timeout, read_head(&mut connection))
            .await
            .context("no head of the stream in time")??;
        ensure!(head.status == 200, "the stream answered {}", head.status);
        let chunked = head.header("transfer-encoding").is_some();
        Ok(EventLines {
            connection,
            chunked,
            buffer: Vec::new(),
        })
    }
}

/// The lines of a stream of server-sent events.
pub struct EventLines {
    connection: BufReader<Box<dyn Stream>>,
    chunked: bool,
    buffer: Vec<u8>,
}

impl EventLines {
    /// Waits for the next line, without its end; `None` when the server has closed the stream.
    ///
    /// # Cancel safety
    /// Not safe: a chunk may be half read.
    pub async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            let read = if self.chunked {
                match read_chunk(&mut self.connection, &mut self.buffer).await {
                    Ok(read) => read,
                    Err(_) if self.connection.buffer().is_empty() => 0,
                    Err(error) => return Err(error),
                }
            } else {
                self.connection.read_buf(&mut self.buffer).await?
            };
            if read == 0 {
                return Ok(None);
            }
        }
    }
}

async fn connect(target: &Target) -> Result<BufReader<Box<dyn Stream>>> {
    let stream: Box<dyn Stream> = match target {
        Target::Port(port) => {
            let stream = TcpStream::connect(("127.0.0.1", *port))
                .await
                .with_context(|| format!("connect to port {port}"))?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Target::Socket(path) => Box::new(
            UnixStream::connect(path)
                .await
                .with_context(|| format!("connect to {}", path.display()))?,
        ),
    };
    Ok(BufReader::new(stream))
}

async fn read_answer(connection: &mut BufReader<Box<dyn Stream>>, bodyless: bool) -> Result<Answer> {
    let mut answer = read_head(connection).await?;
    if bodyless || answer.status == 204 || answer.status == 304 {
        return Ok(answer);
    }
    if let Some(length) = answer.header("content-length") {
        let length = length
            .parse()
            .with_context(|| format!("read a length from `{length}`"))?;
        answer.body.resize(length, 0);
        connection.read_exact(&mut answer.body).await.context("read a body")?;
    } else if answer.header("transfer-encoding").is_some() {
        while read_chunk(connection, &mut answer.body).await? > 0 {}
    } else {
        connection
            .read_to_end(&mut answer.body)
            .await
            .context("read a body to its end")?;
        answer.headers.push(("connection".to_owned(), "close".to_owned()));
    }
    Ok(answer)
}

async fn read_head(connection: &mut BufReader<Box<dyn Stream>>) -> Result<Answer> {
    let mut limited = connection.take(HEAD_BYTES_MAX);
    let mut line = String::new();
    limited.read_line(&mut line).await.context("read a status line")?;
    ensure!(!line.is_empty(), "the server closed the connection without an answer");
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.with_context(|| format!("read a status line from `{}`", line.trim_end()))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        ensure!(
            limited.read_line(&mut line).await.context("read a header")? > 0,
            "the head of an answer is cut short"
        );
        let header = line.trim_end();
        if header.is_empty() {
            return Ok(Answer {
                status,
                headers,
                body: Vec::new(),
            });
        }
        let Some((name, value)) = header.split_once(':') else {
            bail!("read a header from `{header}`")
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Appends one chunk (RFC 9112 §7.1) and gives its size: 0 for the last.
async fn read_chunk(connection: &mut BufReader<Box<dyn Stream>>, into: &mut Vec<u8>) -> Result<usize> {
    let mut line = String::new();
    connection.read_line(&mut line).await.context("read a chunk's size")?;
    let size = line.split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(size, 16).with_context(|| format!("read a chunk's size from `{size}`"))?;
    let start = into.len();
    into.resize(start + size, 0);
    connection
        .read_exact(into.get_mut(start..).unwrap_or_default())
        .await
        .context("read a chunk")?;
    let mut end = [0; 2];
    connection.read_exact(&mut end).await.context("read a chunk's end")?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each connection's requests from a list, whatever they are.
    async fn server(answers: &'static [&'static str]) -> u16 {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            for answer in answers {
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn one_connection_serves_several_requests() {
        let port = server(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-One: 1\r\n\r\n{\"a\":1}",
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        ]);
        let mut client = Client::port(port.await);
        let first = client.get("/").await.unwrap();
        assert_eq!((first.status, first.header("x-one")), (200, Some("1")));
        assert_eq!(first.json().unwrap()["a"], 1);
        assert_eq!(client.get("/").await.unwrap().status, 304);
        assert_eq!(client.post("/", &Value::Null).await.unwrap().text(), "abcde");
        assert!(client.get("/").await.is_err());
    }

    #[tokio::test]
    async fn an_event_stream_is_read_line_by_line_and_ends() {
        let port =
            server(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nid: 1\nda:\r\n3\r\n 2\n\r\n0\r\n\r\n"]);
        let mut lines = Client::port(port.await).events("/v1/events", &[]).await.unwrap();
        assert_eq!(lines.next().await.unwrap().as_deref(), Some("id: 1"));
        assert_eq!(lines.next().await.unwrap().as_deref(), Some("da: 2"));
        assert_eq!(lines.next().await.unwrap(), None);
    }
}
