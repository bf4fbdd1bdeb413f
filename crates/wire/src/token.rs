//! The token of a position: what `Neverstale-Position` answers and `at-least-as-fresh=` asks for.
//!
//! Callers hold it and hand it back; they never look inside. One text per token: what [`Token::from_str`] accepts is what
//! [`Token`] prints, so that tokens may be compared as texts.

use std::{fmt, str::FromStr};

use neverstale_coherence::{Incarnation, Position};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const INCARNATION_DIGITS: usize = 32;

/// A position together with the database it belongs to, written `<32 hex digits>-<position in hex>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The database whose position this is.
    pub incarnation: Incarnation,
    /// The place in its order of commits.
    pub position: Position,
}

/// Says why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{expected}` is missing or malformed in a consistency token; send it exactly as a Neverstale-Position header gave it"
)]
pub struct TokenError {
    expected: &'static str,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.incarnation, self.position.0)
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let (incarnation, position) = text.split_once('-').ok_or(TokenError { expected: "-" })?;
        Ok(Self {
            incarnation: parse_incarnation(incarnation).ok_or(TokenError {
                expected: "incarnation",
            })?,
            position: parse_position(position).ok_or(TokenError { expected: "position" })?,
        })
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

fn parse_incarnation(text: &str) -> Option<Incarnation> {
    if text.len() != INCARNATION_DIGITS {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(Incarnation(bytes))
}

fn parse_position(text: &str) -> Option<Position> {
    let digits = text.as_bytes();
    let is_canonical = matches!(digits, [b'0'] | [b'1'..=b'9' | b'a'..=b'f', ..]) && digits.len() <= 16;
    if !is_canonical {
        return None;
    }
    digits
        .iter()
        .try_fold(0, |position, &byte| Some(position << 4 | u64::from(digit(byte)?)))
        .map(Position)
}

/// Reads one lower-case hexadecimal digit: upper case would give a token two texts.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_survives_its_text(incarnation: [u8; 16], position: u64) {
            let token = Token { incarnation: Incarnation(incarnation), position: Position(position) };
            prop_assert_eq!(token.to_string().parse(), Ok(token));
            let json = serde_json::to_string(&token).unwrap();
            prop_assert_eq!(serde_json::from_str::<Token>(&json).unwrap(), token);
        }

        #[test]
        fn whatever_parses_prints_as_it_was(text in "[0-9a-fA-F]{30,34}-?[+0-9a-f]{0,18}") {
            if let Ok(token) = text.parse::<Token>() {
                prop_assert_eq!(token.to_string(), text);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = text.parse::<Token>();
        }
    }

    #[test]
    fn near_misses_are_refused() {
        let hex = "0123456789abcdef0123456789abcdef";
        assert!(format!("{hex}-0").parse::<Token>().is_ok());
        for wrong in [
            String::new(),
            hex.to_owned(),
            format!("{hex}-"),
            format!("{hex}-00"),
            format!("{hex}-0a"),
            format!("{hex}-+1"),
            format!("{hex}-1 "),
            format!("{hex}-1-1"),
            format!("{hex}-A"),
            format!("{}-1", hex.to_uppercase()),
            format!("{}-1", &hex[1..]),
            format!("{hex}-{}", "f".repeat(17)),
            "é".repeat(16) + "-1",
        ] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
    }
}
