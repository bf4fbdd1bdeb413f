//! The application: one request there, its head within the limits of time, and what went wrong in words.
//!
//! Connections are kept and used again (`kept`), and are moved on by whoever uses them (`line`): a request and its answer pass
//! through one task, without a hop in between. Nothing is sent twice but what was never sent at all: a request that a kept
//! connection did not take any more goes to the next one, and one of which a byte may have left is broken off.

mod answer;
mod kept;
mod line;

use std::{error::Error, io, sync::Arc, time::Duration};

use http::{
    Request, Response, Version,
    uri::{Authority, Scheme, Uri},
};
use neverstale_lifecycle::Tasks;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    IngressError,
    settings::IngressSettings,
    streams::{Progress, StreamError, Upload},
};
pub(crate) use answer::Answer;
use kept::Kept;
use line::{Limits, Line, Unanswered};

/// Where a URL says nothing else.
const PORT: u16 = 80;

/// Where requests are passed on to.
pub(crate) struct Upstream {
    /// Host and port.
    address: String,
    kept: Arc<Kept>,
    tasks: Tasks,
    connect: Duration,
    limits: Limits,
}

/// How a request uses its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// For the request and its answer.
    Once,
    /// For the request, and perhaps for another protocol from there on.
    Upgrade,
}

/// Why there is no answer of the application.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    /// It can't be connected to.
    #[error("the application can't be reached")]
    Unreachable(#[source] io::Error),
    /// It took too long.
    #[error("the application did not begin to answer in time")]
    Late,
    /// The caller's body was ended by us.
    #[error("the body of the request was ended")]
    Body(#[source] StreamError),
    /// The connection broke, or what came was no answer.
    #[error("the application broke off before it answered")]
    BrokenOff(#[source] hyper::Error),
}

impl Upstream {
    /// Reads where the application is.
    pub(crate) fn new(settings: &IngressSettings, tasks: &Tasks) -> Result<Self, String> {
        let authority = authority(&settings.upstream)?;
        let limits = Limits {
            first_byte: Duration::from_secs(settings.first_byte_seconds),
            idle: Duration::from_secs(settings.idle_seconds),
        };
        let kept = Kept::start(Duration::from_millis(settings.upstream_keep_alive_ms), tasks);
        Ok(Self {
            address: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(PORT)),
            kept,
            tasks: tasks.clone(),
            connect: Duration::from_millis(settings.connect_ms),
            limits,
        })
    }

    /// Passes a request on and gives the head of its answer; the body follows as it comes.
    ///
    /// # Cancel safety
    /// Dropping it breaks the request off, as a caller does who leaves.
    pub(crate) async fn pass(
        &self,
        mut request: Request<Upload>,
        progress: &Progress,
        of: Use,
        now: Instant,
    ) -> Result<Response<Answer>, PassError> {
        *request.version_mut() = Version::HTTP_11;
        if request.uri().authority().is_some() {
            // The target of HTTP/1.1 is the path alone.
            let path = std::mem::take(request.uri_mut()).into_parts().path_and_query;
            *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
        }
        if of == Use::Upgrade {
            // A connection of its own, in a task of its own: it outlives request and answer.
            let line = Line::apart(self.dial().await?, &self.tasks).await?;
            let asked = line.ask(request, progress, self.limits, now).await;
            return asked
                .map(|answered| answered.answer(None))
                .map_err(Unanswered::into_error);
        }
        while let Some(line) = self.kept.take(now) {
            match line.ask(request, progress, self.limits, now).await {
                Ok(answered) => return Ok(answered.answer(Some(&self.kept))),
                Err(Unanswered::NotSent(back, _)) => request = *back,
                Err(Unanswered::Failed(error)) => return Err(error),
            }
        }
        let line = Line::new(self.dial().await?).await?;
        let asked = line.ask(request, progress, self.limits, Instant::now()).await;
        asked
            .map(|answered| answered.answer(Some(&self.kept)))
            .map_err(Unanswered::into_error)
    }

    async fn dial(&self) -> Result<TcpStream, PassError> {
        let dialled = timeout(self.connect, TcpStream::connect(&*self.address)).await;
        let stream = dialled.map_err(io::Error::from).flatten();
        // Heads and pieces of bodies are written whole, so there is nothing to wait for.
        let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        stream.map_err(PassError::Unreachable)
    }
}

impl From<hyper::Error> for PassError {
    fn from(error: hyper::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(now) = cause {
            if let Some(ended) = now.downcast_ref::<StreamError>() {
                return Self::Body(*ended);
            }
            cause = now.source();
        }
        Self::BrokenOff(error)
    }
}

/// Checks where the application is said to be.
pub(crate) fn check(settings: &IngressSettings) -> Result<(), IngressError> {
    authority(&settings.upstream).map(drop).map_err(wrong)
}

/// The setting is not what it should be.
pub(crate) fn wrong(reason: String) -> IngressError {
    IngressError::Setting {
        setting: "ingress.upstream",
        reason,
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
