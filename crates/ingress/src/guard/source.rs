//! Where a rule finds the ids that it asks about: `path:id`, `query:id`, `body:/filter_ids/*`, `command:command`.

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
            _ => Err(format!("`{kind}` is none of path, command, query, body")),
        }
    }

    /// The variable of the path that it needs.
    pub(crate) fn variable(&self) -> Option<&str> {
        match self {
            Self::Path(name) | Self::Command(name) => Some(name),
            Self::Query(_) | Self::Body(_) => None,
        }
    }

    /// The place in the body.
    pub(crate) fn pointer(&self) -> Option<&Pointer> {
        match self {
            Self::Body(pointer) => Some(pointer),
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
