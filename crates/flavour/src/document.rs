//! Changes one path of a JSON document, and no byte of the rest.
//!
//! Used by writes of applications that keep many settings in one document. The text is spliced, never written anew: the order of
//! members, the spelling of numbers and whatever only the application understands stay as they are.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The path leads through a value that is no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path leads through a value that is no object")]
pub struct Blocked;

/// Gives `document` with `value`, JSON too, at the dotted `path`; objects that are missing on the way are made.
///
/// # Errors
/// [`Blocked`], also where the document itself is no object.
pub fn with_value(document: &str, path: &str, value: &str) -> Result<String, Blocked> {
    let names: Vec<&str> = path.split('.').collect();
    changed(document, &names, value)
}

fn changed(document: &str, names: &[&str], value: &str) -> Result<String, Blocked> {
    let Some((name, deeper)) = names.split_first() else {
        return Ok(value.to_owned());
    };
    // Of a name that is there twice the last counts, as for the application and for Postgres.
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(document).map_err(|_| Blocked)?;
    if let Some(member) = members.get(*name) {
        let text = member.get();
        let begin = text.as_ptr() as usize - document.as_ptr() as usize;
        let (before, after) = (&document[..begin], &document[begin + text.len()..]);
        return Ok([before, &changed(text, deeper, value)?, after].concat());
    }
    let end = document.rfind('}').expect("it was just read as an object");
    let separator = if members.is_empty() { "" } else { ", " };
    let (before, after) = document.split_at(end);
    Ok([before, separator, &member(name, deeper, value), after].concat())
}

/// A member, with the objects in it that lead to the value.
fn member(name: &str, deeper: &[&str], value: &str) -> String {
    let name = serde_json::Value::from(name);
    match deeper.split_first() {
        None => format!("{name}: {value}"),
        Some((next, deeper)) => format!("{name}: {{{}}}", member(next, deeper, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_but_those_of_the_path_changes() {
        let document = r#"{"b": 1.0,  "a": {"x": [1e5], "ü": {"k": "v"}}, "z":-0}"#;
        let at = |path: &str, value: &str| with_value(document, path, value).unwrap();
        assert_eq!(at("a.ü.k", "[2]"), document.replace(r#""v""#, "[2]"));
        assert_eq!(at("b", "null"), document.replace("1.0", "null"));
        assert_eq!(at("a", "{}"), r#"{"b": 1.0,  "a": {}, "z":-0}"#);
        assert_eq!(
            at("a.new.deep", "true"),
            r#"{"b": 1.0,  "a": {"x": [1e5], "ü": {"k": "v"}, "new": {"deep": true}}, "z":-0}"#
        );
        assert_eq!(
            at("q\"", "1"),
            r#"{"b": 1.0,  "a": {"x": [1e5], "ü": {"k": "v"}}, "z":-0, "q\"": 1}"#
        );
    }

    #[test]
    fn an_empty_document_gets_its_first_member() {
        assert_eq!(with_value("{}", "a.b", "1").unwrap(), r#"{"a": {"b": 1}}"#);
        assert_eq!(with_value(" { } ", "a", "1").unwrap(), r#" { "a": 1} "#);
    }

    #[test]
    fn of_a_name_that_is_there_twice_the_last_is_changed() {
        assert_eq!(with_value(r#"{"a":1,"a":2}"#, "a", "3").unwrap(), r#"{"a":1,"a":3}"#);
    }

    #[test]
    fn a_path_through_what_is_no_object_is_refused() {
        for document in [r#"{"a": 1}"#, r#"{"a": [{"b": 1}]}"#, r#"{"a": null}"#, "[]", "1"] {
            assert_eq!(with_value(document, "a.b", "1"), Err(Blocked), "{document}");
        }
    }
}
