//! `check`: says that the settings are right, and where each that was given came from.
//!
//! What is wrong with them has been found by the time that this runs.

use anyhow::anyhow;
use neverstale_settings::Merged;

use crate::{
    database::NO_DATABASE,
    exit::{Exit, Failure},
    flavour, output,
    settings::Settings,
};

pub(crate) fn run(settings: &Settings, merged: &Merged) -> Result<Exit, Failure> {
    if settings.database.url.is_none() {
        return Err(Failure::usage(anyhow!(NO_DATABASE)));
    }
    let mut lines = vec!["the settings are right".to_owned()];
    lines.extend(merged.given().map(|(path, place)| format!("  {path} from {place}")));
    match flavour::named(&settings.database.schema).map_err(|reason| Failure::usage(anyhow!(reason)))? {
        Some(flavour) => lines.push(format!(
            "the flavour is {}: {} watched tables, {} views",
            flavour.name,
            flavour.tables.len(),
            flavour.views.iter().filter(|view| view.kept).count()
        )),
        None => lines.push("the flavour will be detected in the database".to_owned()),
    }
    output::result(&lines.join("\n"));
    Ok(Exit::Ok)
}
