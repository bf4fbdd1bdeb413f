//! The hot path: a read that L1 can answer at once.
//!
//! Before any routing the path as it stands is looked up as a key. No timer, no lock, no span, no task; what it allocates is the
//! table of headers. Whatever is unusual about a request is left to the slow path, which says what is wrong with it.

use std::cell::Cell;

use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use neverstale_cache::Answer;

use crate::{asked::Asked, body::Body, listener::Peer, respond, shared::Shared};

/// One of so many hits is offered to the auditor, if it wants one.
const AUDIT_EVERY: u32 = 1_024;

/// Answers from L1, or not at all.
pub(crate) fn answer(shared: &Shared, peer: Peer, request: &Request<Incoming>) -> Option<Response<Body>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) || !request.body().is_end_stream() {
        return None;
    }
    let asked = Asked::read(request.headers()).ok()?;
    let grant = shared.access.judge(peer, asked.authorization).ok()?;
    let path = request.uri().path_and_query()?.as_str();
    let answer = shared.cache.hit(path, asked.level)?;
    if answer.entry.is_secret && !grant.secrets {
        return None;
    }
    if is_due() {
        offer(shared, path, &answer);
    }
    Some(respond::answer(&answer, &asked, request.headers()))
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
