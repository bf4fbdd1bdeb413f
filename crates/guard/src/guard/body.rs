//! Finds what a JSON body names, in one pass, without building the document.
//!
//! The application reads the same bytes with another parser; where the two could disagree the body is refused: a name that is there
//! twice, an id that is no text, a text where a list is expected. What no rule looks at is skipped, whatever it is.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::guard::source::{Pointer, Step};

/// No request names more than this.
pub(crate) const IDS_MAX: usize = 1_024;

/// The places of several pointers, as a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    members: Vec<(String, Places)>,
    each: Option<Box<Places>>,
    /// Which pointers end here.
    ends: Vec<usize>,
}

/// What was found: which pointer, and what it leads to.
pub(crate) type Found = Vec<(usize, String)>;

/// The body is not what the application could take, or is ambiguous.
#[derive(Debug, thiserror::Error)]
#[error("the body can't be judged: {0}")]
pub(crate) struct Unclear(String);

impl Unclear {
    /// Says why.
    pub(crate) fn new(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl Places {
    /// Adds a pointer, by its number.
    pub(crate) fn add(&mut self, pointer: &Pointer, number: usize) {
        let mut place = self;
        for step in &pointer.0 {
            place = match step {
                Step::Each => place.each.get_or_insert_default(),
                Step::Member(name) => {
                    let known = place.members.iter().position(|(known, _)| known == name);
                    let index = known.unwrap_or_else(|| {
                        place.members.push((name.clone(), Self::default()));
                        place.members.len() - 1
                    });
                    &mut place.members[index].1
                }
            };
        }
        place.ends.push(number);
    }

    /// Finds what is at the places; nothing in an empty body.
    ///
    /// # Errors
    /// [`Unclear`].
    pub(crate) fn find(&self, body: &[u8]) -> Result<Found, Unclear> {
        let mut found = Found::new();
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(found);
        }
        let mut document = serde_json::Deserializer::from_slice(body);
        let seed = At {
            place: self,
            found: &mut found,
        };
        let read = seed.deserialize(&mut document).and_then(|()| document.end());
        read.map_err(|error| Unclear(error.to_string()))?;
        Ok(found)
    }
}

struct At<'p, 'f> {
    place: &'p Places,
    found: &'f mut Found,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.place {
            Places { each: Some(_), .. } => "a list",
            Places { members, .. } if !members.is_empty() => "an object",
            _ => "a text",
        })
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        // The application skips what is empty where an object or a list could be, and looks into texts as if they were lists.
        if self.place.ends.is_empty() {
            return if text.is_empty() {
                Ok(())
            } else {
                Err(E::invalid_type(serde::de::Unexpected::Str("…"), &self))
            };
        }
        for number in &self.place.ends {
            if self.found.len() == IDS_MAX {
                return Err(E::custom(format_args!("it names more than {IDS_MAX} things")));
            }
            self.found.push((*number, text.to_owned()));
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.visit_str(&number.to_string())
    }

    fn visit_bool<E: serde::de::Error>(self, is_true: bool) -> Result<(), E> {
        // `false` is how the application writes that there is nothing.
        if is_true {
            Err(E::invalid_type(serde::de::Unexpected::Bool(true), &self))
        } else {
            Ok(())
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if !self.place.ends.is_empty() || self.place.each.is_some() {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        }
        let mut seen: u64 = 0;
        while let Some(name) = map.next_key::<Name>()? {
            let Some(index) = self.place.members.iter().position(|(known, _)| *known == name.0) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let bit = 1_u64 << index;
            if seen & bit != 0 {
                return Err(A::Error::custom(format_args!("`{}` is there twice", name.0)));
            }
            seen |= bit;
            map.next_value_seed(At {
                place: &self.place.members[index].1,
                found: self.found,
            })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Some(each) = &self.place.each else {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        };
        while sequence
            .next_element_seed(At {
                place: each,
                found: self.found,
            })?
            .is_some()
        {}
        Ok(())
    }
}

/// A member's name, owned only where it must be.
struct Name(String);

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::source::Source;

    fn places(texts: &[&str]) -> Places {
        let mut places = Places::default();
        for (number, text) in texts.iter().enumerate() {
            let source = Source::parse(text).unwrap();
            places.add(source.pointer().unwrap(), number);
        }
        places
    }

    fn found(texts: &[&str], body: &str) -> Result<Vec<(usize, String)>, String> {
        places(texts).find(body.as_bytes()).map_err(|error| error.to_string())
    }

    const CHAT: [&str; 4] = [
        "body:/model",
        "body:/filter_ids/*",
        "body:/files/*/id",
        "body:/item/info/ids/*",
    ];

    #[test]
    fn everything_that_is_named_is_found() {
        let body = r#"{"x": [1e9, {"model": "no"}, "\ud800"], "\u006dodel": "m", "filter_ids": ["a", "b"],
                       "files": [{"id": "f", "x": 1}, {"y": 2}, {"id": null}], "item": {"info": {"ids": ["z"]}}}"#;
        let expected = [(0, "m"), (1, "a"), (1, "b"), (2, "f"), (3, "z")];
        let expected: Vec<_> = expected.iter().map(|(n, id)| (*n, (*id).to_owned())).collect();
        assert_eq!(found(&CHAT, body), Ok(expected));
        for nothing in [
            "",
            " \n",
            "{}",
            "null",
            r#"{"model": null, "item": {}, "filter_ids": [], "files": null}"#,
        ] {
            assert_eq!(found(&CHAT, nothing), Ok(Vec::new()), "{nothing}");
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for body in [
            r#"{"model": "a", "model": "b"}"#,
            r#"{"model": "a", "\u006dodel": "b"}"#,
            r#"{"filter_ids": "abc"}"#,
            r#"{"filter_ids": {"abc": 1}}"#,
            r#"{"filter_ids": [["abc"]]}"#,
            r#"{"model": ["a"]}"#,
            r#"{"model": {"a": 1}}"#,
            r#"{"model": true}"#,
            r#"{"model": 1.5}"#,
            r#"{"model": "\ud800"}"#,
            r#"{"item": "text"}"#,
            r#"{"item": [1]}"#,
            r#"["model"]"#,
            r#"{"model": "a"} {"model": "b"}"#,
            r#"{"model": "a""#,
            "\u{feff}{\"model\": \"a\"}",
            "{\"model\": NaN}",
        ] {
            assert!(found(&CHAT, body).is_err(), "{body}");
        }
        let utf16: Vec<u8> = "{\"model\": \"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(places(&CHAT).find(&utf16).is_err());
    }

    #[test]
    fn there_is_a_bound() {
        let many = format!(r#"{{"filter_ids": [{}]}}"#, vec![r#""f""#; IDS_MAX + 1].join(","));
        assert!(found(&CHAT, &many).unwrap_err().contains("more than"));
    }

    #[test]
    fn deep_bodies_are_skipped_and_do_not_exhaust_the_stack() {
        let deep = format!(
            r#"{{"x": {}{}, "model": "m"}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(found(&["body:/model"], &deep), Ok(vec![(0, "m".to_owned())]));
    }
}
