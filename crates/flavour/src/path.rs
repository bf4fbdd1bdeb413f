//! Path patterns of views: `/v1/users/{id}/settings/{path...}`, parsed once, matched without allocation.
//!
//! Used by the router. Knows nothing of views or of the query string; segments are matched before percent-decoding.

use std::fmt;

/// A pattern for the path of a read. Variables take one segment; a last variable written `{name...}` takes the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
}

/// One piece of a pattern between slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Exactly this text.
    Literal(String),
    /// Any one non-empty segment.
    Variable(String),
    /// Everything that is left, slashes included, not empty.
    Rest(String),
}

impl PathPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// The reason, if the text is not an absolute path of literals, `{name}` and a last `{name...}`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(relative) = text.strip_prefix('/') else {
            return Err(format!("path `{text}` does not begin with a slash"));
        };
        let pieces: Vec<&str> = relative.split('/').collect();
        let mut segments = Vec::with_capacity(pieces.len());
        for (index, piece) in pieces.iter().enumerate() {
            let segment = Segment::parse(piece).ok_or_else(|| format!("path `{text}` has a bad segment `{piece}`"))?;
            if matches!(segment, Segment::Rest(_)) && index + 1 < pieces.len() {
                return Err(format!(
                    "path `{text}` has something after `{piece}`, which takes all the rest"
                ));
            }
            if let Some(name) = segment.variable()
                && segments
                    .iter()
                    .any(|earlier: &Segment| earlier.variable() == Some(name))
            {
                return Err(format!("path `{text}` names the variable `{name}` twice"));
            }
            segments.push(segment);
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }

    /// Names of the variables, in order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::variable)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Matches an encoded path without query; calls `bind` with each variable's encoded text, in order. Literals are compared as they stand.
    pub(crate) fn matches<'p>(&self, path: &'p str, mut bind: impl FnMut(&'p str)) -> bool {
        let Some(mut rest) = path.strip_prefix('/') else {
            return false;
        };
        let mut exhausted = false;
        for segment in &self.segments {
            if exhausted {
                return false;
            }
            if let Segment::Rest(_) = segment {
                bind(rest);
                return !rest.is_empty();
            }
            let piece = if let Some((piece, after)) = rest.split_once('/') {
                rest = after;
                piece
            } else {
                exhausted = true;
                rest
            };
            match segment {
                Segment::Literal(text) if text == piece => {}
                Segment::Variable(_) if !piece.is_empty() => bind(piece),
                _ => return false,
            }
        }
        exhausted
    }

    /// Whether some path matches both patterns and neither is more specific at the first segment where they differ.
    pub(crate) fn is_ambiguous_with(&self, other: &Self) -> bool {
        let kinds = |pattern: &Self| pattern.segments.iter().map(Segment::kind).collect::<Vec<_>>();
        kinds(self) == kinds(other)
            && self
                .segments
                .iter()
                .zip(&other.segments)
                .all(|(mine, theirs)| match (mine, theirs) {
                    (Segment::Literal(mine), Segment::Literal(theirs)) => mine == theirs,
                    _ => true,
                })
    }

    /// The order in which patterns are tried: literal before variable before rest, segment by segment.
    pub(crate) fn specificity(&self) -> Vec<u8> {
        self.segments.iter().map(Segment::kind).collect()
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Segment {
    fn parse(piece: &str) -> Option<Self> {
        if let Some(inner) = piece.strip_prefix('{') {
            let name = inner.strip_suffix('}')?;
            let (name, is_rest) = name.strip_suffix("...").map_or((name, false), |name| (name, true));
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                return None;
            }
            return Some(if is_rest {
                Self::Rest(name.to_owned())
            } else {
                Self::Variable(name.to_owned())
            });
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (!piece.is_empty() && piece.bytes().all(is_plain)).then(|| Self::Literal(piece.to_owned()))
    }

    fn variable(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Variable(name) | Self::Rest(name) => Some(name),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Variable(_) => 1,
            Self::Rest(_) => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
        let mut values = Vec::new();
        PathPattern::parse(pattern)
            .unwrap()
            .matches(path, |value| values.push(value))
            .then_some(values)
    }

    #[test]
    fn variables_take_one_segment_and_a_rest_takes_all() {
        assert_eq!(bound("/v1/users/{id}", "/v1/users/u1"), Some(vec!["u1"]));
        assert_eq!(bound("/v1/users/{id}", "/v1/users/u1/role"), None);
        assert_eq!(bound("/v1/users/{id}", "/v1/users/"), None);
        assert_eq!(bound("/v1/users/{id}", "/v1/users"), None);
        assert_eq!(
            bound("/v1/users/{id}/settings/{path...}", "/v1/users/u1/settings/a/b.c"),
            Some(vec!["u1", "a/b.c"])
        );
        assert_eq!(
            bound("/v1/users/{id}/settings/{path...}", "/v1/users/u1/settings/"),
            None
        );
        assert_eq!(bound("/v1/config", "/v1/config"), Some(vec![]));
        assert_eq!(bound("/v1/config", "/v1/config/"), None);
    }

    #[test]
    fn bad_patterns_are_refused_with_the_reason() {
        for (pattern, reason) in [
            ("v1/users", "slash"),
            ("/v1//users", "bad segment"),
            ("/v1/{Id}", "bad segment"),
            ("/v1/{path...}/x", "takes all the rest"),
            ("/v1/{id}/{id}", "twice"),
        ] {
            assert!(PathPattern::parse(pattern).unwrap_err().contains(reason), "{pattern}");
        }
    }

    #[test]
    fn patterns_that_catch_the_same_paths_are_ambiguous() {
        let pattern = |text| PathPattern::parse(text).unwrap();
        assert!(pattern("/v1/users/{id}").is_ambiguous_with(&pattern("/v1/users/{name}")));
        assert!(!pattern("/v1/users/{id}").is_ambiguous_with(&pattern("/v1/groups/{id}")));
        assert!(!pattern("/v1/users/{id}/role").is_ambiguous_with(&pattern("/v1/users/by-email/{email}")));
    }
}
