//! The flavours that come with the binary, the schemas they fit, and what others derive from a flavour: its fingerprint, its hash, its SQL.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::model::{Detect, Flavour, ViewId};

/// Version of the protocol whose objects a specification describes; part of its hash.
pub const PROTOCOL_VERSION: u32 = 1;

const OPENWEBUI_0_12: &str = include_str!("../../../flavours/openwebui-0.12.toml");
const OPENWEBUI_0_6: &str = include_str!("../../../flavours/openwebui-0.6.toml");
const NAGA_0_5_18: &str = include_str!("../../../flavours/naga-0.5.18.toml");

/// The creation script of a built-in flavour's tables, unqualified: for tests, benches and the demo.
pub fn schema_fixture(name: &str) -> Option<&'static str> {
    match name {
        "openwebui-0.12" => Some(include_str!("../../../flavours/schema/openwebui-0.12.sql")),
        "openwebui-0.6" => Some(include_str!("../../../flavours/schema/openwebui-0.6.sql")),
        "naga-0.5.18" => Some(include_str!("../../../flavours/schema/naga-0.5.18.sql")),
        _ => None,
    }
}

impl Detect {
    /// Whether a schema, given as the set of its `table.column`, bears this fingerprint.
    pub fn matches(&self, columns: &BTreeSet<String>) -> bool {
        self.requires.iter().all(|column| columns.contains(column))
            && !self.forbids.iter().any(|column| columns.contains(column))
    }
}

impl Flavour {
    /// Names of the flavours that come with the binary, newest schema first.
    pub const BUILTIN_NAMES: [&str; 3] = ["openwebui-0.12", "openwebui-0.6", "naga-0.5.18"];

    /// The TOML text of a built-in flavour.
    pub fn builtin(name: &str) -> Option<&'static str> {
        match name {
            "openwebui-0.12" => Some(OPENWEBUI_0_12),
            "openwebui-0.6" => Some(OPENWEBUI_0_6),
            "naga-0.5.18" => Some(NAGA_0_5_18),
            _ => None,
        }
    }

    /// Names of the built-in flavours whose fingerprint a schema bears, given as the set of its `table.column`. One, if the schema is known; the
    /// caller refuses none or several.
    pub fn detect(columns: &BTreeSet<String>) -> Vec<&'static str> {
        let bears = |name: &&str| {
            let text = Self::builtin(name).expect("a built-in name");
            Self::parse(text, name).is_ok_and(|flavour| flavour.detect.matches(columns))
        };
        Self::BUILTIN_NAMES.into_iter().filter(bears).collect()
    }

    /// The hash, in hex, of everything that an installation depends on: protocol version, the application's schema, watched tables with their columns
    /// and tag rules. Views, settings and options may change without a new installation, but for the rights of a role that only reads.
    pub fn specification(&self, app_schema: &str) -> String {
        let mut text = format!("neverstale {PROTOCOL_VERSION}\nschema {app_schema:?}\n");
        for table in &self.tables {
            let whose = if table.ours { "our table" } else { "table" };
            writeln!(text, "{whose} {:?} {:?}", table.name, table.columns).expect("writing to a string never fails");
            for rule in &table.tags {
                let (key, each, of) = (&rule.key, &rule.each, &rule.of);
                writeln!(
                    text,
                    "tag {:?} {key:?} {each:?} {} {} {of:?}",
                    rule.name, rule.lower, rule.hashed
                )
                .expect("writing to a string never fails");
            }
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string never fails");
            hex
        })
    }

    /// A view's statement for an application whose tables are in `app_schema`: `app.` outside of literals, quoted names and comments becomes that schema, quoted.
    pub fn view_sql(&self, view: ViewId, app_schema: &str) -> String {
        with_schema(&self.view(view).sql, app_schema)
    }
}

/// Puts the application's schema in the place of `app.`.
pub(crate) fn with_schema(sql: &str, app_schema: &str) -> String {
    replace_schema(sql, &format!("\"{}\".", app_schema.replace('"', "\"\"")))
}

fn replace_schema(sql: &str, schema: &str) -> String {
    let mut result = String::with_capacity(sql.len() + 64);
    let mut rest = sql;
    let mut is_inside_word = false;
    while let Some(first) = rest.chars().next() {
        let token = match first {
            '\'' | '"' => 1 + rest[1..].find(first).map_or(rest.len() - 1, |end| end + 1),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'a' if !is_inside_word && rest.starts_with("app.") => {
                result.push_str(schema);
                rest = &rest[4..];
                continue;
            }
            other => other.len_utf8(),
        };
        result.push_str(&rest[..token]);
        is_inside_word = first.is_alphanumeric() || first == '_' || first == '.' || first == '"';
        rest = &rest[token..];
    }
    result
}

#[cfg(test)]
mod tests;
