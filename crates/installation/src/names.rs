//! Names and literals of generated SQL, and the hashes by which definitions are compared.
//!
//! All SQL of this crate is built from these; nothing else quotes.

use ring::digest::{SHA256, digest};

use neverstale_flavour::Table;

/// Longest identifier of Postgres, in bytes (`NAMEDATALEN - 1`).
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Quotes an identifier, always.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text literal; right under `standard_conforming_strings` on and off.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// An array of text literals, with its type.
pub(crate) fn literals<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(literal).collect();
    format!("ARRAY[{}]::text[]", quoted.join(", "))
}

/// A relation with its schema, both quoted.
pub(crate) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// SHA-256 in lower hex, as `encode(sha256(convert_to(…, 'UTF8')), 'hex')` gives it in Postgres.
pub(crate) fn hash(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        for nibble in [byte >> 4, byte & 15] {
            hex.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    hex
}

/// Fills the `{name}` places of a template, each once and never inside of what was filled in.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let value = values.iter().find_map(|(name, value)| {
            let after = rest[1..].strip_prefix(name)?.strip_prefix('}')?;
            Some((value, after))
        });
        // Other braces, such as those of an empty array, stand for themselves.
        let (value, after) = value.map_or(("{", &rest[1..]), |(value, after)| (*value, after));
        text.push_str(value);
        rest = after;
    }
    text + rest
}

/// Name of the function that collects the tags of a table; long names are cut and told apart by a hash.
pub(crate) fn collect_function(table: &str) -> String {
    let plain = format!("collect_{table}");
    if plain.len() <= IDENTIFIER_BYTES_MAX {
        return plain;
    }
    let end = (0..=40).rev().find(|&end| table.is_char_boundary(end)).unwrap_or(0);
    format!("collect_{}_{}", &table[..end], &hash(table)[..12])
}

/// Watched columns of a table: those the flavour names and all that its tag rules read, each once.
pub(crate) fn watched_columns(table: &Table) -> Vec<String> {
    let mut watched: Vec<String> = Vec::new();
    let of_rules = table
        .tags
        .iter()
        .flat_map(|rule| rule.key.iter().chain(&rule.each).chain(rule.of.iter().flatten()));
    for column in table.columns.iter().chain(of_rules) {
        if !watched.contains(column) {
            watched.push(column.clone());
        }
    }
    watched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(identifier(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal(r"it's \ me"), r"E'it''s \\ me'");
    }

    #[test]
    fn what_is_filled_in_is_not_a_template() {
        assert_eq!(
            fill("'{}' {a} {b} {c}", &[("a", "{b}"), ("b", "{a}")]),
            "'{}' {b} {a} {c}"
        );
    }

    #[test]
    fn long_table_names_keep_distinct_functions_of_legal_length() {
        let (one, other) = (format!("{}a", "é".repeat(31)), format!("{}b", "é".repeat(31)));
        assert_ne!(collect_function(&one), collect_function(&other));
        assert!(collect_function(&one).len() <= IDENTIFIER_BYTES_MAX);
        assert_eq!(collect_function("user"), "collect_user");
    }
}
