//! The door in front of the application: the real sidecar between a raw client and an application that shows what reaches it.
//!
//! What a person would see of the real application through the door is seen elsewhere; here it counts what the door does with
//! bytes, heads, callers and time. What the guard decides has tests of its own.

pub(crate) mod application;
mod callers;
mod encrypted;
mod ends;
mod heads;
mod kept;
mod streams;
mod tricks;
mod tunnels;

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{Application, Client, Postgres, Sidecar, free_port};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::house::{House, Plan};
use application::Upstream;

/// A sidecar whose door stands in front of an upstream.
struct Door {
    house: House,
    upstream: Upstream,
    port: u16,
}

impl Door {
    async fn open() -> Result<Self> {
        Self::open_with(&[]).await
    }

    /// Opens a door with settings of the section `ingress`.
    async fn open_with(settings: &[(&str, &str)]) -> Result<Self> {
        Self::open_on(Postgres::shared().await?, settings).await
    }

    /// Opens a door with a server that the test may stop.
    async fn open_on(postgres: &Postgres, settings: &[(&str, &str)]) -> Result<Self> {
        let (upstream, port) = (Upstream::start().await?, free_port()?);
        let mut plan = Plan::of(Application::OpenWebUi012)
            .sidecars(1)
            // What the rules say of routes is tested beside (`door_rules`); here every route is this application's own.
            .with("NEVERSTALE_INGRESS__GUARD__MODE", "off")
            .with("NEVERSTALE_INGRESS__LISTEN", format!("127.0.0.1:{port}"))
            .with(
                "NEVERSTALE_INGRESS__UPSTREAM",
                format!("http://127.0.0.1:{}", upstream.port),
            );
        for (name, value) in settings {
            plan = plan.with(&format!("NEVERSTALE_INGRESS__{name}"), value);
        }
        let house = plan.open_on(postgres).await?;
        Ok(Self { house, upstream, port })
    }

    fn sidecar(&self) -> &Sidecar {
        &self.house.sidecars[0]
    }

    fn client(&self) -> Client {
        Client::port(self.port)
    }

    async fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A connection on which a stream of events has begun.
    async fn streaming(&self) -> Result<TcpStream> {
        let mut stream = self.connect().await?;
        stream.write_all(b"GET /api/stream HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        read_until(&mut stream, "data: 0").await?;
        Ok(stream)
    }

    /// The value of a metric's line, by its name with labels.
    async fn counted(&self, line: &str) -> Result<usize> {
        let metrics = self.sidecar().metrics().await?;
        let found = metrics.lines().find_map(|other| other.strip_prefix(line));
        found
            .with_context(|| format!("no metric {line}"))?
            .trim()
            .parse()
            .context("read a number")
    }

    async fn refused(&self, reason: &str) -> Result<usize> {
        self.counted(&format!("neverstale_ingress_refusals_total{{reason=\"{reason}\"}}"))
            .await
    }

    async fn passed(&self, outcome: &str) -> Result<usize> {
        self.counted(&format!("neverstale_ingress_passes_total{{outcome=\"{outcome}\"}}"))
            .await
    }
}

/// Reads until what came contains a text; gives all that came.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), text: &str) -> Result<String> {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        let count = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_buf(&mut read)).await;
        let came = String::from_utf8_lossy(&read);
        ensure!(
            count.with_context(|| format!("waited in vain for {text:?}: {came}"))?? > 0,
            "ended before {text:?}: {came}"
        );
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// Sends bytes on a connection of their own, and gives the status of what is answered; none if nothing is.
async fn status_of(door: &Door, bytes: &[u8]) -> Result<Option<u16>> {
    let mut stream = door.connect().await?;
    stream.write_all(bytes).await?;
    let mut read = Vec::new();
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        match tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_buf(&mut read)).await? {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    let text = String::from_utf8_lossy(&read);
    Ok(text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok()))
}
