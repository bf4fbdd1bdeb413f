//! The documents that are generated from code: docs/CONFIGURATION.md, docs/METRICS.md and the HTTP contract.

use neverstale_settings::{json_schema, markdown};
use neverstale_telemetry::Metrics;

use crate::{cli::SettingsDocument, exit::Exit, output, settings::Settings};

pub(crate) fn settings(asked: &SettingsDocument) -> Exit {
    let sections = Settings::sections();
    if asked.json_schema {
        output::json(&json_schema(&sections));
    } else {
        output::result(&markdown(&sections));
    }
    Exit::Ok
}

pub(crate) fn metrics() -> Exit {
    output::result(&Metrics::markdown());
    Exit::Ok
}
