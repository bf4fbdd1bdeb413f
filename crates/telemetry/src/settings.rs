//! The section `telemetry`: what log lines look like and which are written.

neverstale_settings::section! {
    /// Log lines, written to standard error. Metrics need no settings: the admin listener serves them.
    pub struct TelemetrySettings = "telemetry";
    /// Chooses the shape of log lines: `json` for machines, `text` for people.
    log_format: String = "json", one_of ["json", "text"], when "a person reads the log";
    /// Chooses which lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`), or a level and exceptions by crate (`info,neverstale_cache=debug`).
    log_level: String = "info", unit "level", when "looking for a fault";
}
