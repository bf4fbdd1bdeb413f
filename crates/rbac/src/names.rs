//! The words of a question: actions, types of resources, and a resource by its name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// See it: in lists and by its id.
    Read,
    /// Change or delete it.
    Write,
    /// Use it.
    Execute,
    /// See or set the values it runs with, which may be keys.
    ReadValves,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Execute, Self::ReadValves];

    /// The action's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
            Self::ReadValves => "read-valves",
        }
    }
}

/// What it is done with. Pipes, filters and actions are functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceType {
    /// A pipe, a filter or an action.
    Function,
    /// A tool.
    Tool,
    /// A model.
    Model,
    /// A prompt; it goes by its id, in flavours before 0.12 by its command with the slash.
    Prompt,
    /// A knowledge base.
    Knowledge,
    /// A pipeline, as `<index of its server>:<id>`.
    Pipeline,
}

impl ResourceType {
    /// All types.
    pub const ALL: [Self; 6] = [
        Self::Function,
        Self::Tool,
        Self::Model,
        Self::Prompt,
        Self::Knowledge,
        Self::Pipeline,
    ];

    /// The type's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Tool => "tool",
            Self::Model => "model",
            Self::Prompt => "prompt",
            Self::Knowledge => "knowledge",
            Self::Pipeline => "pipeline",
        }
    }

    /// Whether its grants are kept by us, because the application has none.
    pub const fn is_overlaid(self) -> bool {
        matches!(self, Self::Function | Self::Pipeline)
    }
}

/// A resource, which may or may not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceRef {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// Its id.
    pub id: String,
}

impl ResourceRef {
    /// Names a resource.
    pub fn new(kind: ResourceType, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

/// A word that is none of the known ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not one of {known}")]
pub struct UnknownName {
    word: String,
    known: String,
}

fn named<T: Copy>(word: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, UnknownName> {
    let found = all.iter().copied().find(|one| name(*one) == word);
    found.ok_or_else(|| UnknownName {
        word: word.to_owned(),
        known: all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", "),
    })
}

impl FromStr for Action {
    type Err = UnknownName;

    fn from_str(word: &str) -> Result<Self, UnknownName> {
        named(word, &Self::ALL, Self::name)
    }
}

impl FromStr for ResourceType {
    type Err = UnknownName;

    fn from_str(word: &str) -> Result<Self, UnknownName> {
        named(word, &Self::ALL, Self::name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.id)
    }
}
