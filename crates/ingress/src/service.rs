//! One connection's requests: each screened, its caller found out, judged, and passed on.

mod refused;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::{body::Incoming, service::Service, upgrade::OnUpgrade};
use neverstale_guard::{callers::Asker, refused::Refused};
use neverstale_listener::{Activity, InFlight, Peer};
use neverstale_telemetry::{DoorRefusal, Listener as Label, PassOutcome, StatusClass};
use neverstale_wire::ProblemKind;
use tokio::time::Instant;

use crate::{
    clients::Place,
    filtered,
    guard::{ListFilter, Verdict},
    outgoing,
    path::RoutePath,
    screen,
    shared::{Shared, address},
    streams::{Download, Progress, Upload},
    tunnel,
    upstream::{Answer, Use},
    whole::{Taken, Unheld, Whole},
};

/// Serves the requests of one connection.
#[derive(Clone)]
pub(crate) struct DoorService {
    shared: Arc<Shared>,
    peer: Peer,
    activity: Arc<Activity>,
    place: Standing,
}

/// Whether a connection has a place among those of its address.
#[derive(Clone)]
enum Standing {
    /// Nobody counts those of trusted proxies.
    Uncounted,
    Counted(Arc<Place>),
    TooMany,
}

/// A request that was judged.
struct Judged {
    asker: Asker,
    upload: Upload,
    progress: Progress,
    /// A body in the place of the caller's own.
    replaced_length: Option<usize>,
    filter: Option<ListFilter>,
    /// What a body that was read whole takes of the room until it is on its way.
    taken: Taken,
}

type Answered = Result<Response<Download>, Infallible>;

impl DoorService {
    pub(crate) fn new(shared: &Arc<Shared>, peer: Peer, activity: Arc<Activity>) -> Self {
        let counted = address(peer).filter(|address| !shared.rules.trusted_proxies.contain(*address));
        let place = match counted {
            None => Standing::Uncounted,
            Some(address) => match shared.clients.enter(address, shared.rules.connections_per_client_max) {
                Some(place) => Standing::Counted(Arc::new(place)),
                None => Standing::TooMany,
            },
        };
        Self {
            shared: Arc::clone(shared),
            peer,
            activity,
            place,
        }
    }
}

impl Service<Request<Incoming>> for DoorService {
    type Response = Response<Download>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answered> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let version = request.version();
        self.activity.began(version);
        let (door, in_flight) = (self.clone(), self.activity.in_flight());
        Box::pin(async move {
            let shared = Arc::clone(&door.shared);
            let mut response = match door.answer(request, in_flight).await {
                Ok(response) => response,
                Err(refused) => refused::response(refused, &shared.metrics),
            };
            let class = StatusClass::of(response.status().as_u16());
            shared.metrics.http_requests_total[Label::Ingress][class].inc();
            if shared.is_draining.load(Ordering::Relaxed)
                && version < Version::HTTP_2
                && response.status() != StatusCode::SWITCHING_PROTOCOLS
            {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(response)
        })
    }
}

impl DoorService {
    async fn answer(self, mut request: Request<Incoming>, in_flight: InFlight) -> Result<Response<Download>, Refused> {
        let arrived = Instant::now();
        let shared = &self.shared;
        if let Standing::TooMany = self.place {
            // The sooner it is gone, the better for the others.
            self.activity.end();
            return Err(Refused::problem(
                DoorRefusal::Connections,
                ProblemKind::TooManyRequests,
                "too many connections of this address are open",
            )
            .and_close());
        }
        let caller_upgrade = hyper::upgrade::on(&mut request);
        let (mut head, body) = request.into_parts();
        screen::check(&head, self.activity.trick())?;
        let path = RoutePath::read(head.uri.path())?;
        self.check_length(&head)?;
        let is_websocket = outgoing::asks_for_websocket(&head);
        let Judged {
            asker,
            upload,
            progress,
            replaced_length,
            filter,
            taken,
        } = self.judge(&head, &path, body, arrived).await?;

        let origin = shared.rules.origin(self.peer);
        let dropped = outgoing::request_headers(&mut head, origin, &shared.callers.identity_headers, is_websocket);
        let dropped_total = &shared.metrics.ingress_identity_headers_dropped_total;
        dropped_total.inc_by(dropped.identity_headers as u64);
        if !shared.guard.observes() {
            asker.show(&mut head.headers, &shared.callers.api_key_header);
        }
        if let Some(length) = replaced_length {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let condition = filter.as_ref().and_then(|_| filtered::prepare(&mut head.headers));

        let passed_on = Instant::now();
        let own = passed_on.duration_since(arrived).as_secs_f64();
        shared.metrics.ingress_own_seconds.observe(own);
        let of = if is_websocket { Use::Upgrade } else { Use::Once };
        let request = Request::from_parts(head, upload);
        let passing = shared.upstream.pass(request, &progress, of, passed_on);
        let response = passing
            .await
            .inspect_err(|error| refused::count(error, &shared.metrics))?;
        drop(taken);
        shared.metrics.ingress_passes_total[PassOutcome::Answered].inc();
        let first_byte = passed_on.elapsed().as_secs_f64();
        shared.metrics.ingress_first_byte_seconds.observe(first_byte);

        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(response, caller_upgrade, is_websocket, in_flight);
        }
        let Some(filter) = filter else {
            return Ok(self.stream(response, in_flight));
        };
        let filtering = filtered::filter(shared, asker.known(), &filter, response, condition);
        let mut response = Box::pin(filtering).await?;
        outgoing::response_headers(response.headers_mut(), false);
        Ok(response.map(Download::from))
    }

