//! Turns a request's path into a read: which view, with which parameters, under which cache key.
//!
//! First step of every read. Decodes, checks and encodes again, so that every spelling of one question has one key; knows nothing of levels,
//! methods or tokens. No regular expressions, and nothing is allocated but the read itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use crate::error::{RouteError, UnknownOption};
use crate::model::{Flavour, Param, ViewId};
use crate::path::PathPattern;

mod writes;

pub use writes::WriteTarget;

/// The longest value of a path variable or of a query parameter, and the longest cache key.
pub(crate) const KEY_BYTES_MAX: usize = 1_024;

/// Paths of the HTTP contract that a flavour may lack.
pub(crate) const CONTRACT_PATHS: [&str; 13] = [
    "/v1/users/{id}",
    "/v1/users/by-email/{email}",
    "/v1/users/{id}/role",
    "/v1/users/{id}/groups",
    "/v1/users/{id}/permissions",
    "/v1/users/{id}/settings",
    "/v1/users/{id}/settings/{path...}",
    "/v1/users/{id}/own-settings/{path...}",
    "/v1/users/{id}/virtual-keys",
    "/v1/users/{id}/virtual-keys/{path...}",
    "/v1/config",
    "/v1/config/{path...}",
    "/v1/views/{view}/{key...}",
];

/// One read, as routed from a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The view that answers.
    pub view: ViewId,
    /// Canonical path and query, encoded again: the cache key.
    pub key: Box<str>,
    /// Values of the view's parameters, in order, all text.
    pub params: SmallVec<[String; 2]>,
}

/// Routes paths to the views of one flavour. Cheap to share, never changes.
#[derive(Debug)]
pub struct Router {
    flavour: Arc<Flavour>,
    /// Views with a path, most specific first.
    routes: Vec<ViewId>,
    contract: Vec<PathPattern>,
    /// Values that no caller chooses, per view and parameter; `None` where the caller does.
    fixed: Vec<Vec<Option<String>>>,
}

impl Router {
    /// Prepares the routes of a flavour with the operator's options.
    ///
    /// # Errors
    /// An option that the flavour does not have.
    pub fn new(flavour: Arc<Flavour>, options: &BTreeMap<String, String>) -> Result<Self, UnknownOption> {
        if let Some(option) = options
            .keys()
            .find(|name| !flavour.options.iter().any(|known| known.name == **name))
        {
            let known = flavour
                .options
                .iter()
                .map(|option| option.name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            return Err(UnknownOption {
                flavour: flavour.name.clone(),
                option: option.clone(),
                known,
            });
        }
        let mut routes: Vec<ViewId> = (0..flavour.views.len() as u16).map(ViewId).collect();
        routes.retain(|view| flavour.view(*view).path.is_some());
        routes.sort_by_key(|view| flavour.view(*view).path.as_ref().map(PathPattern::specificity));
        let values: BTreeMap<&str, &str> = flavour.option_values(options).collect();
        let catalogue = flavour.settings_catalogue();
        let fixed = |param: &Param| match param {
            Param::Path(_) | Param::Query { .. } => None,
            Param::Option(name) => Some(values.get(name.as_str()).copied().unwrap_or_default().to_owned()),
            Param::Settings => Some(catalogue.clone()),
        };
        let fixed = flavour
            .views
            .iter()
            .map(|view| view.params.iter().map(fixed).collect())
            .collect();
        let contract = CONTRACT_PATHS
            .iter()
            .map(|path| PathPattern::parse(path).expect("a pattern of the list above"))
            .collect();
        Ok(Self {
            flavour,
            routes,
            contract,
            fixed,
        })
    }

    /// The flavour whose views this router knows.
    pub fn flavour(&self) -> &Arc<Flavour> {
        &self.flavour
    }

    /// Routes a path with its query, as a request line carries it.
    ///
    /// # Errors
    /// [`RouteError`]: not a path of the contract, not served by this flavour, or badly filled.
    pub fn route(&self, path_and_query: &str) -> Result<Read, RouteError> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let mut values: SmallVec<[&str; 4]> = SmallVec::new();
        for view in &self.routes {
            let pattern = self
                .flavour
                .view(*view)
                .path
                .as_ref()
                .expect("only views with a path are routes");
            values.clear();
            if pattern.matches(path, |value| values.push(value)) {
                return self.bind(*view, pattern, &values, query);
            }
        }
        if let Some((name, value)) = path.strip_prefix("/v1/views/").and_then(|rest| rest.split_once('/'))
            && !value.is_empty()
        {
            return self.route_by_name(name, value, query);
        }
        let is_contract = self.contract.iter().any(|pattern| pattern.matches(path, |_| ()));
        Err(if is_contract {
            RouteError::NotInThisSchema
        } else {
            RouteError::UnknownPath
        })
    }

