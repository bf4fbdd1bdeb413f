//! Tells a collector about traced requests and all metrics, by OTLP.
//!
//! Off unless an endpoint is set, and then nothing of it is there: no layer, no task, no connection. A request is traced if its caller
//! traces it (W3C `traceparent`, sampled); the sidecar begins no traces of its own. Spans that find no room are dropped and counted: nobody
//! waits for a collector.

mod settings;

mod collector;
mod exporter;
mod layer;
mod series;

pub use collector::{Collector, CollectorError};
pub use exporter::{Exporter, start};
pub use settings::OtlpSettings;
