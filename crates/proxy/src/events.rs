//! `GET /v1/events`: what was invalidated, as server-sent events.
//!
//! A caller that comes back with the last token goes on where it was, as far as the history of this sidecar reaches; further
//! back, or too slow to keep up, it is told that there is a gap. Nothing is queued for a caller beyond the feed's own bound.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream::unfold};
use http::{HeaderValue, Response, header};
use neverstale_changefeed::{Change, Replay};
use neverstale_listener::{Body, InFlight};
use neverstale_wire::{Event, Problem, ProblemKind, Token};
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast},
    time::{Instant, sleep_until},
};

use crate::{dispatch::Call, problem::Failure, shared::Shared};

/// A caller that hears nothing for a few of these should come back.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// Begins the stream of events.
pub(crate) fn subscribe(call: &Call<'_>, query: &str, in_flight: InFlight) -> Result<Response<Body>, Failure> {
    let since = since(query, call.headers.get("last-event-id"))?;
    let shared = Arc::clone(call.shared);
    let too_many = || Problem::new(ProblemKind::TooManyRequests, "too many callers follow the events");
    let place = Arc::clone(&shared.subscribers)
        .try_acquire_owned()
        .map_err(|_| too_many())?;
    let feed = shared.cache.feed();
    let (replay, to_come) = feed.history().follow(since);
    // Taken after following began: whatever is later than this comes on the stream.
    let now = feed
        .token()
        .ok_or_else(|| Failure::unavailable("the sidecar does not know the position yet"))?;
    let (first, replayed) = match (replay, since) {
        (Replay::Since(changes), Some(since)) => (Event::Heartbeat { position: since }, changes),
        (Replay::Since(changes), None) => (Event::Heartbeat { position: now }, changes),
        (Replay::Gap, _) => (Event::Gap { position: now }, Vec::new()),
    };
    let subscriber = Subscriber {
        told: first.position(),
        first: Some(first),
        replayed: replayed.into(),
        to_come,
        heartbeat_at: Instant::now() + HEARTBEAT_EVERY,
        _held: (Counted::new(&shared), place, in_flight),
        shared,
    };
    let mut response = Response::new(Body::stream(subscriber.frames()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Where the caller was: `Last-Event-ID`, which a browser sends when it comes back, before `since`.
fn since(query: &str, last_event_id: Option<&HeaderValue>) -> Result<Option<Token>, Failure> {
    let mut since = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some(text) = pair.strip_prefix("since=") else {
            return Err(Failure::malformed("unknown query parameter"));
        };
        if since.is_some() {
            return Err(Failure::malformed("query parameter `since` is given twice"));
        }
        since = Some(text.parse().map_err(|_| Failure::malformed("`since` is no token"))?);
    }
    match last_event_id {
        // An empty id is what a browser has before the first event.
        Some(id) if !id.is_empty() => {
            let token = id.to_str().ok().and_then(|id| id.parse().ok());
            token
                .map(Some)
                .ok_or_else(|| Failure::malformed("Last-Event-ID is no token"))
        }
        _ => Ok(since),
    }
}

struct Subscriber {
    shared: Arc<Shared>,
    first: Option<Event>,
    replayed: VecDeque<Change>,
    to_come: broadcast::Receiver<Change>,
    /// The stream is complete up to here: the id of the last event.
    told: Token,
    heartbeat_at: Instant,
    _held: (Counted, OwnedSemaphorePermit, InFlight),
}

impl Subscriber {
    fn frames(self) -> impl Stream<Item = Bytes> + Send + 'static {
        unfold(self, |mut subscriber| async move {
            let event = subscriber.next().await?;
            subscriber.told = event.position();
            subscriber.heartbeat_at = Instant::now() + HEARTBEAT_EVERY;
            Some((Bytes::from(event.to_frame()), subscriber))
        })
    }

    /// Waits for the next event; none when the stream is over.
    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if let Some(change) = self.replayed.pop_front() {
            return Some(event_of(change));
        }
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased; // The end comes first, and news before the sign of life.
            () = shared.drain.cancelled() => None,
            change = self.to_come.recv() => match change {
                Ok(change) => Some(event_of(change)),
                Err(broadcast::error::RecvError::Lagged(_)) => self.skip(),
                Err(broadcast::error::RecvError::Closed) => None,
            },
            // The last event's position, not the newest: an event may be applied and not yet told.
            () = sleep_until(self.heartbeat_at) => Some(Event::Heartbeat { position: self.told }),
        }
    }

    /// Begins anew for a caller that was too slow, or ends the stream when nobody can say where that would be.
    fn skip(&mut self) -> Option<Event> {
        let feed = self.shared.cache.feed();
        self.to_come = feed.history().follow(None).1;
        feed.token().map(|position| Event::Gap { position })
    }
}

fn event_of(change: Change) -> Event {
    match change {
        Change::Commit { incarnation, row } => Event::Invalidation {
            position: Token {
                incarnation,
                position: row.position,
            },
            tags: row.tags.clone(),
        },
        Change::Incarnation(position) => Event::Incarnation { position },
        Change::Gap(position) => Event::Gap { position },
    }
}

/// Counts a subscriber for as long as it lives.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.metrics.event_subscribers.inc();
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.event_subscribers.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_that_comes_back_goes_on_where_it_was() {
        let (one, two) = (format!("{}-1", "ab".repeat(16)), format!("{}-2", "ab".repeat(16)));
        let told = |query: &str, id: Option<&str>| {
            let id = id.map(|id| HeaderValue::from_str(id).unwrap());
            since(query, id.as_ref())
                .map(|token| token.map(|token| token.to_string()))
                .map_err(|failure| failure.problem.status())
        };
        assert_eq!(told("", None), Ok(None));
        assert_eq!(told(&format!("since={one}"), None), Ok(Some(one.clone())));
        assert_eq!(told(&format!("since={one}"), Some(&two)), Ok(Some(two.clone())));
        assert_eq!(told(&format!("since={one}"), Some("")), Ok(Some(one.clone())));
        for (query, id) in [
            ("since=1", None),
            ("from=1", None),
            ("", Some("1")),
            (&*format!("since={one}&since={one}"), None),
        ] {
            assert_eq!(told(query, id), Err(400), "{query}");
        }
    }

    #[test]
    fn changes_become_events_with_their_texts() {
        let token: Token = format!("{}-7", "ab".repeat(16)).parse().unwrap();
        assert_eq!(event_of(Change::Gap(token)).name(), "gap");
        assert_eq!(event_of(Change::Incarnation(token)).name(), "incarnation");
    }
}
