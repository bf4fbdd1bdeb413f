//! The types that a setting's value can have, and how each is read from a file or from text.

use std::{collections::BTreeMap, ops::Deref, path::PathBuf};

use serde_json::Value;

use crate::{secret::Secret, spec::Kind};

/// A table of texts under names of the operator's choice, such as `flavour.options.NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(pub BTreeMap<String, String>);

impl Deref for Texts {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A type that a field of a section may have.
///
/// A file gives JSON-like values, variables and flags give text; both are parsed here and nowhere else.
pub trait FieldValue: Sized {
    /// The kind that is documented.
    const KIND: Kind;
    /// Whether the value may be absent.
    const OPTIONAL: bool = false;

    /// Reads the text of a variable or flag.
    ///
    /// # Errors
    /// What was expected, without repeating the text (it may be a secret).
    fn from_text(text: &str) -> Result<Self, String>;

    /// Reads the value of a file.
    ///
    /// # Errors
    /// What was expected.
    fn from_file(value: &Value) -> Result<Self, String>;

    /// Gives the value as it may be shown; null for a secret and for an absent value.
    fn to_json(&self) -> Value;

    /// Gives the number that a range applies to.
    fn number(&self) -> Option<u64> {
        None
    }

    /// Gives the text that a list of allowed texts applies to.
    fn text(&self) -> Option<&str> {
        None
    }
}

macro_rules! number {
    ($type:ident) => {
        impl FieldValue for $type {
            const KIND: Kind = Kind::Number;

            fn from_text(text: &str) -> Result<Self, String> {
                text.trim()
                    .replace('_', "")
                    .parse()
                    .map_err(|_| expected_number($type::MAX.into()))
            }

            fn from_file(value: &Value) -> Result<Self, String> {
                value
                    .as_u64()
                    .and_then(|number| number.try_into().ok())
                    .ok_or_else(|| expected_number($type::MAX.into()))
            }

            fn to_json(&self) -> Value {
                Value::from(*self)
            }

            fn number(&self) -> Option<u64> {
                Some((*self).into())
            }
        }
    };
}

number!(u64);
number!(u32);

fn expected_number(max: u64) -> String {
    if max == u64::MAX {
        "expected a whole number from 0".into()
    } else {
        format!("expected a whole number from 0 to {max}")
    }
}

impl FieldValue for bool {
    const KIND: Kind = Kind::Switch;

    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("expected true or false".into()),
        }
    }

    fn from_file(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| "expected true or false".into())
    }

    fn to_json(&self) -> Value {
        Value::from(*self)
    }
}

impl FieldValue for String {
    const KIND: Kind = Kind::Text;

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn from_file(value: &Value) -> Result<Self, String> {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| "expected a text in quotes".into())
    }

    fn to_json(&self) -> Value {
        Value::from(self.as_str())
    }

    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl FieldValue for PathBuf {
    const KIND: Kind = Kind::Path;

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Err("expected a path, not an empty text".into())
        } else {
            Ok(Self::from(text))
        }
    }

    fn from_file(value: &Value) -> Result<Self, String> {
        Self::from_text(value.as_str().ok_or("expected a path in quotes")?)
    }

    fn to_json(&self) -> Value {
        Value::from(self.to_string_lossy())
    }
}

impl FieldValue for Secret {
    const KIND: Kind = Kind::Secret;

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self::from(text))
    }

    fn from_file(value: &Value) -> Result<Self, String> {
        value
            .as_str()
            .map(Self::from)
            .ok_or_else(|| "expected a text in quotes".into())
    }

    fn to_json(&self) -> Value {
        Value::Null
    }
}

impl FieldValue for Texts {
    const KIND: Kind = Kind::Texts;

    fn from_text(text: &str) -> Result<Self, String> {
        let value = serde_json::from_str(text).map_err(|_| "expected a JSON object of texts")?;
        Self::from_file(&value)
    }

    fn from_file(value: &Value) -> Result<Self, String> {
        let table = value.as_object().ok_or("expected a table of texts")?;
        let text = |(name, value): (&String, &Value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => return Err(format!("expected a text for \"{name}\"")),
            };
            Ok((name.clone(), text))
        };
        table.iter().map(text).collect::<Result<_, _>>().map(Self)
    }

    fn to_json(&self) -> Value {
        self.0
            .iter()
            .map(|(name, text)| (name.clone(), Value::from(text.as_str())))
            .collect()
    }
}

impl<T: FieldValue> FieldValue for Option<T> {
    const KIND: Kind = T::KIND;
    const OPTIONAL: bool = true;

    /// An empty text means absent: that is how a variable or flag takes back what a file says.
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Ok(None)
        } else {
            T::from_text(text).map(Some)
        }
    }

    fn from_file(value: &Value) -> Result<Self, String> {
        T::from_file(value).map(Some)
    }

    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_json)
    }

    fn number(&self) -> Option<u64> {
        self.as_ref().and_then(T::number)
    }

    fn text(&self) -> Option<&str> {
        self.as_ref().and_then(T::text)
    }
}