    /// Makes a read of a named view from values that did not come from a path: API keys and sessions. The caller chooses the cache key, so that a
    /// secret never becomes one. `params` fill the path variables in order; query parameters take their defaults. `None` if there is no such view or the
    /// number of values does not fit.
    pub fn read_of(&self, view_name: &str, key: &str, params: &[&str]) -> Option<Read> {
        let id = self.flavour.view_named(view_name)?;
        let view = self.flavour.view(id);
        let names: SmallVec<[&str; 2]> = view.path_variables().collect();
        if names.len() != params.len() {
            return None;
        }
        let filled = view
            .params
            .iter()
            .zip(&self.fixed[usize::from(id.0)])
            .map(|(param, fixed)| match param {
                Param::Path(name) => {
                    let index = names
                        .iter()
                        .position(|known| known == name)
                        .expect("names are the view's own");
                    params[index].to_owned()
                }
                Param::Query { default, .. } => default.clone(),
                Param::Option(_) | Param::Settings => fixed.clone().unwrap_or_default(),
            });
        Some(Read {
            view: id,
            key: key.into(),
            params: filled.collect(),
        })
    }

    fn route_by_name(&self, name: &str, value: &str, query: &str) -> Result<Read, RouteError> {
        let name = decode(name)?;
        let id = self.flavour.view_named(&name).ok_or(RouteError::NotInThisSchema)?;
        let view = self.flavour.view(id);
        let is_session_view = self
            .flavour
            .session
            .as_ref()
            .is_some_and(|session| session.view == view.name);
        // API keys and sessions are resolved by POST alone: a key in a path would end in somebody's access log.
        if view.name == API_KEY_VIEW || is_session_view || !view.kept || view.path_variables().count() != 1 {
            return Err(RouteError::NotInThisSchema);
        }
        match &view.path {
            Some(pattern) => self.bind(id, pattern, &[value], query),
            None => self.bind_by_name(id, &name, value, query),
        }
    }

    fn bind(&self, id: ViewId, pattern: &PathPattern, values: &[&str], query: &str) -> Result<Read, RouteError> {
        let mut decoded: SmallVec<[String; 2]> = SmallVec::new();
        for value in values {
            decoded.push(decode(value)?);
        }
        let mut key = String::with_capacity(64);
        let mut next = decoded.iter();
        for segment in pattern.segments() {
            key.push('/');
            match segment {
                crate::path::Segment::Literal(text) => key.push_str(text),
                crate::path::Segment::Variable(_) => {
                    encode_into(&mut key, next.next().expect("one value per variable"), false);
                }
                crate::path::Segment::Rest(_) => {
                    encode_into(&mut key, next.next().expect("one value per variable"), true);
                }
            }
        }
        let variables: SmallVec<[&str; 2]> = pattern.variables().collect();
        self.finish(id, key, &variables, &decoded, query)
    }

    fn bind_by_name(&self, id: ViewId, name: &str, value: &str, query: &str) -> Result<Read, RouteError> {
        let value = decode(value)?;
        let mut key = format!("/v1/views/{name}/");
        encode_into(&mut key, &value, true);
        let variables: SmallVec<[&str; 2]> = self.flavour.view(id).path_variables().collect();
        let mut decoded: SmallVec<[String; 2]> = SmallVec::new();
        decoded.push(value);
        self.finish(id, key, &variables, &decoded, query)
    }

