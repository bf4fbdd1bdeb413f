//! From TOML text to a flavour, refusing every mistake with file, line, reason and next step.
//!
//! Unknown keys, names that lead nowhere and SQL whose tags are not complete are all errors here, so that nobody downstream checks again.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::FlavourError;
use crate::load::raw::{RawFlavour, RawTable};
use crate::model::{Detect, Flavour, FlavourOption, SessionRules, Setting, Table, TagRule};

mod access;
mod raw;
mod views;
mod writes;

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
            self.error(
                at,
                error.message().trim().replace('\n', " "),
                "see an embedded flavour for the keys there are",
            )
        })?;
        let name = raw.name.get_ref();
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        {
            return Err(self.at(
                &raw.name,
                format!("`{name}` is no name for a flavour"),
                "use letters, digits, dots and dashes",
            ));
        }
        let detect = self.detect(&raw)?;
        let tables = self.tables(&raw)?;
        let settings = self.settings(&raw)?;
        let options: Vec<FlavourOption> = raw
            .options
            .into_iter()
            .map(|(name, option)| FlavourOption {
                name,
                default: option.default,
                help: option.help,
            })
            .collect();
        let views = self.views(&raw.view, &tables, &options)?;
        let writes = self.writes(&raw.write, &tables, &views)?;
        let session = match raw.session {
            None => None,
            Some(session) => {
                if !views
                    .iter()
                    .any(|view| view.name == *session.view.get_ref() && view.path_variables().count() == 1)
                {
                    return Err(self.at(
                        &session.view,
                        format!(
                            "session view `{}` is no view with one path variable",
                            session.view.get_ref()
                        ),
                        "declare it in a [[view]] with params = [\"{id}\"]",
                    ));
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
        let access = raw.access.map(|access| self.access(access, &views)).transpose()?;
        Ok(Flavour {
            name: raw.name.into_inner(),
            description: raw.description,
            detect,
            tables,
            views,
            writes,
            settings,
            options,
            session,
            access,
        })
    }

    fn detect(&self, raw: &RawFlavour) -> Result<Detect, FlavourError> {
        let detect = &raw.detect;
        if detect.requires.is_empty() {
            return Err(self.error(
                0,
                "`detect.requires` is empty, so every schema would match",
                "name columns as \"table.column\"",
            ));
        }
        for column in detect.requires.iter().chain(&detect.forbids) {
            if column.get_ref().split('.').filter(|part| !part.is_empty()).count() != 2 {
                return Err(self.at(
                    column,
                    format!("`{}` is not of the form table.column", column.get_ref()),
                    "write \"table.column\"",
                ));
            }
        }
        let plain = |columns: &[Spanned<String>]| columns.iter().map(|column| column.get_ref().clone()).collect();
        Ok(Detect {
            requires: plain(&detect.requires),
            forbids: plain(&detect.forbids),
        })
    }

    fn tables(&self, raw: &RawFlavour) -> Result<Vec<Table>, FlavourError> {
        let mut tables: Vec<Table> = Vec::new();
        for table in &raw.table {
            let name = table.name.get_ref();
            if tables.iter().any(|other| other.name == *name) {
                return Err(self.at(
                    &table.name,
                    format!("table `{name}` is declared twice"),
                    "put its columns and tags together",
                ));
            }
            if let Some(column) = duplicate(&table.columns) {
                return Err(self.at(
                    column,
                    format!("column `{}` of `{name}` is named twice", column.get_ref()),
                    "name it once",
                ));
            }
            let columns: Vec<String> = table.columns.iter().map(|column| column.get_ref().clone()).collect();
            let mut tags: Vec<TagRule> = Vec::new();
            for rule in &table.tag {
                let is_taken = tags
                    .iter()
                    .chain(tables.iter().flat_map(|table| &table.tags))
                    .any(|other| other.name == *rule.name.get_ref());
                if is_taken {
                    return Err(self.at(
                        &rule.name,
                        format!("tag rule `{}` is declared twice", rule.name.get_ref()),
                        "rule names are unique in the flavour",
                    ));
                }
                tags.push(self.tag_rule(table, &columns, rule)?);
            }
            tables.push(Table {
                name: name.clone(),
                ours: table.ours,
                columns,
                tags,
            });
        }
        Ok(tables)
    }

    fn tag_rule(&self, table: &RawTable, columns: &[String], rule: &raw::RawTagRule) -> Result<TagRule, FlavourError> {
        let name = rule.name.get_ref();
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.'))
        {
            return Err(self.at(
                &rule.name,
                format!("`{name}` is no name for a tag rule"),
                "use small letters, digits, dots and underscores",
            ));
        }
        for column in rule.key.iter().chain(&rule.each).chain(rule.of.iter().flatten()) {
            if !columns.contains(column.get_ref()) {
                let reason = format!(
                    "rule `{name}` uses column `{}`, which is not among the watched columns of `{}`",
                    column.get_ref(),
                    table.name.get_ref()
                );
                return Err(self.at(column, reason, "add it to the table's `columns`"));
            }
        }
        if rule.each.is_some() && (!rule.key.is_empty() || rule.lower || rule.hashed) {
            return Err(self.at(
                &rule.name,
                format!("rule `{name}` mixes `each` with `key`, `lower` or `hashed`"),
                "give `each` a rule of its own",
            ));
        }
        if (rule.lower || rule.hashed) && (rule.key.len() != 1 || (rule.lower && rule.hashed)) {
            return Err(self.at(
                &rule.name,
                format!("rule `{name}` is `lower` or `hashed`, which takes exactly one key column and not both"),
                "split the rule",
            ));
        }
        let plain = |columns: &[Spanned<String>]| {
            columns
                .iter()
                .map(|column| column.get_ref().clone())
                .collect::<Vec<_>>()
        };
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
                return Err(self.at(
                    &setting.path,
                    format!("setting `{path}` is empty or declared twice"),
                    "declare each path once",
                ));
            }
            let default = match &setting.default {
                None => serde_json::Value::Null,
                Some(default) => serde_json::to_value(default.get_ref()).map_err(|error| {
                    self.at(
                        default,
                        format!("the default is no JSON: {error}"),
                        "use text, numbers, booleans, arrays or tables",
                    )
                })?,
            };
            settings.push(Setting {
                path: path.clone(),
                default,
                secret: setting.secret,
            });
        }
        Ok(settings)
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.get(..at).unwrap_or(self.text).matches('\n').count()
    }

    fn at<T>(&self, place: &Spanned<T>, reason: impl Into<String>, next_step: impl Into<String>) -> FlavourError {
        self.error(place.span().start, reason, next_step)
    }

    fn error(&self, at: usize, reason: impl Into<String>, next_step: impl Into<String>) -> FlavourError {
        FlavourError {
            file: self.file.to_owned(),
            line: self.line(at),
            reason: reason.into(),
            next_step: next_step.into(),
        }
    }
}

fn duplicate(columns: &[Spanned<String>]) -> Option<&Spanned<String>> {
    let mut seen = BTreeSet::new();
    columns.iter().find(|column| !seen.insert(column.get_ref()))
}

#[cfg(test)]
mod tests;
