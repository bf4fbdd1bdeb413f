//! The parameters of a question in a query string: known ones, each at most once.
//!
//! Shared by the listeners that are asked for something by name, so that a slip of the pen is a mistake for all of them.

use std::{borrow::Cow, fmt::Display, str::FromStr};

use percent_encoding::percent_decode_str;

/// Characters of an id.
pub const ID_CHARS_MAX: usize = 256;

/// The parameters of a query.
#[derive(Debug)]
pub struct Query<'q>(Vec<(&'q str, Cow<'q, str>)>);

/// What is wrong with a question, in words for whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(pub Cow<'static, str>);

impl<'q> Query<'q> {
    /// Reads a query string whose parameters are among the known ones.
    ///
    /// # Errors
    /// A parameter is unknown, given twice, or no UTF-8.
    pub fn read(query: &'q str, known: &[&str]) -> Result<Self, QueryError> {
        let mut given: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) || given.iter().any(|(earlier, _)| *earlier == name) {
                return Err(QueryError("a query parameter is unknown, or given twice".into()));
            }
            let value = value.replace('+', "%20");
            let value = percent_decode_str(&value)
                .decode_utf8()
                .map_err(|_| QueryError("a query parameter is not UTF-8".into()))?;
            given.push((name, Cow::Owned(value.into_owned())));
        }
        Ok(Self(given))
    }

    /// The value of a parameter, if it was given.
    pub fn get(&self, name: &str) -> Option<&str> {
        let given = self.0.iter().find(|(given, _)| *given == name);
        given.map(|(_, value)| &**value)
    }

    /// The value of a parameter that is an id.
    ///
    /// # Errors
    /// It is none.
    pub fn id(&self, name: &str) -> Result<&str, QueryError> {
        let id = self.get(name).unwrap_or_default();
        check_id(id)?;
        Ok(id)
    }

    /// The value of a parameter that is one of a few words.
    ///
    /// # Errors
    /// It is none of them.
    pub fn word<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, QueryError> {
        let word = self.get(name).unwrap_or_default();
        word.parse()
            .map_err(|error| QueryError(format!("`{name}`: {error}").into()))
    }

    /// The value of a parameter that is a number up to `max`, or `default` where it was not given.
    ///
    /// # Errors
    /// It is no such number.
    pub fn number(&self, name: &str, min: usize, max: usize, default: usize) -> Result<usize, QueryError> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| QueryError(format!("`{name}` is a number from {min} to {max}").into()))
    }
}

/// Says whether a text can be an id.
///
/// # Errors
/// It can't.
pub fn check_id(id: &str) -> Result<(), QueryError> {
    if id.is_empty() || id.contains('\0') || id.chars().count() > ID_CHARS_MAX {
        let reason = format!("an id has 1 to {ID_CHARS_MAX} characters, none of them NUL");
        return Err(QueryError(reason.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_it_was_written() {
        let query = Query::read("id=a%2Fb+c&limit=3&&empty", &["id", "limit", "empty"]).unwrap();
        assert_eq!(query.id("id"), Ok("a/b c"));
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(
            (
                query.number("limit", 1, 9, 5),
                query.number("page", 1, 9, 5),
                query.word("limit")
            ),
            (Ok(3), Ok(5), Ok(3))
        );
    }

    #[test]
    fn a_slip_of_the_pen_is_a_mistake() {
        for query in ["other=1", "id=1&id=2", "id=%FF"] {
            assert!(Query::read(query, &["id"]).is_err(), "{query}");
        }
        let query = Query::read("id=%00&limit=10&word=7x", &["id", "limit", "word"]).unwrap();
        assert!(query.id("id").is_err() && query.id("none").is_err());
        assert!(query.number("limit", 1, 9, 5).is_err() && query.word::<u8>("word").is_err());
    }
}
