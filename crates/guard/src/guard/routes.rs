//! The routes of an application and their rules, from a file of `flavours/routes/`, and which of them a request takes.
//!
//! Routes are tried in the order of the file, which is the application's own: it takes the first that fits. Compiled once; a look-up
//! allocates nothing. What no route takes is unknown, and where the file says so, guarded.

use std::sync::Arc;

use http::Method;
use serde::Deserialize;

use crate::guard::{
    answers::Answers,
    pattern::Pattern,
    rule::{Allow, Check, ListRule, Rule, Task},
    source::Source,
};

/// Paths with more segments than this are looked up with those that have as many.
const SEGMENTS_MAX: usize = 16;

/// All routes of a release of the application.
#[derive(Debug)]
pub struct Routes {
    /// The application's own answers.
    pub(crate) answers: Answers,
    guarded: Vec<String>,
    all: Vec<Route>,
    /// By method and number of segments: indexes of `all`, in order.
    exact: Buckets,
    /// The same for paths with the other end.
    other: Buckets,
}

/// A route and its rule.
#[derive(Debug)]
pub(crate) struct Route {
    /// `METHOD path`, as in the file.
    pub(crate) on: String,
    pub(crate) rule: Rule,
    pub(crate) task: Option<Task>,
    pattern: Pattern,
    other: Option<Pattern>,
}

/// What a request takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taken<'r> {
    /// A route.
    Route(&'r Route),
    /// None, below a path whose unknown routes are shut.
    UnknownAndGuarded,
    /// None.
    Unknown,
}

/// A file of routes that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    /// It is not TOML of this shape.
    #[error("the routes are not what they must be")]
    Shape(#[source] Box<toml::de::Error>),
    /// A line is wrong.
    #[error("route `{on}`: {reason}")]
    Route {
        /// The line's `on`.
        on: String,
        /// Why.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    guarded: Vec<String>,
    route: Vec<Line>,
    answers: Answers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    on: String,
    open: Option<String>,
    application: Option<String>,
    allow: Option<Allow>,
    /// Why, for people.
    #[expect(dead_code, reason = "read by people, and written into docs/DOOR-RULES.md")]
    why: Option<String>,
    check: Option<Vec<String>>,
    list: Option<String>,
    #[serde(default)]
    hide: Vec<String>,
    task: Option<Task>,
}

impl Routes {
    /// The routes that come with a flavour.
    pub fn builtin(flavour: &str) -> Option<&'static str> {
        match flavour {
            "openwebui-0.12" => Some(include_str!("../../../../flavours/routes/openwebui-0.12.toml")),
            "openwebui-0.6" => Some(include_str!("../../../../flavours/routes/openwebui-0.6.toml")),
            "naga-0.5.18" => Some(include_str!("../../../../flavours/routes/naga-0.5.18.toml")),
            _ => None,
        }
    }

    /// Reads a file of routes.
    ///
    /// # Errors
    /// [`RoutesError`]: what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, RoutesError> {
        let document: Document = toml::from_str(text).map_err(|error| RoutesError::Shape(Box::new(error)))?;
        let mut routes = Self {
            answers: document.answers,
            guarded: document.guarded,
            all: Vec::with_capacity(document.route.len()),
            exact: Buckets::default(),
            other: Buckets::default(),
        };
        for line in document.route {
            let on = line.on.clone();
            let fail = |reason| RoutesError::Route { on, reason };
            routes.add(line).map_err(fail)?;
        }
        Ok(routes)
    }

    /// The routes as the file names them, `METHOD path`, in its order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|route| route.on.as_str())
    }

    /// Says which route a request takes, by its decoded path.
    pub(crate) fn take(&self, method: &Method, is_upgrade: bool, path: &str) -> Taken<'_> {
        let kinds = Kind::of(method, is_upgrade);
        let found = kinds.iter().flatten().find_map(|kind| {
            let exact = self.first(&self.exact, *kind, path, |route| Some(&route.pattern));
            exact.or_else(|| self.first(&self.other, *kind, path, |route| route.other.as_ref()))
        });
        match found {
            Some(route) => Taken::Route(route),
            None if self.is_guarded(path) => Taken::UnknownAndGuarded,
            None => Taken::Unknown,
        }
    }

    /// Whether unknown routes are shut there.
    fn is_guarded(&self, path: &str) -> bool {
        self.guarded.iter().any(|prefix| path.starts_with(prefix.as_str()))
    }

    fn first(
        &self,
        buckets: &Buckets,
        kind: Kind,
        path: &str,
        pattern: impl Fn(&Route) -> Option<&Pattern>,
    ) -> Option<&Route> {
        let segments = path.bytes().filter(|byte| *byte == b'/').count().min(SEGMENTS_MAX);
        let mut routes = buckets.0[kind as usize][segments].iter().map(|index| &self.all[*index]);
        let found = routes.find(|route| pattern(route).is_some_and(|pattern| pattern.matches(path)));
        // What is mounted takes all that is left: below a guarded path that is an unknown route.
        found.filter(|route| !(route.on == "MOUNT /" && self.is_guarded(path)))
    }

    fn add(&mut self, line: Line) -> Result<(), String> {
        let (method, path) = line.on.split_once(' ').ok_or("this is not `METHOD path`")?;
        let kinds = Kind::named(method).ok_or_else(|| format!("`{method}` is no method"))?;
        let pattern = match method {
            "MOUNT" => Pattern::mounted(path)?,
            _ => Pattern::parse(path)?,
        };
        let route = Route {
            rule: rule(&line)?,
            task: line.task,
            other: pattern.with_other_end(),
            pattern,
            on: line.on,
        };
        for source in route.rule.sources() {
            if let Some(name) = source.variable()
                && !route.pattern.has(name)
            {
                return Err(format!("the path has no variable `{name}`"));
            }
        }
        let index = self.all.len();
        for kind in kinds {
            self.exact.put(kind, &route.pattern, index);
            if let Some(other) = &route.other {
                self.other.put(kind, other, index);
            }
        }
        self.all.push(route);
        Ok(())
    }
}

