//! The judgement of a request, as at the door, and what is to become of it where nothing can be changed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::request::Parts;
use neverstale_guard::{
    callers::{Asker, Callers},
    guard::{Guard, Verdict},
    path::RoutePath,
    refused::Refused,
    screen,
};
use neverstale_telemetry::{CheckOutcome, DoorRefusal, Metrics};
use neverstale_wire::ProblemKind;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::{
    answer::{self, Denied},
    asked::{Asked, Sent},
    proto::{CheckRequest, CheckResponse, OkHttpResponse, authorization_server::Authorization},
};

/// Answers what Envoy asks.
pub(crate) struct Checker {
    pub(crate) callers: Arc<Callers>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) bounds: Bounds,
    pub(crate) unchanged_allowed: bool,
    pub(crate) identity_headers_trusted: bool,
}

/// The door's own limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) body_bytes_max: u64,
    pub(crate) judged_bytes_max: u64,
    pub(crate) decision: Duration,
}

#[tonic::async_trait]
impl Authorization for Checker {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let began = Instant::now();
        let answered = match self.judge(request.into_inner()).await {
            Ok(allowed) => answer::allowed(allowed, &self.metrics),
            Err(denied) => answer::denied(denied, &self.metrics),
        };
        self.metrics
            .ext_authz_check_seconds
            .observe(began.elapsed().as_secs_f64());
        Ok(Response::new(answered))
    }
}

impl Checker {
    async fn judge(&self, request: CheckRequest) -> Result<OkHttpResponse, Denied> {
        let Asked { head, sent } = Asked::read(request, &self.callers.api_key_header)?;
        screen::check(&head, None).map_err(Refused::from)?;
        let path = RoutePath::read(head.uri.path()).map_err(Refused::from)?;
        if screen::announced_bytes(&head).is_some_and(|bytes| bytes > self.bounds.body_bytes_max) {
            return Err(Refused::too_large().into());
        }
        let asker = self.callers.find(&self.guard, &head, &path, self.deadline()).await?;
        self.decide(&asker, &head, &path, sent).await?;
        let identity_headers = if self.identity_headers_trusted {
            &[][..]
        } else {
            &self.callers.identity_headers
        };
        let changes = answer::changes(&head.headers, identity_headers, |headers| {
            if !self.guard.observes() {
                asker.show(headers, &self.callers.api_key_header);
            }
        });
        let dropped = &self.metrics.ingress_identity_headers_dropped_total;
        dropped.inc_by(changes.identity_headers as u64);
        Ok(changes.response)
    }

    async fn decide(&self, asker: &Asker, head: &Parts, path: &RoutePath, sent: Sent) -> Result<(), Denied> {
        let (guard, caller) = (&self.guard, asker.known());
        if let Asker::Unknown = asker {
            return Ok(());
        }
        let mut verdict = guard.judge(caller, head, path, self.deadline()).await;
        let mut body = Bytes::new();
        if let Verdict::NeedsBody(rule) = &verdict {
            body = match self.whole(sent) {
                Err(_) if guard.passes_unjudged(caller, head, path) => return Ok(()),
                whole => whole?,
            };
            verdict = guard.judge_body(caller, head, path, rule, &body, self.deadline()).await;
        }
        if let Verdict::PassWith(changed) = &verdict
            && *changed != body
        {
            if !self.unchanged_allowed {
                return Err(Denied::unchanged("the door would change the body of this request"));
            }
            verdict = guard.judge_unchanged(caller, head, path, &body, self.deadline()).await;
        }
        match verdict {
            Verdict::Pass | Verdict::PassWith(_) => Ok(()),
            Verdict::Filter(_) if self.unchanged_allowed => Ok(()),
            Verdict::Filter(_) => match guard.sees_all(caller, self.deadline()).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Denied::unchanged("the door would filter the answer to this request")),
                Err(refusal) => Err(Refused::from(refusal).into()),
            },
            Verdict::Refuse(refusal) => Err(Refused::from(refusal).into()),
            Verdict::Answer(response) => Err(Refused::answered(response).into()),
            Verdict::NeedsBody(_) => Err(Refused::undecided("the request can't be judged").into()),
        }
    }

    /// The body that a rule looks into, all of it.
    fn whole(&self, sent: Sent) -> Result<Bytes, Denied> {
        match sent {
            Sent::Whole(body) if body.len() as u64 > self.bounds.judged_bytes_max => Err(Refused::too_large().into()),
            Sent::Whole(body) => Ok(body),
            Sent::InPart => Err(Denied {
                outcome: Some(CheckOutcome::NoBody),
                refused: Refused::problem(
                    DoorRefusal::Undecided,
                    ProblemKind::Unavailable,
                    format!(
                        "this request is judged by its body, which Envoy did not send whole: the filter ext_authz needs with_request_body \
                         with max_request_bytes: {} and without allow_partial_message",
                        self.bounds.judged_bytes_max
                    ),
                ),
            }),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.bounds.decision
    }
}
