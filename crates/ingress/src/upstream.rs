//! The application: one request there, its head within the limits of time, and what went wrong in words.

use std::{error::Error, sync::Arc, time::Duration};

use http::{
    Request, Response,
    uri::{Authority, Parts as UriParts, Scheme, Uri},
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioTimer,
};
use neverstale_lifecycle::Tasks;
use neverstale_listener::HyperTasks;
use tokio::time::timeout;

use crate::{
    settings::IngressSettings,
    streams::{Progress, StreamError, Upload},
};

/// Idle connections that are kept; more are closed when they fall idle.
const IDLE_CONNECTIONS_MAX: usize = 256;
/// What the head of an answer may take.
const HEAD_BYTES_MAX: usize = 256 * 1024;
const HEADERS_MAX: usize = 256;

/// Where requests are passed on to.
pub(crate) struct Upstream {
    client: Client<HttpConnector, Upload>,
    authority: Authority,
    first_byte: Duration,
}

/// Why there is no answer of the application.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    /// It can't be connected to.
    #[error("the application can't be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    /// It took too long.
    #[error("the application did not begin to answer in time")]
    Late,
    /// The caller's body was ended by us.
    #[error("the body of the request was ended")]
    Body(#[source] StreamError),
    /// The connection broke, or what came was no answer.
    #[error("the application broke off before it answered")]
    BrokenOff(#[source] hyper_util::client::legacy::Error),
}

impl Upstream {
    /// Reads where the application is.
    pub(crate) fn new(settings: &IngressSettings, tasks: &Tasks) -> Result<Self, String> {
        let authority = authority(&settings.upstream)?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_millis(settings.connect_ms)));
        connector.set_nodelay(true);
        let client = Client::builder(HyperTasks {
            tasks: tasks.clone(),
            name: "ingress.upstream",
        })
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_millis(settings.upstream_keep_alive_ms))
        .pool_max_idle_per_host(if settings.upstream_keep_alive_ms == 0 {
            0
        } else {
            IDLE_CONNECTIONS_MAX
        })
        .http1_preserve_header_case(true)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .http1_max_headers(HEADERS_MAX)
        .set_host(false)
        .build(connector);
        Ok(Self {
            client,
            authority,
            first_byte: Duration::from_secs(settings.first_byte_seconds),
        })
    }

    /// Passes a request on and gives the head of its answer; the body follows as it comes.
    ///
    /// # Cancel safety
    /// Dropping it breaks the request off, as a caller does who leaves.
    pub(crate) async fn pass(
        &self,
        mut request: Request<Upload>,
        progress: &Arc<Progress>,
    ) -> Result<Response<Incoming>, PassError> {
        let mut target = UriParts::default();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(self.authority.clone());
        target.path_and_query = std::mem::take(request.uri_mut()).into_parts().path_and_query;
        *request.uri_mut() = Uri::from_parts(target).expect("scheme, authority and path are all there");
        *request.version_mut() = http::Version::HTTP_11;
        let mut answering = self.client.request(request);
        loop {
            let before = progress.mark();
            match timeout(self.first_byte, &mut answering).await {
                Ok(answered) => return answered.map_err(reason),
                // A body that still comes has limits of its own.
                Err(_) if !before.1 || progress.mark() != before => {}
                Err(_) => return Err(PassError::Late),
            }
        }
    }
}

fn authority(url: &str) -> Result<Authority, String> {
    let wrong = || "expected http://host:port, without a path".to_owned();
    let parts = url.parse::<Uri>().map_err(|_| wrong())?.into_parts();
    let has_path = parts.path_and_query.is_some_and(|path| path != "/");
    let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'));
    match (parts.scheme, authority) {
        (Some(scheme), Some(authority)) if scheme == Scheme::HTTP && !has_path => Ok(authority),
        _ => Err(wrong()),
    }
}

fn reason(error: hyper_util::client::legacy::Error) -> PassError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(now) = cause {
        if let Some(ended) = now.downcast_ref::<StreamError>() {
            return PassError::Body(*ended);
        }
        cause = now.source();
    }
    if error.is_connect() {
        PassError::Unreachable(error)
    } else {
        PassError::BrokenOff(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        assert_eq!(authority("http://127.0.0.1:8080").unwrap().as_str(), "127.0.0.1:8080");
        assert_eq!(authority("http://app/").unwrap().as_str(), "app");
        for wrong in [
            "",
            "app:8080",
            "https://app",
            "http://app/path",
            "http://u@app",
            "/x",
            "http://",
        ] {
            assert!(authority(wrong).is_err(), "{wrong}");
        }
    }
}
