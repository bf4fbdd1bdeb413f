//! The section `telemetry.otlp`: where traces and metrics go.

neverstale_settings::section! {
    /// Traces and metrics to an OpenTelemetry collector, by OTLP over HTTP with protobuf. Off unless an endpoint is set.
    pub struct OtlpSettings = "telemetry.otlp";
    /// Names the collector; `/v1/traces` and `/v1/metrics` are appended.
    endpoint: Option<String> = None, unit "URL", when "a collector takes traces or metrics: http://collector:4318";
    /// Names a file of headers that every message carries, one `Name: value` a line.
    headers_file: Option<PathBuf> = None, unit "path", when "the collector wants to know who sends";
    /// Names a file of certificates in PEM form that the collector's is judged by, instead of the system's.
    tls_ca_file: Option<PathBuf> = None, unit "path", when "the collector's certificate is your own authority's";
    /// Names this service to the collector.
    service_name: String = "neverstale", unit "name", when "several installations send to one collector";
    /// Sends all metrics this often; 0 sends none.
    metrics_interval_seconds: u64 = 60, unit "seconds", range 0..=3_600, when "Prometheus scrapes them already (0), or a collector is to see them sooner";
    /// Limits the spans that wait to be sent; further ones are dropped and counted.
    spans_waiting_max: u32 = 4_096, unit "spans", range 64..=1_000_000, when "many requests are traced and neverstale_otlp_spans_total counts dropped ones";
}
