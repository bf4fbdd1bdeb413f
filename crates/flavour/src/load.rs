//! From TOML text to a flavour, refusing every mistake with file, line, reason and next step.
//!
//! Unknown keys, names that lead nowhere and SQL whose tags are not complete are all errors here, so that nobody downstream checks again.

use std::collections::BTreeMap;
use std::path::Path;

use crate::check;
use crate::error::FlavourError;
use crate::load::raw::{RawFlavour, RawTable, RawView};
use crate::model::{Detect, Flavour, FlavourOption, Param, PathPattern, SessionRules, Setting, Table, TagRule, View};
use crate::router::canonical_json;

mod raw;

impl Flavour {
    /// Parses and checks a flavour; `file` names it in errors.
    ///
    /// # Errors
    /// The first mistake found.
    pub fn parse(text: &str, file: &str) -> Result<Self, FlavourError> {
        Loader { text, file }.load()
    }

    /// Reads, parses and checks a flavour file.
    ///
    /// # Errors
    /// The first mistake found, or that the file can't be read (line 0).
    pub fn load(path: &Path) -> Result<Self, FlavourError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| FlavourError {
            file: file.clone(),
            line: 0,
            reason: format!("the file can't be read: {error}"),
            next_step: "check the path and its permissions".to_owned(),
        })?;
        Self::parse(&text, &file)
    }
}

struct Loader<'t> {
    text: &'t str,
    file: &'t str,
}

type Spanned<T> = toml::Spanned<T>;

