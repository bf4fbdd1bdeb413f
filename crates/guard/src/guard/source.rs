//! Where a rule finds the ids that it asks about: `path:id`, `query:id`, `body:/filter_ids/*`, `mentions:/content`, `command:command`.

use std::fmt;

/// A place in a request, or in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A variable of the path.
    Path(String),
    /// A variable of the path, to which a slash is put in front: how prompts before 0.12 are named.
    Command(String),
    /// A parameter of the query.
    Query(String),
    /// A place in a JSON document.
    Body(Pointer),
    /// The models that a text in a JSON document mentions, as `<@M:id|name>`.
    Mentions(Pointer),
}

/// A place in a JSON document, or many: `*` is each element of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer(pub(crate) Vec<Step>);

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The member of that name.
    Member(String),
    /// Each element.
    Each,
}

impl Source {
    /// Parses one.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (kind, place) = text
            .split_once(':')
            .ok_or_else(|| format!("`{text}` does not say where, as in `path:id`"))?;
        match kind {
            "path" => Ok(Self::Path(place.to_owned())),
            "command" => Ok(Self::Command(place.to_owned())),
            "query" => Ok(Self::Query(place.to_owned())),
            "body" => Pointer::parse(place).map(Self::Body),
            "mentions" => Pointer::parse(place).map(Self::Mentions),
            _ => Err(format!("`{kind}` is none of path, command, query, body, mentions")),
        }
    }

    /// The variable of the path that it needs.
    pub(crate) fn variable(&self) -> Option<&str> {
        match self {
            Self::Path(name) | Self::Command(name) => Some(name),
            Self::Query(_) | Self::Body(_) | Self::Mentions(_) => None,
        }
    }

    /// The place in the body.
    pub(crate) fn pointer(&self) -> Option<&Pointer> {
        match self {
            Self::Body(pointer) | Self::Mentions(pointer) => Some(pointer),
            _ => None,
        }
    }
}

impl Pointer {
    fn parse(text: &str) -> Result<Self, String> {
        let steps = text.strip_prefix('/').ok_or("a place in a body begins with a slash")?;
        let step = |step: &str| match step {
            "*" => Step::Each,
            name => Step::Member(name.to_owned()),
        };
        Ok(Self(steps.split('/').map(step).collect()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(name) => write!(formatter, "path:{name}"),
            Self::Command(name) => write!(formatter, "command:{name}"),
            Self::Query(name) => write!(formatter, "query:{name}"),
            Self::Body(pointer) => write!(formatter, "body:{pointer}"),
            Self::Mentions(pointer) => write!(formatter, "mentions:{pointer}"),
        }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| match step {
            Step::Member(name) => write!(formatter, "/{name}"),
            Step::Each => formatter.write_str("/*"),
        })
    }
}

/// The models that a text mentions: all that any release of the application could read out of it.
pub(crate) fn mentioned(text: &str) -> impl Iterator<Item = &str> {
    let begins = text.match_indices("<@M:").map(|(at, begin)| &text[at + begin.len()..]);
    begins.map(|after| after.split(['|', '>']).next().unwrap_or(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_could_be_read_as_a_mention_is_one() {
        let all = |text| mentioned(text).collect::<Vec<_>>();
        assert_eq!(all("hello <@M:m.1|M> and <@M:n>, <@U:u|you>"), ["m.1", "n"]);
        // 0.6 asks for no end, and 0.12 lets one begin within another.
        assert_eq!(all("<@M:m"), ["m"]);
        assert_eq!(all("<@U:x<@M:m|>"), ["m"]);
        assert_eq!(all("<@M:a<@M:b>"), ["a<@M:b", "b"]);
        assert_eq!(all("m, @M:m, <@m:m>"), [""; 0]);
    }
}
