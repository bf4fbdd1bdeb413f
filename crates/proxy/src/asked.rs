//! What a request asks for beside its path: level, deadline, conditions, by its headers, each looked at once.

use http::{HeaderMap, HeaderValue};
use neverstale_cache::Level;
use neverstale_wire::{Problem, ProblemKind, Token};

/// What the headers of a request say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'r> {
    pub(crate) level: Level,
    /// As asked; the bound is the listener's.
    pub(crate) timeout_ms: Option<u64>,
    /// Whether there is an `If-None-Match`.
    pub(crate) is_conditional: bool,
    pub(crate) authorization: Option<&'r HeaderValue>,
    /// The trace that the request belongs to; read by whoever makes spans.
    pub(crate) traceparent: Option<&'r HeaderValue>,
}

impl<'r> Asked<'r> {
    /// Reads the headers. Takes one pass and allocates nothing but for a malformed request.
    pub(crate) fn read(headers: &'r HeaderMap) -> Result<Self, Problem> {
        let mut level = None;
        let mut asked = Self {
            level: Level::FullyConsistent,
            timeout_ms: None,
            is_conditional: false,
            authorization: None,
            traceparent: None,
        };
        for (name, value) in headers {
            match name.as_str() {
                "neverstale-consistency" => {
                    let read = value
                        .to_str()
                        .ok()
                        .and_then(level_of)
                        .ok_or_else(|| malformed(CONSISTENCY_HELP))?;
                    set_once(&mut level, read, "Neverstale-Consistency is given twice")?;
                }
                "neverstale-timeout-ms" => {
                    let read = value
                        .to_str()
                        .ok()
                        .and_then(timeout_of)
                        .ok_or_else(|| malformed(TIMEOUT_HELP))?;
                    set_once(&mut asked.timeout_ms, read, "Neverstale-Timeout-Ms is given twice")?;
                }
                "if-none-match" => asked.is_conditional = true,
                "traceparent" => asked.traceparent = Some(value),
                "authorization" => set_once(&mut asked.authorization, value, "Authorization is given twice")?,
                _ => {}
            }
        }
        asked.level = level.unwrap_or(Level::FullyConsistent);
        Ok(asked)
    }
}

const CONSISTENCY_HELP: &str = "Neverstale-Consistency is none of fully-consistent, fully-consistent; fallback=minimize-latency, \
                                at-least-as-fresh=<token>, minimize-latency";
const TIMEOUT_HELP: &str = "Neverstale-Timeout-Ms is not a whole number of milliseconds from 1";

fn level_of(text: &str) -> Option<Level> {
    match text {
        "fully-consistent" => return Some(Level::FullyConsistent),
        "minimize-latency" => return Some(Level::MinimizeLatency),
        _ => {}
    }
    if let Some(token) = text.strip_prefix("at-least-as-fresh=") {
        return token.parse::<Token>().ok().map(Level::AtLeastAsFresh);
    }
    let (first, second) = text.split_once(';')?;
    let allows_weaker = first.trim_end() == "fully-consistent" && second.trim_start() == "fallback=minimize-latency";
    allows_weaker.then_some(Level::FullyConsistentOrBounded)
}

fn timeout_of(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain {
        text.parse().ok().filter(|timeout_ms| *timeout_ms > 0)
    } else {
        None
    }
}

fn set_once<T>(place: &mut Option<T>, value: T, twice: &'static str) -> Result<(), Problem> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(malformed(twice)),
    }
}

fn malformed(reason: &'static str) -> Problem {
    Problem::new(ProblemKind::Malformed, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&'static str, &str)]) -> Result<(Level, Option<u64>), Option<String>> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        match Asked::read(&headers) {
            Ok(asked) => Ok((asked.level, asked.timeout_ms)),
            Err(problem) => Err(problem.detail.map(String::from)),
        }
    }

    fn level(text: &str) -> Option<Level> {
        asked(&[("neverstale-consistency", text)]).ok().map(|(level, _)| level)
    }

    #[test]
    fn each_level_has_its_words_and_anything_else_is_malformed() {
        let token = format!("{}-1f", "ab".repeat(16));
        assert_eq!(asked(&[]), Ok((Level::FullyConsistent, None)));
        assert_eq!(level("fully-consistent"), Some(Level::FullyConsistent));
        assert_eq!(level("minimize-latency"), Some(Level::MinimizeLatency));
        assert_eq!(
            level("fully-consistent; fallback=minimize-latency"),
            Some(Level::FullyConsistentOrBounded)
        );
        assert_eq!(
            level("fully-consistent;fallback=minimize-latency"),
            Some(Level::FullyConsistentOrBounded)
        );
        assert_eq!(
            level(&format!("at-least-as-fresh={token}")),
            Some(Level::AtLeastAsFresh(token.parse().unwrap()))
        );
        for wrong in [
            "",
            "Fully-Consistent",
            "fully-consistent;",
            "minimize-latency; fallback=minimize-latency",
            "at-least-as-fresh",
            "at-least-as-fresh=1-1",
        ] {
            assert_eq!(level(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_timeout_is_a_whole_number_from_one() {
        assert_eq!(
            asked(&[("neverstale-timeout-ms", "250")]),
            Ok((Level::FullyConsistent, Some(250)))
        );
        for wrong in ["0", "", "-1", "+1", "1.5", "1e3", "9999999999999", "soon"] {
            assert_eq!(
                asked(&[("neverstale-timeout-ms", wrong)]),
                Err(Some(TIMEOUT_HELP.to_owned())),
                "{wrong}"
            );
        }
    }

    #[test]
    fn nothing_that_contradicts_itself_is_guessed_at() {
        for name in ["neverstale-consistency", "neverstale-timeout-ms", "authorization"] {
            let value = if name == "neverstale-timeout-ms" {
                "5"
            } else {
                "minimize-latency"
            };
            let reason = asked(&[(name, value), (name, value)]).unwrap_err().unwrap();
            assert!(reason.ends_with("given twice"), "{reason}");
        }
    }
}
