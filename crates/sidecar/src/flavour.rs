//! Chooses the schema flavour: by name, by file, or by looking at the application's tables.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, anyhow};
use neverstale_flavour::Flavour;
use neverstale_postgres::{Connection, DatabaseSettings};

use crate::exit::Failure;

/// Gives the flavour that the settings name; none when it is to be detected.
///
/// # Errors
/// The name is unknown, or the file has a mistake: file, line and reason.
pub(crate) fn named(schema: &str) -> Result<Option<Flavour>, String> {
    if schema == "detect" {
        return Ok(None);
    }
    let flavour = match Flavour::builtin(schema) {
        Some(text) => Flavour::parse(text, schema),
        None if schema.contains('/') || Path::new(schema).extension().is_some_and(|end| end == "toml") => {
            Flavour::load(Path::new(schema))
        }
        None => {
            let names = Flavour::BUILTIN_NAMES.join(", ");
            return Err(format!(
                "no flavour \"{schema}\"; take detect, one of {names}, or the path of a .toml file"
            ));
        }
    };
    flavour.map(Some).map_err(|error| error.to_string())
}

/// Gives the flavour that the settings name, or the one that fits the application's tables.
pub(crate) async fn choose(connection: &Connection, settings: &DatabaseSettings) -> Result<Flavour, Failure> {
    if let Some(flavour) = named(&settings.schema).map_err(|reason| Failure::usage(anyhow!(reason)))? {
        return Ok(flavour);
    }
    let columns = columns(connection, &settings.app_schema).await?;
    recognise(&columns, &settings.app_schema).map_err(|reason| anyhow!(reason).into())
}

/// Lists what is in the application's schema, as `table.column`.
async fn columns(connection: &Connection, app_schema: &str) -> Result<BTreeSet<String>, Failure> {
    let rows = connection
        .client()
        .query(COLUMNS, &[&app_schema])
        .await
        .context("read the application's columns")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

const COLUMNS: &str = "SELECT c.relname || '.' || a.attname FROM pg_catalog.pg_attribute a \
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped";

/// Finds the one flavour whose fingerprint fits, or says for each why it does not.
fn recognise(columns: &BTreeSet<String>, app_schema: &str) -> Result<Flavour, String> {
    let builtin = |name: &str| {
        let text = Flavour::builtin(name).expect("the name is one of the built-in ones");
        Flavour::parse(text, name).map_err(|error| error.to_string())
    };
    if columns.is_empty() {
        return Err(format!(
            "schema \"{app_schema}\" has no tables; let the application create them first, or set database.app_schema"
        ));
    }
    match Flavour::detect(columns).as_slice() {
        [name] => builtin(name),
        [] => {
            let mut reasons = Vec::new();
            for name in Flavour::BUILTIN_NAMES {
                let detect = builtin(name)?.detect;
                let missing = detect.requires.iter().find(|column| !columns.contains(*column));
                let extra = detect.forbids.iter().find(|column| columns.contains(*column));
                let reason = match (missing, extra) {
                    (Some(column), _) => format!("{name}: {column} is missing"),
                    (None, Some(column)) => format!("{name}: {column} is there"),
                    (None, None) => unreachable!("it would have been detected"),
                };
                reasons.push(reason);
            }
            Err(format!(
                "no built-in flavour fits schema \"{app_schema}\" ({}); name one with --schema, or write your own file",
                reasons.join("; ")
            ))
        }
        several => Err(format!(
            "several flavours fit: {}; name one with --schema",
            several.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_that_fits_none_is_told_why() {
        let columns = BTreeSet::from(["user.id".to_owned()]);
        let reason = recognise(&columns, "public").unwrap_err();
        for name in Flavour::BUILTIN_NAMES {
            assert!(reason.contains(name), "{reason}");
        }
        assert!(
            recognise(&BTreeSet::new(), "public")
                .unwrap_err()
                .contains("has no tables")
        );
    }

    #[test]
    fn each_built_in_flavour_is_recognised_by_its_own_fingerprint() {
        for name in Flavour::BUILTIN_NAMES {
            let detect = named(name).unwrap().unwrap().detect;
            let columns = detect.requires.into_iter().collect();
            assert_eq!(recognise(&columns, "public").unwrap().name, name);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        assert!(named("openwebui").unwrap_err().contains("openwebui-0.12"));
        assert_eq!(named("detect"), Ok(None));
    }
}
