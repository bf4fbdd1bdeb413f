//! Turns the path of a `PATCH` into a write of the flavour, and into the read that gives what it changes.

use smallvec::SmallVec;

use super::{KEY_BYTES_MAX, Read, Router, decode, malformed};
use crate::error::RouteError;
use crate::model::Write;

/// What a path that takes writes names: which write, and the values of the path's variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteTarget<'f> {
    /// The write.
    pub write: &'f Write,
    /// Values of the path's variables, decoded, in order.
    pub variables: SmallVec<[String; 2]>,
}

impl Router {
    /// Finds the write that a path takes; none where it takes no writes.
    ///
    /// # Errors
    /// The path is badly filled.
    pub fn write(&self, path: &str) -> Option<Result<WriteTarget<'_>, RouteError>> {
        let mut values: SmallVec<[&str; 4]> = SmallVec::new();
        let write = self.flavour.writes.iter().find(|write| {
            values.clear();
            write.path.matches(path, |value| values.push(value))
        })?;
        let variables = values.iter().map(|value| decode(value)).collect::<Result<_, _>>();
        Some(variables.map(|variables| WriteTarget { write, variables }))
    }

    /// The read that gives what a write changes at `path`, a path as a body names it.
    ///
    /// # Errors
    /// The path can't be one.
    pub fn read_of_write(&self, target: &WriteTarget<'_>, path: &str) -> Result<Read, RouteError> {
        if path.is_empty() || path.len() > KEY_BYTES_MAX || path.contains('\0') {
            let reason = format!("path is not a text of 1 to {KEY_BYTES_MAX} bytes without NUL");
            return Err(malformed(reason));
        }
        let view = self.flavour.view(target.write.view);
        let value_of = |name: &str| match target.write.path.variables().position(|variable| variable == name) {
            Some(place) => target.variables[place].as_str(),
            None => path,
        };
        let values: SmallVec<[&str; 2]> = view.path_variables().map(value_of).collect();
        let read = self.read_of(&view.name, "", &values);
        Ok(read.expect("the loader checked the view's variables"))
    }
}