    fn finish(
        &self,
        id: ViewId,
        mut key: String,
        names: &[&str],
        values: &[String],
        query: &str,
    ) -> Result<Read, RouteError> {
        let view = self.flavour.view(id);
        let given = parse_query(query, &view.params)?;
        let mut separator = '?';
        let mut params: SmallVec<[String; 2]> = SmallVec::new();
        for (param, fixed) in view.params.iter().zip(&self.fixed[usize::from(id.0)]) {
            params.push(match param {
                Param::Path(name) => {
                    let index = names
                        .iter()
                        .position(|known| known == name)
                        .expect("the loader checked the variables");
                    values[index].clone()
                }
                Param::Query { name, default } => {
                    let value = given
                        .iter()
                        .find(|(given, _)| given == name)
                        .map_or(default, |(_, value)| value);
                    if value != default {
                        key.push(separator);
                        separator = '&';
                        key.push_str(name);
                        key.push('=');
                        encode_into(&mut key, value, false);
                    }
                    value.clone()
                }
                Param::Option(_) | Param::Settings => fixed.clone().unwrap_or_default(),
            });
        }
        Ok(Read {
            view: id,
            key: key.into(),
            params,
        })
    }
}

/// The view behind `POST /v1/api-keys/resolve`.
pub(crate) const API_KEY_VIEW: &str = "api-key";

fn malformed(reason: impl Into<String>) -> RouteError {
    RouteError::Malformed(reason.into())
}

/// Percent-decodes one value and refuses what Postgres or a cache key can't hold.
fn decode(encoded: &str) -> Result<String, RouteError> {
    let bytes = encoded.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        let hex = |offset: usize| bytes.get(index + offset).is_some_and(u8::is_ascii_hexdigit);
        if *byte == b'%' && !(hex(1) && hex(2)) {
            return Err(malformed("a percent sign is not followed by two hex digits"));
        }
    }
    let value = percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_| malformed("the path is not UTF-8"))?;
    if value.len() > KEY_BYTES_MAX {
        return Err(malformed(format!("a value is longer than {KEY_BYTES_MAX} bytes")));
    }
    if value.contains('\0') {
        return Err(malformed("a value contains a NUL byte"));
    }
    Ok(value.into_owned())
}

/// Appends a value in its canonical encoding: RFC 3986's unreserved characters stay, all else is `%XX`; slashes stay only in a rest.
fn encode_into(key: &mut String, value: &str, keeps_slashes: bool) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => key.push(char::from(byte)),
            b'/' if keeps_slashes => key.push('/'),
            _ => write!(key, "%{byte:02X}").expect("writing to a string never fails"),
        }
    }
}

/// Reads the query string: known names, each at most once, values canonical compact JSON.
fn parse_query<'q>(query: &'q str, params: &[Param]) -> Result<SmallVec<[(&'q str, String); 1]>, RouteError> {
    let mut given: SmallVec<[(&str, String); 1]> = SmallVec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| malformed("a query parameter has no value"))?;
        let is_known = params
            .iter()
            .any(|param| matches!(param, Param::Query { name: known, .. } if known == name));
        if !is_known {
            return Err(malformed("unknown query parameter"));
        }
        if given.iter().any(|(earlier, _)| *earlier == name) {
            return Err(malformed(format!("query parameter `{name}` is given twice")));
        }
        let value = decode(&value.replace('+', "%20"))?;
        let json = canonical_json(&value)
            .map_err(|reason| malformed(format!("query parameter `{name}` is not JSON: {reason}")))?;
        given.push((name, json));
    }
    Ok(given)
}

/// Says whether Postgres can hold a JSON text, within what a reader of it can take.
///
/// # Errors
/// Why it can't.
pub fn check_json(text: &str) -> Result<(), String> {
    canonical_json(text).map(drop)
}

/// JSON in its one compact spelling; refuses `\u0000`, which Postgres can't hold.
pub(crate) fn canonical_json(text: &str) -> Result<String, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let compact = value.to_string();
    if compact.contains("\\u0000") {
        return Err("it contains a NUL character".to_owned());
    }
    Ok(compact)
}

#[cfg(test)]
mod tests;
