//! Log lines on standard error, as JSON or as text.
//!
//! The tracing subscriber is the one thing of the process that is global; it is set here, once.

use tracing_subscriber::{EnvFilter, Layer, Registry, prelude::*};

use crate::settings::TelemetrySettings;

/// Takes the spans of traced requests elsewhere.
pub type SpanLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Why logs can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The level can't be read.
    #[error("read telemetry.log_level: {0}; expected a level such as info, or info,neverstale_cache=debug")]
    Level(String),
    /// It was done before.
    #[error("set up logs twice in one process")]
    Twice,
}

/// Sets up the logs of the process.
///
/// # Errors
///
/// When the level can't be read, or logs were set up before.
pub fn init_logs(settings: &TelemetrySettings) -> Result<(), LogsError> {
    let filter = filter(&settings.log_level)?;
    // What can't be written is lost: complaining of it on standard error, which fails as well, would panic in the midst of a task.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let set = match settings.log_format.as_str() {
        "text" => lines.with_ansi(false).try_init(),
        _ => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
    };
    set.map_err(|_| LogsError::Twice)
}

/// Sets up the logs of the process, and beside them what takes spans elsewhere.
///
/// # Errors
///
/// As [`init_logs`].
pub fn init_logs_and_traces(settings: &TelemetrySettings, spans: SpanLayer) -> Result<(), LogsError> {
    let filter = filter(&settings.log_level)?;
    let lines = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry().with(spans);
    let set = match settings.log_format.as_str() {
        "text" => subscriber.with(lines.with_ansi(false).with_filter(filter)).try_init(),
        _ => {
            let lines = lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false);
            subscriber.with(lines.with_filter(filter)).try_init()
        }
    };
    set.map_err(|_| LogsError::Twice)
}

/// Reads a level; also how `check` finds a bad one without setting anything up.
fn filter(level: &str) -> Result<EnvFilter, LogsError> {
    EnvFilter::builder()
        .parse(level)
        .map_err(|error| LogsError::Level(error.to_string()))
}

impl TelemetrySettings {
    /// Checks what no range can say: that the level can be read.
    ///
    /// # Errors
    ///
    /// What is wrong with the level.
    pub fn check(&self) -> Result<(), LogsError> {
        filter(&self.log_level).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_level_is_found_without_setting_anything_up() {
        let settings = |level: &str| TelemetrySettings {
            log_level: level.into(),
            ..TelemetrySettings::default()
        };
        assert!(settings("info,neverstale_cache=debug").check().is_ok());
        assert!(
            settings("info,=loud=")
                .check()
                .unwrap_err()
                .to_string()
                .contains("expected a level")
        );
    }
}
