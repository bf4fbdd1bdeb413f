//! Path patterns as the application writes them: `/api/v1/functions/id/{id}`, `/openai/{path:path}`, matched without allocation.
//!
//! A variable takes one segment that is not empty, `{name:path}` any number of them, slashes included. Paths are matched as the
//! application matches them: decoded, with case, and with the slash at their end.

/// A pattern, parsed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// What each path begins with that fits: most of those that don't are told apart by it at a glance.
    stem: String,
    /// What comes before the rest, or everything.
    before: Vec<Segment>,
    rest: Option<Rest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Variable(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rest {
    name: String,
    after: Vec<Segment>,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let relative = text.strip_prefix('/').ok_or("a path begins with a slash")?;
        let mut pattern = Self {
            stem: String::new(),
            before: Vec::new(),
            rest: None,
        };
        for piece in relative.split('/') {
            let inner = piece.strip_prefix('{').and_then(|piece| piece.strip_suffix('}'));
            let segment = match inner {
                Some(name) => match (name.strip_suffix(":path"), &pattern.rest) {
                    (Some(name), None) => {
                        pattern.rest = Some(Rest {
                            name: name.to_owned(),
                            after: Vec::new(),
                        });
                        continue;
                    }
                    (Some(_), Some(_)) => return Err("a path has one part of any length at most".to_owned()),
                    (None, _) => Segment::Variable(name.to_owned()),
                },
                None if piece.contains(['{', '}']) => return Err(format!("`{piece}` is neither a variable nor none")),
                None => Segment::Literal(piece.to_owned()),
            };
            match &mut pattern.rest {
                Some(rest) => rest.after.push(segment),
                None => pattern.before.push(segment),
            }
        }
        Ok(pattern.with_stem())
    }

    /// Everything below a path: what is mounted there answers for it.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub(crate) fn mounted(text: &str) -> Result<Self, String> {
        Self::parse(&format!("{}/{{path:path}}", text.trim_end_matches('/')))
    }

    /// The same with a slash at the end, or without: the application sends its callers from the one to the other.
    pub(crate) fn with_other_end(&self) -> Option<Self> {
        let is_slash = |segment: &Segment| matches!(segment, Segment::Literal(text) if text.is_empty());
        let mut other = self.clone();
        let last = match &mut other.rest {
            Some(rest) if rest.after.is_empty() => return None,
            Some(rest) => &mut rest.after,
            None => &mut other.before,
        };
        if last.last().is_some_and(is_slash) {
            last.pop();
        } else {
            last.push(Segment::Literal(String::new()));
        }
        (!other.before.is_empty()).then(|| other.with_stem())
    }

    fn with_stem(mut self) -> Self {
        self.stem.clear();
        for segment in &self.before {
            self.stem.push('/');
            match segment {
                Segment::Literal(text) => self.stem.push_str(text),
                Segment::Variable(_) => break,
            }
        }
        self
    }

    /// How many segments a path must have, and whether it may have more.
    pub(crate) fn segments(&self) -> (usize, bool) {
        match &self.rest {
            None => (self.before.len(), false),
            Some(rest) => (self.before.len() + 1 + rest.after.len(), true),
        }
    }

    /// Whether there is a variable of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        let after = self.rest.iter().flat_map(|rest| &rest.after);
        let is_it = |segment: &Segment| matches!(segment, Segment::Variable(own) if own == name);
        self.before.iter().chain(after).any(is_it) || self.rest.as_ref().is_some_and(|rest| rest.name == name)
    }

    /// Whether a path fits.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.bind(path, &mut |_, _| {})
    }

    /// What a variable stands for in a path that fits.
    pub(crate) fn value<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let mut found = None;
        let fits = self.bind(path, &mut |own, value| {
            if own == name {
                found = Some(value);
            }
        });
        found.filter(|_| fits)
    }

    fn bind<'p>(&self, path: &'p str, take: &mut dyn FnMut(&str, &'p str)) -> bool {
        if !path.starts_with(&self.stem) {
            return false;
        }
        let Some(mut left) = path.strip_prefix('/').map(Some) else {
            return false;
        };
        for segment in &self.before {
            let Some(text) = left else {
                return false;
            };
            let (piece, after) = match text.split_once('/') {
                Some((piece, after)) => (piece, Some(after)),
                None => (text, None),
            };
            if !segment.takes(piece, take) {
                return false;
            }
            left = after;
        }
        match (&self.rest, left) {
            (None, left) => left.is_none(),
            (Some(_), None) => false,
            (Some(rest), Some(mut text)) => {
                for segment in rest.after.iter().rev() {
                    let Some((before, piece)) = text.rsplit_once('/') else {
                        return false;
                    };
                    if !segment.takes(piece, take) {
                        return false;
                    }
                    text = before;
                }
                take(&rest.name, text);
                true
            }
        }
    }
}

impl Segment {
    fn takes<'p>(&self, piece: &'p str, take: &mut dyn FnMut(&str, &'p str)) -> bool {
        match self {
            Self::Literal(text) => text == piece,
            Self::Variable(_) if piece.is_empty() => false,
            Self::Variable(name) => {
                take(name, piece);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
        let pattern = Pattern::parse(pattern).unwrap();
        pattern.matches(path).then(|| pattern.value(path, "x").unwrap_or("-"))
    }

    #[test]
    fn a_variable_takes_one_segment_and_a_path_takes_any_number() {
        assert_eq!(value("/a/{x}", "/a/1"), Some("1"));
        for path in ["/a", "/a/", "/a/1/", "/a/1/2", "/A/1", "a/1", ""] {
            assert_eq!(value("/a/{x}", path), None, "{path}");
        }
        assert_eq!(value("/a/{x:path}", "/a/1/2/"), Some("1/2/"));
        assert_eq!(value("/a/{x:path}", "/a/"), Some(""));
        assert_eq!(value("/a/{x:path}", "/a"), None);
        assert_eq!(value("/a/{x:path}/stop", "/a/1/2/stop"), Some("1/2"));
        assert_eq!(value("/a/{x:path}/stop", "/a/stop"), None);
        assert_eq!(value("/a/", "/a/"), Some("-"));
        assert_eq!(value("/a/", "/a"), None);
        assert_eq!(value("/a/b/{x}/c", "/a/b/1/c"), Some("1"));
        for path in ["/a/bb/1/c", "/a/b1/c", "/a/b/1/cc", "/a/b//c"] {
            assert_eq!(value("/a/b/{x}/c", path), None, "{path}");
        }
    }

    #[test]
    fn the_other_end_is_the_same_path_with_a_slash_or_without() {
        let other = |text: &str| Pattern::parse(text).unwrap().with_other_end();
        assert!(other("/a/{x}").unwrap().matches("/a/1/"));
        assert!(other("/a/").unwrap().matches("/a"));
        assert_eq!(other("/a/{x:path}"), None);
        assert_eq!(other("/"), None);
    }
}
