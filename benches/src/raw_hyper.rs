//! The yardstick of L1 hits: hyper alone, that answers every request with the very same head and body, in a process of its own.
//!
//! It has one thread and one event loop, as the sidecar has, and builds each answer from finished parts, as anything on
//! hyper must: no routing, no lookup, no judging.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Stdio},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Response,
    header::{CONTENT_LENGTH, DATE, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use neverstale_testkit::Answer;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::{house::House, pinning::SERVER_CORE};

/// The answer to give.
#[derive(Debug, Serialize, Deserialize)]
struct Given {
    headers: Vec<(String, String)>,
    body: String,
}

/// A running yardstick. It ends when dropped.
#[derive(Debug)]
pub(crate) struct RawHyper {
    child: Child,
    port: u16,
}

impl RawHyper {
    /// Starts it, on the core of servers, with the answer to give.
    pub(crate) fn start(house: &House, answer: &Answer) -> Result<Self> {
        Self::start_on(SERVER_CORE, house, answer)
    }

    /// Starts it on a core of the caller's choice.
    pub(crate) fn start_on(core: usize, house: &House, answer: &Answer) -> Result<Self> {
        let mut command = house
            .pinning
            .command(core, std::env::current_exe().context("find this program")?);
        let mut child = command
            .arg("raw-hyper")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start raw hyper")?;
        let given = Given {
            headers: answer.headers.clone(),
            body: answer.text(),
        };
        let mut stdin = child.stdin.take().context("reach raw hyper")?;
        writeln!(stdin, "{}", serde_json::to_string(&given)?)?;
        // It ends with us, however we end: then this pipe closes.
        child.stdin = Some(stdin);
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("hear raw hyper")?).read_line(&mut line)?;
        let port = line
            .trim()
            .parse()
            .with_context(|| format!("read raw hyper's port from `{}`", line.trim()))?;
        Ok(Self { child, port })
    }

    /// The loopback port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for RawHyper {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Serves: reads the answer from standard input, prints the port, ends when standard input does.
pub(crate) async fn serve() -> Result<()> {
    let mut input = BufReader::new(std::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).context("read the answer to give")?;
    let given: Given = serde_json::from_str(&line).context("read the answer to give")?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let ended = tokio::task::spawn_blocking(move || input.read_to_end(&mut Vec::new()));
    tokio::select! {
        served = accept(listener, &given) => served,
        _ = ended => Ok(()),
    }
}

async fn accept(listener: TcpListener, given: &Given) -> Result<()> {
    let mut headers = HeaderMap::new();
    // hyper writes these two itself, as it does for the sidecar.
    for (name, value) in given
        .headers
        .iter()
        .filter(|(name, _)| **name != CONTENT_LENGTH && **name != DATE)
    {
        headers.append(HeaderName::try_from(name)?, HeaderValue::from_str(value)?);
    }
    let is_dated = given.headers.iter().any(|(name, _)| **name == DATE);
    let body = Bytes::from(given.body.clone());
    let mut http = http1::Builder::new();
    http.auto_date_header(is_dated);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (headers, body, http) = (headers.clone(), body.clone(), http.clone());
        tokio::spawn(async move {
            let service = service_fn(|_| {
                let mut response = Response::new(Full::new(body.clone()));
                *response.headers_mut() = headers.clone();
                async move { Ok::<_, Infallible>(response) }
            });
            http.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}