    /// A body that says by itself that it is too large is refused before it is sent.
    fn check_length(&self, head: &Parts) -> Result<(), Refused> {
        if screen::announced_bytes(head).is_some_and(|bytes| bytes > self.shared.rules.body_bytes_max) {
            return Err(Refused::too_large());
        }
        Ok(())
    }

    /// Finds out who asks, and what is to become of the request.
    async fn judge(&self, head: &Parts, path: &RoutePath, body: Incoming, arrived: Instant) -> Result<Judged, Refused> {
        let deadline = arrived + self.shared.rules.decision;
        let (guard, rules) = (&self.shared.guard, &self.shared.rules);
        let asker = self.shared.callers.find(guard, head, path, deadline).await?;
        let caller = asker.known();
        let mut verdict = match asker {
            Asker::Unknown => Verdict::Pass,
            _ => guard.judge(caller, head, path, deadline).await,
        };
        let (mut upload, mut progress) = Upload::of(body, rules.body_bytes_max, rules.idle);
        let mut taken = Taken::default();
        if let Verdict::NeedsBody(rule) = &verdict {
            match Box::pin(self.shared.room.hold(upload)).await {
                Ok(Whole { bytes, taken: room }) => {
                    // Its time begins when there is something to judge.
                    let deadline = Instant::now() + rules.decision;
                    let judging = guard.judge_body(caller, head, path, rule, &bytes, deadline);
                    verdict = judging.await;
                    (upload, progress) = Upload::finished(bytes);
                    taken = room;
                }
                Err(Unheld { why, begun, rest }) => {
                    if why.is_broken() || !guard.passes_unjudged(caller, head, path) {
                        return Err(why.into());
                    }
                    verdict = Verdict::Pass;
                    upload = rest.with_first(begun.bytes);
                    taken = begun.taken;
                }
            }
        }
        let (mut replaced_length, mut filter) = (None, None);
        match verdict {
            Verdict::Pass => {}
            Verdict::PassWith(body) => {
                replaced_length = Some(body.len());
                (upload, progress) = Upload::finished(body);
            }
            Verdict::Filter(rule) => filter = Some(rule),
            Verdict::Refuse(refusal) => return Err(refusal.into()),
            Verdict::Answer(response) => return Err(Refused::answered(response)),
            Verdict::NeedsBody(_) => return Err(Refused::undecided("the request can't be judged")),
        }
        Ok(Judged {
            asker,
            upload,
            progress,
            replaced_length,
            filter,
            taken,
        })
    }

    /// Sends the application's answer on as it comes.
    fn stream(&self, response: Response<Answer>, in_flight: InFlight) -> Response<Download> {
        let (mut head, body) = response.into_parts();
        outgoing::response_headers(&mut head.headers, false);
        head.version = Version::HTTP_11;
        let (idle, metrics) = (self.shared.rules.idle, &self.shared.metrics);
        Response::from_parts(head, Download::of(body, idle, metrics, in_flight))
    }

    /// Answers an upgrade, and connects the two sides behind the answer.
    fn switch(
        &self,
        mut response: Response<Answer>,
        caller: OnUpgrade,
        is_websocket: bool,
        in_flight: InFlight,
    ) -> Result<Response<Download>, Refused> {
        if !is_websocket {
            return Err(Refused::problem(
                DoorRefusal::Upstream,
                ProblemKind::BadGateway,
                "the application switched protocols unasked",
            ));
        }
        let application = hyper::upgrade::on(&mut response);
        let place = match &self.place {
            Standing::Counted(place) => Some(Arc::clone(place)),
            Standing::Uncounted | Standing::TooMany => None,
        };
        let held = tunnel::Held {
            in_flight,
            place,
            metrics: Arc::clone(&self.shared.metrics),
            drain: self.shared.drain.clone(),
        };
        let tunnel = tunnel::run(caller, application, held);
        self.shared.tasks.spawn_brief("ingress.tunnel", tunnel);
        Ok(response.map(|_| Download::Finished(None)))
    }
}