impl Loader<'_> {
    fn load(&self) -> Result<Flavour, FlavourError> {
        let raw: RawFlavour = toml::from_str(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.error(at, error.message().trim().replace('\n', " "), "see an embedded flavour for the keys there are")
        })?;
        let name = raw.name.get_ref();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            return Err(self.at(&raw.name, format!("`{name}` is no name for a flavour"), "use letters, digits, dots and dashes"));
        }
        let detect = self.detect(&raw)?;
        let tables = self.tables(&raw)?;
        let settings = self.settings(&raw)?;
        let options: Vec<FlavourOption> = raw.options.into_iter().map(|(name, option)| FlavourOption { name, default: option.default, help: option.help }).collect();
        let views = self.views(&raw.view, &tables, &options)?;
        let session = match raw.session {
            None => None,
            Some(session) => {
                if !views.iter().any(|view| view.name == *session.view.get_ref() && view.path_variables().count() == 1) {
                    return Err(self.at(&session.view, format!("session view `{}` is no view with one path variable", session.view.get_ref()), "declare it in a [[view]] with params = [\"{id}\"]"));
                }
                Some(SessionRules {
                    algorithm: session.algorithm,
                    id_claim: session.id_claim,
                    stamp_claim: session.stamp_claim,
                    view: session.view.into_inner(),
                    revocation: session.revocation,
                })
            }
        };
        Ok(Flavour { name: raw.name.into_inner(), description: raw.description, detect, tables, views, settings, options, session })
    }

    fn detect(&self, raw: &RawFlavour) -> Result<Detect, FlavourError> {
        let detect = &raw.detect;
        if detect.requires.is_empty() {
            return Err(self.error(0, "`detect.requires` is empty, so every schema would match", "name columns as \"table.column\""));
        }
        for column in detect.requires.iter().chain(&detect.forbids) {
            if column.get_ref().split('.').filter(|part| !part.is_empty()).count() != 2 {
                return Err(self.at(column, format!("`{}` is not of the form table.column", column.get_ref()), "write \"table.column\""));
            }
        }
        let plain = |columns: &[Spanned<String>]| columns.iter().map(|column| column.get_ref().clone()).collect();
        Ok(Detect { requires: plain(&detect.requires), forbids: plain(&detect.forbids) })
    }

    fn tables(&self, raw: &RawFlavour) -> Result<Vec<Table>, FlavourError> {
        let mut tables: Vec<Table> = Vec::new();
        for table in &raw.table {
            let name = table.name.get_ref();
            if tables.iter().any(|other| other.name == *name) {
                return Err(self.at(&table.name, format!("table `{name}` is declared twice"), "put its columns and tags together"));
            }
            if let Some(column) = duplicate(&table.columns) {
                return Err(self.at(column, format!("column `{}` of `{name}` is named twice", column.get_ref()), "name it once"));
            }
            let columns: Vec<String> = table.columns.iter().map(|column| column.get_ref().clone()).collect();
            let mut tags: Vec<TagRule> = Vec::new();
            for rule in &table.tag {
                let is_taken = tags.iter().chain(tables.iter().flat_map(|table| &table.tags)).any(|other| other.name == *rule.name.get_ref());
                if is_taken {
                    return Err(self.at(&rule.name, format!("tag rule `{}` is declared twice", rule.name.get_ref()), "rule names are unique in the flavour"));
                }
                tags.push(self.tag_rule(table, &columns, rule)?);
            }
            tables.push(Table { name: name.clone(), columns, tags });
        }
        Ok(tables)
    }

    fn tag_rule(&self, table: &RawTable, columns: &[String], rule: &raw::RawTagRule) -> Result<TagRule, FlavourError> {
        let name = rule.name.get_ref();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.')) {
            return Err(self.at(&rule.name, format!("`{name}` is no name for a tag rule"), "use small letters, digits, dots and underscores"));
        }
        for column in rule.key.iter().chain(&rule.each).chain(rule.of.iter().flatten()) {
            if !columns.contains(column.get_ref()) {
                let reason = format!("rule `{name}` uses column `{}`, which is not among the watched columns of `{}`", column.get_ref(), table.name.get_ref());
                return Err(self.at(column, reason, "add it to the table's `columns`"));
            }
        }
        if rule.each.is_some() && (!rule.key.is_empty() || rule.lower || rule.hashed) {
            return Err(self.at(&rule.name, format!("rule `{name}` mixes `each` with `key`, `lower` or `hashed`"), "give `each` a rule of its own"));
        }
        if (rule.lower || rule.hashed) && (rule.key.len() != 1 || (rule.lower && rule.hashed)) {
            return Err(self.at(&rule.name, format!("rule `{name}` is `lower` or `hashed`, which takes exactly one key column and not both"), "split the rule"));
        }
        let plain = |columns: &[Spanned<String>]| columns.iter().map(|column| column.get_ref().clone()).collect::<Vec<_>>();
        Ok(TagRule {
            name: name.clone(),
            key: plain(&rule.key),
            each: rule.each.as_ref().map(|column| column.get_ref().clone()),
            lower: rule.lower,
            hashed: rule.hashed,
            of: rule.of.as_deref().map(plain),
        })
    }

    fn settings(&self, raw: &RawFlavour) -> Result<Vec<Setting>, FlavourError> {
        let mut settings: Vec<Setting> = Vec::new();
        for setting in &raw.setting {
            let path = setting.path.get_ref();
            if path.is_empty() || settings.iter().any(|other| other.path == *path) {
                return Err(self.at(&setting.path, format!("setting `{path}` is empty or declared twice"), "declare each path once"));
            }
            let default = match &setting.default {
                None => serde_json::Value::Null,
                Some(default) => serde_json::to_value(default.get_ref()).map_err(|error| self.at(default, format!("the default is no JSON: {error}"), "use text, numbers, booleans, arrays or tables"))?,
            };
            settings.push(Setting { path: path.clone(), default, secret: setting.secret });
        }
        Ok(settings)
    }

    fn views(&self, raw: &[RawView], tables: &[Table], options: &[FlavourOption]) -> Result<Vec<View>, FlavourError> {
        let mut views: Vec<View> = Vec::new();
        for view in raw {
            let name = view.name.get_ref();
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
                return Err(self.at(&view.name, format!("`{name}` is no name for a view"), "use small letters, digits and dashes"));
            }
            if views.iter().any(|other| other.name == *name) {
                return Err(self.at(&view.name, format!("view `{name}` is declared twice"), "give each view its own name"));
            }
            let params = view.params.iter().map(|param| self.param(param, options)).collect::<Result<Vec<_>, _>>()?;
            let path = view.path.as_ref().map(|path| self.path(path, &params, &views)).transpose()?;
            let findings = check::check(view.sql.get_ref(), params.len(), tables).map_err(|refusal| {
                let line = self.sql_line(view.sql.span().start) + refusal.line - 1;
                FlavourError { file: self.file.to_owned(), line, reason: format!("view `{name}`: {}", refusal.reason), next_step: refusal.next_step }
            })?;
            views.push(View {
                name: name.clone(),
                path,
                params,
                secret: view.secret,
                sql: view.sql.get_ref().clone(),
                tables: findings.columns.into_keys().collect(),
                timed: findings.is_timed,
            });
        }
        Ok(views)
    }

    fn path(&self, path: &Spanned<String>, params: &[Param], views: &[View]) -> Result<PathPattern, FlavourError> {
        let pattern = PathPattern::parse(path.get_ref()).map_err(|reason| self.at(path, reason, "write /v1/literal/{variable}, with {rest...} at most at the end"))?;
        if !path.get_ref().starts_with("/v1/") {
            return Err(self.at(path, format!("path `{pattern}` is outside of /v1/"), "begin it with /v1/"));
        }
        if let Some(other) = views.iter().find(|view| view.path.as_ref().is_some_and(|other| other.is_ambiguous_with(&pattern))) {
            return Err(self.at(path, format!("path `{pattern}` catches the same requests as that of view `{}`", other.name), "change one of them"));
        }
        let used = |name: &str| params.iter().any(|param| *param == Param::Path(name.to_owned()));
        if let Some(name) = pattern.variables().find(|name| !used(name)) {
            return Err(self.at(path, format!("the path's variable `{name}` is no parameter"), format!("add \"{{{name}}}\" to `params`")));
        }
        let missing = params.iter().find_map(|param| match param {
            Param::Path(name) if !pattern.variables().any(|variable| variable == name) => Some(name),
            _ => None,
        });
        match missing {
            Some(name) => Err(self.at(path, format!("parameter `{{{name}}}` is not in the path"), "add it to the path")),
            None => Ok(pattern),
        }
    }

    fn param(&self, param: &Spanned<String>, options: &[FlavourOption]) -> Result<Param, FlavourError> {
        let text = param.get_ref();
        if text == "settings" {
            return Ok(Param::Settings);
        }
        if let Some(name) = text.strip_prefix("option:") {
            return match options.iter().any(|option| option.name == name) {
                true => Ok(Param::Option(name.to_owned())),
                false => Err(self.at(param, format!("there is no option `{name}`"), format!("declare [options.{name}]"))),
            };
        }
        if let Some((name, default)) = text.strip_prefix('?').and_then(|query| query.split_once('=')) {
            let default = canonical_json(default).map_err(|reason| self.at(param, format!("the default of `{name}` is not JSON: {reason}"), "write \"?name=<json>\""))?;
            return Ok(Param::Query { name: name.to_owned(), default });
        }
        match text.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !name.is_empty() => Ok(Param::Path(name.to_owned())),
            _ => Err(self.at(param, format!("parameter `{text}` is not understood"), "write \"{name}\", \"?name=<json>\", \"option:NAME\" or \"settings\"")),
        }
    }

    /// The line on which a string's text begins: the next one, if the opening quotes end their line.
    fn sql_line(&self, at: usize) -> usize {
        let opens_on_next = ["'''\n", "\"\"\"\n", "'''\r\n", "\"\"\"\r\n"].iter().any(|opening| self.text[at..].starts_with(opening));
        self.line(at) + usize::from(opens_on_next)
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count()
    }

    fn at<T>(&self, place: &Spanned<T>, reason: impl Into<String>, next_step: impl Into<String>) -> FlavourError {
        self.error(place.span().start, reason, next_step)
    }

    fn error(&self, at: usize, reason: impl Into<String>, next_step: impl Into<String>) -> FlavourError {
        FlavourError { file: self.file.to_owned(), line: self.line(at), reason: reason.into(), next_step: next_step.into() }
    }
}

fn duplicate(columns: &[Spanned<String>]) -> Option<&Spanned<String>> {
    let mut seen = BTreeMap::new();
    columns.iter().find(|column| seen.insert(column.get_ref(), ()).is_some())
}

#[cfg(test)]
mod tests;
