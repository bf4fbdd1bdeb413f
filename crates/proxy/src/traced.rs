//! The spans of traced requests: one for each request that names its trace, and for a hit one that is made when it is over.
//!
//! A request without `traceparent` has none. A hit's span is made only if somebody takes spans elsewhere and the caller samples the
//! trace, so that the hot path costs nobody else anything.

use http::{HeaderMap, HeaderValue, Method};
use neverstale_lifecycle::Clock;
use neverstale_telemetry::{TRACE, TraceParent};
use tracing::{Level, Span, field::Empty, info_span, span_enabled, trace_span};

const HEADER: &str = "traceparent";

/// The span of a request that is not a hit.
pub(crate) fn request(headers: &HeaderMap, method: &Method) -> Span {
    let Some(TraceParent { trace_id, parent_id }) = headers.get(HEADER).and_then(parent) else {
        return Span::none();
    };
    info_span!(
        target: TRACE, "proxy.request", trace_id, parent_id, span.kind = "server", http.request.method = method.as_str(),
        cache.outcome = Empty, http.response.status_code = Empty
    )
}

/// When a hit began, if its span is wanted.
pub(crate) fn begin_hit(traceparent: Option<&HeaderValue>, clock: &Clock) -> Option<u64> {
    let traceparent = traceparent?;
    // Where nobody takes spans, the header is not even read.
    let is_wanted = span_enabled!(target: TRACE, Level::TRACE) && parent(traceparent)?.parent_id.is_some();
    is_wanted.then(|| clock.wall_ns())
}

/// Tells of a hit that is over.
#[cold]
pub(crate) fn end_hit(headers: &HeaderMap, method: &Method, began_ns: u64) {
    let Some(TraceParent { trace_id, parent_id }) = headers.get(HEADER).and_then(parent) else {
        return;
    };
    drop(trace_span!(
        target: TRACE, "proxy.hit", trace_id, parent_id, span.kind = "server", http.request.method = method.as_str(), began_ns
    ));
}

fn parent(value: &HeaderValue) -> Option<TraceParent<'_>> {
    TraceParent::parse(value.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tracing::{Subscriber, span::Attributes, subscriber::with_default};
    use tracing_subscriber::{Layer, layer::Context, prelude::*};

    use super::*;

    /// Counts spans, and wants all of them or none of those of hits, as it is with and without a collector.
    struct Counter(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Counter {
        fn on_new_span(&self, _: &Attributes<'_>, _: &tracing::span::Id, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn spans_of_a_hit(traceparent: &str, level: tracing::level_filters::LevelFilter) -> usize {
        let count = Arc::new(AtomicUsize::new(0));
        let subscriber = tracing_subscriber::registry().with(Counter(Arc::clone(&count)).with_filter(level));
        with_default(subscriber, || {
            let mut headers = HeaderMap::new();
            if !traceparent.is_empty() {
                headers.insert(HEADER, traceparent.parse().unwrap());
            }
            if let Some(began_ns) = begin_hit(headers.get(HEADER), &Clock::system()) {
                end_hit(&headers, &Method::GET, began_ns);
            }
        });
        count.load(Ordering::Relaxed)
    }

    #[test]
    fn a_hit_has_a_span_only_if_its_caller_samples_and_somebody_takes_spans() {
        use tracing::level_filters::LevelFilter;
        let sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(spans_of_a_hit(sampled, LevelFilter::TRACE), 1);
        assert_eq!(spans_of_a_hit(sampled, LevelFilter::INFO), 0);
        assert_eq!(spans_of_a_hit("", LevelFilter::TRACE), 0);
        let not_sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        assert_eq!(spans_of_a_hit(not_sampled, LevelFilter::TRACE), 0);
    }
}
