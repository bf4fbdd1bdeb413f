//! Views of a flavour file: names, paths, parameters, and the SQL, which `check` judges.

use toml::Spanned;

use super::Loader;
use super::raw::RawView;
use crate::check::{self, Keeping};
use crate::error::FlavourError;
use crate::model::{FlavourOption, Param, PathPattern, Table, View};
use crate::router::canonical_json;

impl Loader<'_> {
    pub(super) fn views(
        &self,
        raw: &[RawView],
        tables: &[Table],
        options: &[FlavourOption],
    ) -> Result<Vec<View>, FlavourError> {
        let mut views: Vec<View> = Vec::new();
        for view in raw {
            let name = view.name.get_ref();
            if name.is_empty()
                || !name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            {
                return Err(self.at(
                    &view.name,
                    format!("`{name}` is no name for a view"),
                    "use small letters, digits and dashes",
                ));
            }
            if views.iter().any(|other| other.name == *name) {
                return Err(self.at(
                    &view.name,
                    format!("view `{name}` is declared twice"),
                    "give each view its own name",
                ));
            }
            let params = view
                .params
                .iter()
                .map(|param| self.param(param, options))
                .collect::<Result<Vec<_>, _>>()?;
            let path = view
                .path
                .as_ref()
                .map(|path| self.path(path, &params, &views))
                .transpose()?;
            if let Some(path) = view.path.as_ref().filter(|_| !view.kept) {
                return Err(self.at(
                    path,
                    "answers that are not kept are under no path".to_owned(),
                    "leave out `path`, or `kept = false`",
                ));
            }
            let keeping = if view.kept { Keeping::Kept } else { Keeping::Straight };
            let findings = check::check(view.sql.get_ref(), params.len(), tables, keeping).map_err(|refusal| {
                let line = self.sql_line(view.sql.span().start) + refusal.line - 1;
                FlavourError {
                    file: self.file.to_owned(),
                    line,
                    reason: format!("view `{name}`: {}", refusal.reason),
                    next_step: refusal.next_step,
                }
            })?;
            views.push(View {
                name: name.clone(),
                path,
                params,
                secret: view.secret,
                kept: view.kept,
                sql: view.sql.get_ref().clone(),
                tables: findings.columns.into_keys().collect(),
                unwatched: findings.unwatched,
                timed: findings.is_timed,
            });
        }
        Ok(views)
    }

    fn path(&self, path: &Spanned<String>, params: &[Param], views: &[View]) -> Result<PathPattern, FlavourError> {
        let pattern = PathPattern::parse(path.get_ref()).map_err(|reason| {
            self.at(
                path,
                reason,
                "write /v1/literal/{variable}, with {rest...} at most at the end",
            )
        })?;
        if !path.get_ref().starts_with("/v1/") {
            return Err(self.at(
                path,
                format!("path `{pattern}` is outside of /v1/"),
                "begin it with /v1/",
            ));
        }
        if let Some(other) = views.iter().find(|view| {
            view.path
                .as_ref()
                .is_some_and(|other| other.is_ambiguous_with(&pattern))
        }) {
            return Err(self.at(
                path,
                format!(
                    "path `{pattern}` catches the same requests as that of view `{}`",
                    other.name
                ),
                "change one of them",
            ));
        }
        let used = |name: &str| params.iter().any(|param| *param == Param::Path(name.to_owned()));
        if let Some(name) = pattern.variables().find(|name| !used(name)) {
            return Err(self.at(
                path,
                format!("the path's variable `{name}` is no parameter"),
                format!("add \"{{{name}}}\" to `params`"),
            ));
        }
        let missing = params.iter().find_map(|param| match param {
            Param::Path(name) if !pattern.variables().any(|variable| variable == name) => Some(name),
            _ => None,
        });
        match missing {
            Some(name) => Err(self.at(
                path,
                format!("parameter `{{{name}}}` is not in the path"),
                "add it to the path",
            )),
            None => Ok(pattern),
        }
    }

    fn param(&self, param: &Spanned<String>, options: &[FlavourOption]) -> Result<Param, FlavourError> {
        let text = param.get_ref();
        if text == "settings" {
            return Ok(Param::Settings);
        }
        if let Some(name) = text.strip_prefix("option:") {
            return if options.iter().any(|option| option.name == name) {
                Ok(Param::Option(name.to_owned()))
            } else {
                Err(self.at(
                    param,
                    format!("there is no option `{name}`"),
                    format!("declare [options.{name}]"),
                ))
            };
        }
        if let Some((name, default)) = text.strip_prefix('?').and_then(|query| query.split_once('=')) {
            let default = canonical_json(default).map_err(|reason| {
                self.at(
                    param,
                    format!("the default of `{name}` is not JSON: {reason}"),
                    "write \"?name=<json>\"",
                )
            })?;
            return Ok(Param::Query {
                name: name.to_owned(),
                default,
            });
        }
        match text.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !name.is_empty() => Ok(Param::Path(name.to_owned())),
            _ => Err(self.at(
                param,
                format!("parameter `{text}` is not understood"),
                "write \"{name}\", \"?name=<json>\", \"option:NAME\" or \"settings\"",
            )),
        }
    }

    /// The line on which a string's text begins: the next one, if the opening quotes end their line.
    pub(super) fn sql_line(&self, at: usize) -> usize {
        let opens_on_next = ["'''\n", "\"\"\"\n", "'''\r\n", "\"\"\"\r\n"]
            .iter()
            .any(|opening| self.text[at..].starts_with(opening));
        self.line(at) + usize::from(opens_on_next)
    }
}
