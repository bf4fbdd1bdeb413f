//! The way to the collector: one POST on a connection of its own, over TCP or TLS.
//!
//! A message a second at most, so no connection is kept. Knows nothing of what it sends.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::OtlpSettings;

/// A collector that takes longer is away.
const PATIENCE: Duration = Duration::from_secs(10);
/// What it answers is looked at by its status alone.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where messages go.
pub struct Collector {
    host: String,
    port: u16,
    /// Without a slash at its end.
    base: String,
    headers: HeaderMap,
    tls: Option<TlsConnector>,
}

/// Why the collector did not take a message, or can't be one.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The endpoint is no URL that leads to a collector.
    #[error("read telemetry.otlp.endpoint `{0}`: expected http://host:port or https://host")]
    Endpoint(String),
    /// A file can't be used.
    #[error("use the file {0}: {1}")]
    File(String, String),
    /// It could not be reached, or hung up.
    #[error("reach the collector")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It did not answer in time.
    #[error("wait for the collector for longer than {PATIENCE:?}")]
    Late,
    /// It refused.
    #[error("have the collector take a message: it answered {0}")]
    Refused(StatusCode),
}

impl CollectorError {
    /// Whether the same message may be taken later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Late => true,
            Self::Refused(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Endpoint(_) | Self::File(..) => false,
        }
    }
}

impl Collector {
    /// Reads where it is; none when no endpoint is set.
    ///
    /// # Errors
    ///
    /// An endpoint or a file that is of no use.
    pub fn of(settings: &OtlpSettings) -> Result<Option<Self>, CollectorError> {
        let Some(endpoint) = &settings.endpoint else {
            return Ok(None);
        };
        let wrong = || CollectorError::Endpoint(endpoint.clone());
        let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?.to_owned();
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(connector(settings.tls_ca_file.as_deref())?), 443),
            _ => return Err(wrong()),
        };
        if uri.query().is_some() {
            return Err(wrong());
        }
        Ok(Some(Self {
            host,
            port: uri.port_u16().unwrap_or(port),
            base: uri.path().trim_end_matches('/').to_owned(),
            headers: settings
                .headers_file
                .as_deref()
                .map(headers)
                .transpose()?
                .unwrap_or_default(),
            tls,
        }))
    }

    /// Sends one message to `/v1/traces` or `/v1/metrics`.
    ///
    /// # Errors
    ///
    /// It was not taken, or nobody knows.
    ///
    /// # Cancel safety
    ///
    /// Dropping it may lose the message.
    pub(crate) async fn take(&self, path: &str, message: Vec<u8>) -> Result<(), CollectorError> {
        timeout(PATIENCE, self.send(path, message))
            .await
            .map_err(|_| CollectorError::Late)?
    }

    async fn send(&self, path: &str, message: Vec<u8>) -> Result<(), CollectorError> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await.map_err(unreachable)?;
        let Some(tls) = &self.tls else {
            return self.post(stream, path, message).await;
        };
        let name = ServerName::try_from(host.to_owned()).map_err(unreachable)?;
        let stream = tls.connect(name, stream).await.map_err(unreachable)?;
        self.post(stream, path, message).await
    }

    async fn post(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        path: &str,
        message: Vec<u8>,
    ) -> Result<(), CollectorError> {
        let mut request = Request::post(format!("{}{path}", self.base))
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(message)))
            .map_err(unreachable)?;
        request.headers_mut().extend(self.headers.clone());
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
        let asking = async {
            let answer = sender.send_request(request).await.map_err(unreachable)?;
            let status = answer.status();
            // Its body is read, so that the collector is not hung up on.
            let _ = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            if status.is_success() {
                Ok(())
            } else {
                Err(CollectorError::Refused(status))
            }
        };
        tokio::pin!(asking);
        tokio::select! {
            biased; // An answer that is there counts, whatever became of the connection.
            answered = &mut asking => return answered,
            ended = connection => ended.map_err(unreachable)?,
        }
        asking.await
    }
}

fn unreachable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CollectorError {
    CollectorError::Unreachable(error.into())
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, CollectorError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        let wrong = |reason: String| CollectorError::File(path.display().to_string(), reason);
        let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("holds no certificate in PEM form".to_owned()));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Reads a file of headers; what they say is never shown.
fn headers(path: &Path) -> Result<HeaderMap, CollectorError> {
    let wrong = |reason: &str| CollectorError::File(path.display().to_string(), reason.to_owned());
    let text = fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
    let mut headers = HeaderMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| wrong("a line is not `Name: value`"))?;
        let name: HeaderName = name.trim().parse().map_err(|_| wrong("a name is none of a header"))?;
        let mut value: HeaderValue = value.trim().parse().map_err(|_| wrong("a value is none of a header"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(endpoint: &str) -> Result<Option<Collector>, CollectorError> {
        Collector::of(&OtlpSettings {
            endpoint: Some(endpoint.to_owned()),
            ..OtlpSettings::default()
        })
    }

    #[test]
    fn an_endpoint_leads_to_a_collector_or_is_refused() {
        let collector = of("http://collector:4318").unwrap().unwrap();
        assert_eq!(
            (collector.host.as_str(), collector.port, collector.base.as_str()),
            ("collector", 4318, "")
        );
        let collector = of("https://langfuse.example/api/public/otel/").unwrap().unwrap();
        assert_eq!((collector.port, collector.base.as_str()), (443, "/api/public/otel"));
        assert!(collector.tls.is_some());
        for wrong in ["collector:4318", "grpc://collector", "http://", "/v1", "http://c?x=1"] {
            assert!(matches!(of(wrong), Err(CollectorError::Endpoint(_))), "{wrong}");
        }
        assert!(Collector::of(&OtlpSettings::default()).unwrap().is_none());
    }
}
