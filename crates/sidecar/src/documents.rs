//! The documents that are generated from code: docs/CONFIGURATION.md, docs/METRICS.md and the HTTP contract.

use anyhow::anyhow;
use neverstale_flavour::Flavour;
use neverstale_proxy::openapi_document;
use neverstale_settings::{json_schema, markdown};
use neverstale_telemetry::Metrics;

use crate::{
    cli::SettingsDocument,
    exit::{Exit, Failure},
    flavour, output,
    settings::Settings,
};

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

/// Prints the contract for the flavour that is set; asks no database, so `detect` gives that of the newest one.
pub(crate) fn openapi(settings: &Settings) -> Result<Exit, Failure> {
    let named = |schema: &str| flavour::named(schema).map_err(|reason| Failure::usage(anyhow!(reason)));
    let flavour = match named(&settings.database.schema)? {
        Some(flavour) => flavour,
        None => named(Flavour::BUILTIN_NAMES[0])?.expect("a built-in name is not to be detected"),
    };
    output::json(&openapi_document(&flavour, &settings.api));
    Ok(Exit::Ok)
}
