//! The layer that turns spans of traced requests into OTLP's, and puts them where the exporter takes them.
//!
//! Sees only spans of the target [`TRACE`]. A span that names `trace_id` and `parent_id` continues its caller's trace; one below such a
//! span continues that; any other is nobody's and costs a look. Never waits: what finds no room is dropped and counted.

use std::{fmt, sync::Arc};

use neverstale_lifecycle::Clock;
use neverstale_telemetry::{Metrics, SpanLayer, SpanOutcome, TRACE};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, Status, span::SpanKind, status::StatusCode},
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, Registry, filter::filter_fn, layer::Context, registry::LookupSpan};

/// The W3C flag that says that a trace is sampled; spans of others never come here.
const SAMPLED: u32 = 1;

struct Spans {
    sender: mpsc::Sender<Span>,
    clock: Clock,
    random: SystemRandom,
    metrics: Arc<Metrics>,
}

/// Makes the layer; finished spans go to `sender`.
pub(crate) fn layer(sender: mpsc::Sender<Span>, clock: Clock, metrics: Arc<Metrics>) -> SpanLayer {
    let spans = Spans {
        sender,
        clock,
        random: SystemRandom::new(),
        metrics,
    };
    Layer::<Registry>::boxed(spans.with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TRACE)))
}

/// A span that is still open.
struct Open(Span);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(place) = context.span(id) else { return };
        let mut seen = Seen::default();
        attributes.record(&mut seen);
        let (trace_id, parent_id) = match (seen.trace_id, seen.parent_id) {
            (Some(trace_id), Some(parent_id)) => (trace_id, parent_id),
            _ => match place
                .parent()
                .and_then(|parent| parent.extensions().get::<Open>().map(identity))
            {
                Some(identity) => identity,
                None => return,
            },
        };
        let mut span_id = vec![0; 8];
        if self.random.fill(&mut span_id).is_err() {
            return;
        }
        let span = Span {
            trace_id,
            span_id,
            parent_span_id: parent_id,
            flags: SAMPLED,
            name: place.name().to_owned(),
            kind: seen.kind.into(),
            start_time_unix_nano: seen.began_ns.unwrap_or_else(|| self.clock.wall_ns()),
            attributes: seen.attributes,
            status: seen.is_error.then(error),
            ..Span::default()
        };
        place.extensions_mut().insert(Open(span));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(place) = context.span(id) else { return };
        let mut extensions = place.extensions_mut();
        let Some(Open(span)) = extensions.get_mut() else { return };
        let mut seen = Seen::default();
        values.record(&mut seen);
        span.attributes.append(&mut seen.attributes);
        if seen.is_error {
            span.status = Some(error());
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(place) = context.span(&id) else { return };
        let Some(Open(mut span)) = place.extensions_mut().remove() else {
            return;
        };
        span.end_time_unix_nano = self.clock.wall_ns().max(span.start_time_unix_nano);
        if self.sender.try_send(span).is_err() {
            self.metrics.otlp_spans_total[SpanOutcome::Dropped].inc();
        }
    }
}

fn identity(Open(span): &Open) -> (Vec<u8>, Vec<u8>) {
    (span.trace_id.clone(), span.span_id.clone())
}

fn error() -> Status {
    Status {
        code: StatusCode::Error.into(),
        message: String::new(),
    }
}

/// What the fields of a span say.
#[derive(Default)]
struct Seen {
    trace_id: Option<Vec<u8>>,
    parent_id: Option<Vec<u8>>,
    began_ns: Option<u64>,
    kind: SpanKind,
    is_error: bool,
    attributes: Vec<KeyValue>,
}

impl Seen {
    fn add(&mut self, field: &Field, value: Value) {
        self.attributes.push(KeyValue {
            key: field.name().to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "trace_id" => self.trace_id = unhex(value, 16),
            "parent_id" => self.parent_id = unhex(value, 8),
            "span.kind" => {
                self.kind = match value {
                    "server" => SpanKind::Server,
                    "client" => SpanKind::Client,
                    _ => SpanKind::Internal,
                }
            }
            _ => self.add(field, Value::StringValue(value.to_owned())),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "began_ns" {
            self.began_ns = Some(value);
            return;
        }
        self.is_error |= field.name() == "http.response.status_code" && value >= 500;
        self.add(field, Value::IntValue(value as i64));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::IntValue(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "error" {
            self.is_error |= value;
        } else {
            self.add(field, Value::BoolValue(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::StringValue(format!("{value:?}")));
    }
}

fn unhex(text: &str, bytes: usize) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() != 2 * bytes {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use tracing::{info_span, subscriber::with_default, trace_span};
    use tracing_subscriber::prelude::*;

    use super::*;

    fn collected(act: impl FnOnce()) -> (Vec<Span>, Arc<Metrics>) {
        let (sender, mut receiver) = mpsc::channel(2);
        let metrics = Arc::new(Metrics::new("test"));
        let clock = Clock::manual();
        let subscriber = tracing_subscriber::registry().with(layer(sender, clock, Arc::clone(&metrics)));
        with_default(subscriber, act);
        (std::iter::from_fn(|| receiver.try_recv().ok()).collect(), metrics)
    }

    fn request() -> tracing::Span {
        info_span!(target: TRACE, "request", trace_id = "0af7651916cd43dd8448eb211c80319c", parent_id = "b7ad6b7169203331",
            "span.kind" = "server", "http.response.status_code" = tracing::field::Empty)
    }

    #[test]
    fn a_span_continues_its_callers_trace_and_the_one_below_continues_that() {
        let (spans, _) = collected(|| {
            let request = request();
            request.in_scope(|| info_span!(target: TRACE, "below", n = 3).in_scope(|| {}));
            request.record("http.response.status_code", 503_u64);
        });
        let [below, request] = spans.as_slice() else {
            panic!("{spans:?}")
        };
        assert_eq!(request.trace_id[..2], [0x0a, 0xf7]);
        assert_eq!(request.parent_span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert_eq!(request.kind, i32::from(SpanKind::Server));
        assert_eq!(request.status, Some(error()));
        assert_eq!(
            (&below.trace_id, &below.parent_span_id),
            (&request.trace_id, &request.span_id)
        );
        assert_ne!(below.span_id, request.span_id);
    }

    #[test]
    fn what_nobody_traces_is_not_collected() {
        let (spans, _) = collected(|| {
            info_span!("task", name = "x").in_scope(|| info_span!(target: TRACE, "below").in_scope(|| {}));
            // A trace that is not sampled has no parent here.
            info_span!(target: TRACE, "request", trace_id = "0af7651916cd43dd8448eb211c80319c").in_scope(|| {});
        });
        assert_eq!(spans, []);
    }

    #[test]
    fn a_hit_tells_when_it_began() {
        let (spans, _) = collected(|| {
            let (trace_id, parent_id) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
            drop(trace_span!(target: TRACE, "hit", trace_id, parent_id, began_ns = 7_u64));
        });
        assert_eq!((spans[0].start_time_unix_nano, spans[0].end_time_unix_nano), (7, 7));
    }

    #[test]
    fn nobody_waits_for_room() {
        let (spans, metrics) = collected(|| (0..5).for_each(|_| drop(request())));
        assert_eq!(spans.len(), 2);
        assert_eq!(metrics.otlp_spans_total[SpanOutcome::Dropped].get(), 3);
    }
}
