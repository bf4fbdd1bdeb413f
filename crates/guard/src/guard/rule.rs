//! What is asked before a request is let through: the rule of a route, read from its line in `flavours/routes/`.
//!
//! A rule names what is checked, with which action, and where the id comes from; who decides is `rbac`, for users and groups
//! `people`. Knows nothing of requests.

use std::{fmt, sync::Arc};

use neverstale_rbac::{Action, ResourceType};
use serde::Deserialize;

use crate::guard::source::{Source, Step};

/// What a route asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing: it is for everybody.
    Open,
    /// Nothing: what the application checks by itself is enough.
    Application,
    /// A role.
    Allow(Allow),
    /// A right to each thing that the request names.
    Check(Vec<Check>),
    /// That the answer lists only what the caller has a right to.
    List(Arc<ListRule>),
}

/// A role that is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Allow {
    /// Whoever is signed in and not pending.
    SignedIn,
    /// Admins.
    Admins,
    /// Super admins.
    SuperAdmins,
}

/// Something that is done besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Task {
    /// Autocompletion, which can be off for all.
    Autocompletion,
    /// A title.
    Title,
    /// A chat, in whose course a title may be made.
    Chat,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Something of which `rbac` knows.
    Resource(ResourceType),
    /// A user: admins are administered by themselves and by super admins.
    User,
    /// A group: it is administered by its owner and by super admins.
    Group,
}

/// A right that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) action: Action,
    pub(crate) of: Of,
    pub(crate) id: Source,
    /// Of a pipeline: the index of its server.
    pub(crate) server: Option<Source>,
    /// Whether what the database does not know is left to the application.
    pub(crate) is_if_known: bool,
    /// Whether the request must name something: otherwise the application would take it from what is stored.
    pub(crate) is_required: bool,
}

/// How an answer is filtered: each element of an array is kept if the caller has a right to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListRule {
    /// The right; its pointer leads to the element's id.
    pub(crate) check: Check,
    /// Names on the way to the array.
    pub(crate) array: Vec<String>,
    /// The member of an element that is its id.
    pub(crate) id: String,
    /// Members that are emptied unless the caller may read the valves.
    pub(crate) hide: Vec<String>,
}

impl Check {
    /// Parses `ACTION TYPE PLACE`, `ACTION pipeline PLACE@PLACE`, each perhaps with ` if-known` and ` required` behind it.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (text, is_required) = match text.strip_suffix(" required") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (text, is_if_known) = match text.strip_suffix(" if-known") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let words: Vec<&str> = text.split(' ').collect();
        let [action, of, place] = words[..] else {
            return Err(format!("`{text}` is not `ACTION TYPE PLACE`"));
        };
        let (id, server) = match place.split_once('@') {
            Some((id, server)) => (id, Some(Source::parse(server)?)),
            None => (place, None),
        };
        let of = match of {
            "user" => Of::User,
            "group" => Of::Group,
            of => Of::Resource(of.parse().map_err(|error| format!("{error}"))?),
        };
        if (of == Of::Resource(ResourceType::Pipeline)) != server.is_some() {
            return Err("a pipeline, and nothing else, is named by its id and `@` its server's index".to_owned());
        }
        Ok(Self {
            action: action.parse().map_err(|error| format!("{error}"))?,
            of,
            id: Source::parse(id)?,
            server,
            is_if_known,
            is_required,
        })
    }

    /// All places that it looks at.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        std::iter::once(&self.id).chain(&self.server)
    }
}

impl ListRule {
    /// Reads a check whose pointer leads into an array of the answer.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(text: &str, hide: Vec<String>) -> Result<Self, String> {
        let check = Check::parse(text)?;
        let steps = check.id.pointer().map_or(&[][..], |pointer| &pointer.0);
        let [way @ .., Step::Each, Step::Member(id)] = steps else {
            return Err("a list is named by the place of its elements' ids, as in `body:/data/*/id`".to_owned());
        };
        let array = way.iter().map(|step| match step {
            Step::Member(name) => Ok(name.clone()),
            Step::Each => Err("a list is one array".to_owned()),
        });
        Ok(Self {
            array: array.collect::<Result<_, _>>()?,
            id: id.clone(),
            check: check.clone(),
            hide,
        })
    }
}

impl Of {
    /// The name that rules give it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Resource(kind) => kind.name(),
            Self::User => "user",
            Self::Group => "group",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.action, self.of.name(), self.id)?;
        if let Some(server) = &self.server {
            write!(formatter, "@{server}")?;
        }
        if self.is_if_known {
            formatter.write_str(" if-known")?;
        }
        if self.is_required {
            formatter.write_str(" required")?;
        }
        Ok(())
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SignedIn => "signed-in",
            Self::Admins => "admins",
            Self::SuperAdmins => "super-admins",
        })
    }
}