impl Route {
    /// What a variable of the path stands for.
    pub(crate) fn variable<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let exact = self.pattern.value(path, name);
        exact.or_else(|| self.other.as_ref().and_then(|other| other.value(path, name)))
    }
}

impl Rule {
    /// All places of a request that it looks at.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        let (checks, list) = match self {
            Self::Check(checks) => (checks.as_slice(), None),
            Self::List(list) => (&[][..], list.check.server.as_ref()),
            _ => (&[][..], None),
        };
        checks.iter().flat_map(Check::sources).chain(list)
    }
}

/// Of the ways to say what a route asks, one is used.
fn rule(line: &Line) -> Result<Rule, String> {
    if !line.hide.is_empty() && line.list.is_none() {
        return Err("`hide` belongs to `list`".to_owned());
    }
    let reasons = [&line.open, &line.application];
    if reasons
        .iter()
        .any(|reason| reason.as_ref().is_some_and(String::is_empty))
    {
        return Err("the reason is missing".to_owned());
    }
    match (&line.open, &line.application, line.allow, &line.check, &line.list) {
        (Some(_), None, None, None, None) => Ok(Rule::Open),
        (None, Some(_), None, None, None) => Ok(Rule::Application),
        (None, None, Some(allow), None, None) => Ok(Rule::Allow(allow)),
        (None, None, None, Some(checks), None) if !checks.is_empty() => {
            let checks = checks.iter().map(|check| Check::parse(check));
            Ok(Rule::Check(checks.collect::<Result<_, _>>()?))
        }
        (None, None, None, None, Some(list)) => Ok(Rule::List(Arc::new(ListRule::parse(list, line.hide.clone())?))),
        _ => Err("exactly one of open, application, allow, check, list says what is asked".to_owned()),
    }
}

/// How a request comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    /// Any other method; mounts alone take these.
    Other,
    Websocket,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
        Self::Other,
        Self::Websocket,
    ];

    /// The kinds that a route of that method takes.
    fn named(method: &str) -> Option<Vec<Self>> {
        Some(match method {
            "GET" => vec![Self::Get],
            "HEAD" => vec![Self::Head],
            "POST" => vec![Self::Post],
            "PUT" => vec![Self::Put],
            "PATCH" => vec![Self::Patch],
            "DELETE" => vec![Self::Delete],
            "OPTIONS" => vec![Self::Options],
            "WEBSOCKET" => vec![Self::Websocket],
            "MOUNT" => Self::ALL.to_vec(),
            _ => return None,
        })
    }

    /// What a request may be, in the order in which routes are looked for: the application decides what an upgrade is.
    fn of(method: &Method, is_upgrade: bool) -> [Option<Self>; 2] {
        let kind = match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            _ => Self::Other,
        };
        if is_upgrade && kind == Self::Get {
            [Some(Self::Websocket), Some(kind)]
        } else {
            [Some(kind), None]
        }
    }
}

#[derive(Debug)]
struct Buckets([[Vec<usize>; SEGMENTS_MAX + 1]; Kind::ALL.len()]);

impl Default for Buckets {
    fn default() -> Self {
        Self(std::array::from_fn(|_| std::array::from_fn(|_| Vec::new())))
    }
}

impl Buckets {
    fn put(&mut self, kind: Kind, pattern: &Pattern, index: usize) {
        let (least, has_rest) = pattern.segments();
        let least = least.min(SEGMENTS_MAX);
        let last = if has_rest { SEGMENTS_MAX } else { least };
        for bucket in &mut self.0[kind as usize][least..=last] {
            bucket.push(index);
        }
    }
}

#[cfg(test)]
mod tests;
