//! Reads from a running sidecar, over TCP or its Unix socket, one connection a request.

use std::{path::Path, time::Duration};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, header::AUTHORIZATION};
use hyper_util::rt::TokioIo;
use neverstale_wire::Token;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::exit::{Exit, Failure};

/// Limits one request, connecting included.
const LIMIT: Duration = Duration::from_secs(10);

/// What the sidecar answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) position: Option<Token>,
    pub(crate) is_hit: bool,
    pub(crate) body: Bytes,
}

/// Knows where the sidecar is and which token it asks for.
pub(crate) struct Caller {
    address: String,
    token: Option<String>,
}

impl Caller {
    pub(crate) fn new(address: &str, token_file: Option<&Path>) -> Result<Self, Failure> {
        let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
        let token = token_file.map(read).transpose().map_err(Failure::usage)?;
        Ok(Self {
            address: address.to_owned(),
            token: token.map(|token| token.trim().to_owned()),
        })
    }

    /// Knows where the application is, and a session to show there.
    pub(crate) fn of_application(address: &str, token: Option<String>) -> Self {
        Self {
            address: address.to_owned(),
            token,
        }
    }

    /// Asks for one path within a limit.
    pub(crate) async fn get_within(&self, path: &str, limit: Duration) -> anyhow::Result<Answer> {
        timeout(limit, self.ask(path))
            .await
            .unwrap_or_else(|_| Err(anyhow!("no answer within {limit:?}")))
    }

    /// Asks for one path; the api listener answers fully consistent.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.get_within(path, LIMIT)
            .await
            .with_context(|| format!("read {path} from the sidecar at {}", self.address))
            .map_err(|error| Failure {
                exit: Exit::Unavailable,
                error,
            })
    }

    async fn ask(&self, path: &str) -> anyhow::Result<Answer> {
        if self.address.contains('/') {
            exchange(UnixStream::connect(&self.address).await?, self.request(path)?).await
        } else {
            exchange(TcpStream::connect(&self.address).await?, self.request(path)?).await
        }
    }

    fn request(&self, path: &str) -> anyhow::Result<Request<Empty<Bytes>>> {
        let mut request = Request::get(path).header("host", "neverstale");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        Ok(request.body(Empty::new())?)
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Empty<Bytes>>,
) -> anyhow::Result<Answer> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let position = header("neverstale-position").and_then(|token| token.parse().ok());
        let is_hit = header("cache-status").is_some_and(|status| status.contains("; hit"));
        let body = answer.into_body().collect().await?.to_bytes();
        // Without a sender the connection ends, and with it the other half of this pair.
        drop(sender);
        anyhow::Ok(Answer {
            status,
            position,
            is_hit,
            body,
        })
    };
    let (answer, _ended) = tokio::join!(answer, connection);
    answer
}
