//! The hot path: a read that L1 can answer at once.
//!
//! Before any routing the path as it stands is looked up as a key. No timer, no lock, no task, no span but where its caller's trace is exported, and nothing allocated: the
//! answer takes over the request's table of headers. Whatever is unusual about a request is left to the slow path, which says what is wrong with it.

use std::{cell::Cell, mem::take};

use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use neverstale_cache::Answer;
use neverstale_listener::{Body, Peer};

use crate::{asked::Asked, respond, shared::Shared, traced};

/// One of so many hits is offered to the auditor, if it wants one.
const AUDIT_EVERY: u32 = 1_024;

/// An answer that was at hand.
pub(crate) struct Hit {
    answer: Answer,
    is_known: bool,
}

impl Hit {
    /// Responds, with the request's own table of headers.
    pub(crate) fn respond(&self, mut request: Request<Incoming>) -> Response<Body> {
        respond::answer(&self.answer, self.is_known, take(request.headers_mut()))
    }
}

/// Looks into L1 for what a request asks.
pub(crate) fn look(shared: &Shared, peer: Peer, request: &Request<Incoming>) -> Option<Hit> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) || !request.body().is_end_stream() {
        return None;
    }
    let asked = Asked::read(request.headers()).ok()?;
    let began_ns = traced::begin_hit(asked.traceparent, shared.cache.feed().clock());
    let grant = shared.access.judge(peer, asked.authorization).ok()?;
    let path = request.uri().path_and_query()?.as_str();
    let answer = shared.cache.hit(path, asked.level)?;
    if answer.entry.is_secret && !grant.secrets {
        return None;
    }
    if is_due() {
        offer(shared, path, &answer);
    }
    let is_known = respond::is_known_to_caller(&answer.entry, &asked, request.headers());
    if let Some(began_ns) = began_ns {
        traced::end_hit(request.headers(), request.method(), began_ns);
    }
    Some(Hit { answer, is_known })
}

fn is_due() -> bool {
    thread_local! {
        static HITS: Cell<u32> = const { Cell::new(0) };
    }
    HITS.with(|hits| {
        let count = hits.get().wrapping_add(1);
        hits.set(count);
        count.is_multiple_of(AUDIT_EVERY)
    })
}

#[cold]
fn offer(shared: &Shared, path: &str, answer: &Answer) {
    if shared.auditor.wants()
        && let Ok(read) = shared.router.route(path)
    {
        shared.auditor.offer(&read, &answer.entry, answer.source);
    }
}
