//! The asynchronous runtime of a command that is soon done.

use std::future::Future;

use anyhow::Context;
use neverstale_telemetry::{TelemetrySettings, init_logs};
use tokio::runtime::Builder;

use crate::{
    exit::{Exit, Failure},
    settings::Settings,
};

/// Sets up logs and runs a command on this thread.
pub(crate) fn briefly(
    settings: &Settings,
    command: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    init_logs(&for_a_person(&settings.telemetry)).map_err(anyhow::Error::from)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(command)
}

/// A command tells its result itself, to whoever called it; its log is for what went less well.
fn for_a_person(settings: &TelemetrySettings) -> TelemetrySettings {
    let is_default = settings.log_level == TelemetrySettings::default().log_level;
    let log_level = if is_default {
        "warn".to_owned()
    } else {
        settings.log_level.clone()
    };
    TelemetrySettings {
        log_level,
        log_format: "text".to_owned(),
    }
}
