//! Asks as Envoy does, by the messages that our own file describes; that they are Envoy's is seen with Envoy itself (`envoy`).

use std::{
    collections::HashMap,
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use anyhow::{Context, Result, ensure};
use hyper::{Request, Response, body::Incoming, client::conn::http2, http::uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use neverstale_ext_authz::proto::{
    AttributeContext, CheckRequest, HeaderMap, HeaderValue,
    attribute_context::{HttpRequest, Request as Attributes},
    authorization_client::AuthorizationClient,
    check_response::HttpResponse,
};
use neverstale_testkit::{Sidecar, free_port};
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tonic::{body::Body, codegen::Service};

use super::Doors;

/// A sidecar that Envoy could ask, without a door, and the world around it.
pub(super) struct Mesh {
    pub(super) doors: Doors,
    pub(super) port: u16,
}

/// What Envoy is told.
#[derive(Debug)]
pub(super) struct Told {
    /// What to answer; none if the request may pass.
    pub(super) status: Option<u16>,
    pub(super) body: String,
    /// Headers of the answer, or, if the request may pass, headers to set on it.
    pub(super) headers: Vec<(String, String)>,
    pub(super) removed: Vec<String>,
}

/// Who asks.
pub(super) struct Asker(AuthorizationClient<Channel>);

impl Mesh {
    /// Opens one with variables of the sidecar's environment, named without the prefix.
    pub(super) async fn open(settings: &[(&str, &str)]) -> Result<Self> {
        let mut doors = Doors::open(neverstale_testkit::Application::OpenWebUi012, 0, &[]).await?;
        let port = free_port()?;
        let mut options = doors
            .house
            .options
            .clone()
            .with("NEVERSTALE_EXT_AUTHZ__LISTEN", format!("127.0.0.1:{port}"));
        for (name, value) in settings {
            options = options.with(&format!("NEVERSTALE_{name}"), value);
        }
        doors.house.sidecars.push(Sidecar::start(&options).await?);
        Ok(Self { doors, port })
    }

    pub(super) fn sidecar(&self) -> &Sidecar {
        &self.doors.house.sidecars[0]
    }

    pub(super) async fn asker(&self) -> Result<Asker> {
        Ok(Asker(AuthorizationClient::new(Channel::tcp(self.port).await?)))
    }

    /// How many questions were answered so.
    pub(super) async fn counted(&self, outcome: &str) -> Result<usize> {
        let name = format!("neverstale_ext_authz_checks_total{{outcome=\"{outcome}\"}} ");
        let metrics = self.sidecar().metrics().await?;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        Ok(line.context("the metric")?.parse()?)
    }
}

impl Asker {
    pub(super) fn over(channel: Channel) -> Self {
        Self(AuthorizationClient::new(channel))
    }

    pub(super) async fn ask(&mut self, http: HttpRequest) -> Result<Told> {
        let request = Attributes { http: Some(http) };
        let attributes = AttributeContext { request: Some(request) };
        let asked = CheckRequest {
            attributes: Some(attributes),
        };
        let answer = self.0.check(asked).await?.into_inner();
        let code = answer.status.context("a status")?.code;
        let pairs = |options: Vec<neverstale_ext_authz::proto::HeaderValueOption>| {
            let pair = options.into_iter().filter_map(|option| option.header);
            pair.map(|header| (header.key, header.value)).collect()
        };
        Ok(match answer.http_response.context("what to do")? {
            HttpResponse::OkResponse(ok) => {
                ensure!(code == 0, "it may pass, and the status is {code}");
                Told {
                    status: None,
                    body: String::new(),
                    headers: pairs(ok.headers),
                    removed: ok.headers_to_remove,
                }
            }
            HttpResponse::DeniedResponse(denied) => {
                ensure!(code != 0, "it may not pass, and the status says so not");
                Told {
                    status: Some(denied.status.context("an HTTP status")?.code as u16),
                    body: denied.body,
                    headers: pairs(denied.headers),
                    removed: Vec::new(),
                }
            }
        })
    }
}

impl Told {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| self.body.clone())
    }
}

/// A request as Envoy tells of one of HTTP/1.1, with its headers joined, and its body if it has one.
pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> HttpRequest {
    let mut headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned()))
        .collect();
    if let Some(body) = body {
        headers.push(("content-length".into(), body.len().to_string()));
        headers.push(("x-envoy-auth-partial-body".into(), "false".into()));
    }
    for (name, value) in [(":method", method), (":path", path), (":authority", "chat.example")] {
        headers.push((name.into(), value.into()));
    }
    HttpRequest {
        method: method.into(),
        path: path.into(),
        host: "chat.example".into(),
        protocol: "HTTP/1.1".into(),
        headers: headers.into_iter().collect(),
        raw_body: body.unwrap_or_default().into(),
        ..HttpRequest::default()
    }
}

/// The same with headers as they came, of which several may have one name.
pub(super) fn raw_request(method: &str, path: &str, headers: &[(&str, &str)]) -> HttpRequest {
    let line = |(name, value): &(&str, &str)| HeaderValue {
        key: name.to_ascii_lowercase(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec(),
    };
    HttpRequest {
        headers: HashMap::default(),
        header_map: Some(HeaderMap {
            headers: headers.iter().map(line).collect(),
        }),
        ..request(method, path, &[], None)
    }
}

/// A connection of HTTP/2.
#[derive(Clone)]
pub(super) struct Channel(http2::SendRequest<Body>);

impl Channel {
    pub(super) async fn tcp(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        // A head and a message are two pieces, and the second must not wait for a word about the first.
        stream.set_nodelay(true)?;
        Self::over(TokioIo::new(stream)).await
    }

    pub(super) async fn unix(path: &std::path::Path) -> Result<Self> {
        Self::over(TokioIo::new(UnixStream::connect(path).await?)).await
    }

    async fn over(io: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static) -> Result<Self> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut target = std::mem::take(request.uri_mut()).into_parts();
        target.scheme = Some(uri::Scheme::HTTP);
        target.authority = Some(uri::Authority::from_static("neverstale"));
        *request.uri_mut() = uri::Uri::from_parts(target).expect("a whole target");
        Box::pin(self.0.send_request(request))
    }
}
