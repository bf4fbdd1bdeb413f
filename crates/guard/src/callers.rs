//! Who asks: the credential that the application would take, and whose it is now.
//!
//! Asked where a request needs a decision. Nothing is remembered beyond what the cache keeps coherent.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderName, request::Parts};
use neverstale_identity::{Caller, Credential, Identity};
use neverstale_telemetry::{CallerKind, Metrics};
use tokio::time::Instant;

use crate::{credentials, guard::Guard, path::RoutePath, refused::Refused};

/// Finds out who asks.
pub struct Callers {
    /// Knows callers.
    pub identity: Arc<Identity>,
    /// The header for API keys.
    pub api_key_header: HeaderName,
    /// Paths below which credentials are somebody else's.
    pub foreign_credentials: Vec<String>,
    /// Headers that name a user, and are taken from nobody but who is trusted.
    pub identity_headers: Vec<HeaderName>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// Who asks, as far as it was asked.
pub enum Asker {
    /// Nothing is shown, or it does not matter here.
    Nobody,
    /// Something is shown that is worth nothing.
    Pretender,
    /// It can't be known, and nothing is refused for it: the guard only observes.
    Unknown,
    /// Somebody.
    Known {
        /// Who.
        caller: Caller,
        /// Something else is shown too, and was not judged.
        shows_others: bool,
    },
}

impl Callers {
    /// Finds out who asks, by the head of a request, where it matters.
    ///
    /// # Errors
    /// Two things are shown in one place, or it can't be known now.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn find(
        &self,
        guard: &Guard,
        head: &Parts,
        path: &RoutePath,
        deadline: Instant,
    ) -> Result<Asker, Refused> {
        if !guard.needs_caller(&head.method, path) {
            return Ok(Asker::Nobody);
        }
        let callers = &self.metrics.ingress_callers_total;
        let shown = credentials::shown(&head.headers, &self.api_key_header)?;
        let is_foreign = |prefix: &String| path.is_below_any(&[prefix]);
        let Some(shown) = shown.filter(|_| !self.foreign_credentials.iter().any(is_foreign)) else {
            callers[CallerKind::Nobody].inc();
            return Ok(Asker::Nobody);
        };
        match self.identity.of_bearer(&shown, deadline).await {
            Ok(caller) => {
                callers[match caller.credential {
                    Credential::Session => CallerKind::Session,
                    Credential::ApiKey => CallerKind::ApiKey,
                }]
                .inc();
                let shows_others = credentials::holds_others(&head.headers, &self.api_key_header, &shown);
                Ok(Asker::Known { caller, shows_others })
            }
            Err(error) if error.is_refusal() => {
                callers[CallerKind::Pretender].inc();
                Ok(Asker::Pretender)
            }
            Err(error) => {
                callers[CallerKind::Unknown].inc();
                tracing::debug!(%error, "who asks can't be found out");
                if guard.passes_unjudged(None, head, path) {
                    return Ok(Asker::Unknown);
                }
                Err(Refused::undecided("who asks can't be found out now"))
            }
        }
    }
}

impl Asker {
    /// The caller, if it is somebody.
    pub fn known(&self) -> Option<&Caller> {
        match self {
            Self::Known { caller, .. } => Some(caller),
            Self::Nobody | Self::Pretender | Self::Unknown => None,
        }
    }

    /// Leaves of what is shown only what was judged and found to be worth something: the application may look elsewhere than we
    /// did, and believe for longer.
    pub fn show(&self, headers: &mut HeaderMap, api_key_header: &HeaderName) {
        match self {
            Self::Nobody
            | Self::Unknown
            | Self::Known {
                shows_others: false, ..
            } => {}
            Self::Pretender => credentials::strip(headers, api_key_header, None),
            Self::Known { .. } => {
                let judged = credentials::shown(headers, api_key_header).ok().flatten();
                let judged = judged.map(Cow::into_owned);
                credentials::strip(headers, api_key_header, judged.as_deref());
            }
        }
    }
}
