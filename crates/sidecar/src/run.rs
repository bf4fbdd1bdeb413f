//! The asynchronous runtime of a command that is soon done.

use std::future::Future;

use anyhow::Context;
use neverstale_telemetry::init_logs;
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
    init_logs(&settings.telemetry).map_err(anyhow::Error::from)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(command)
}
