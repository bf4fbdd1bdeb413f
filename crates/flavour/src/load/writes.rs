//! Writes of a flavour file: what they read, what they bind, and the SQL, which `check` judges.

use toml::Spanned;

use super::Loader;
use super::raw::RawWrite;
use crate::check::{Refusal, write};
use crate::error::FlavourError;
use crate::model::{PathPattern, Table, View, ViewId, Write, WriteParam};

impl Loader<'_> {
    pub(super) fn writes(
        &self,
        raw: &[RawWrite],
        tables: &[Table],
        views: &[View],
    ) -> Result<Vec<Write>, FlavourError> {
        let mut writes: Vec<Write> = Vec::new();
        for one in raw {
            let path = self.write_path(&one.path, &writes)?;
            let variables: Vec<&str> = path.variables().collect();
            let params = one
                .params
                .iter()
                .map(|param| self.write_param(param, &variables))
                .collect::<Result<Vec<_>, _>>()?;
            let view = self.written_view(&one.view, &one.table, &variables, views)?;
            let Some(table) = tables.iter().find(|table| table.name == *one.table.get_ref()) else {
                let reason = format!(
                    "table `{}` is not watched: nobody would hear of a write",
                    one.table.get_ref()
                );
                return Err(self.at(&one.table, reason, "declare it in a [[table]]"));
            };
            let count = params.len();
            self.judged(&one.lock, write::check_lock(one.lock.get_ref(), count))?;
            self.judged(&one.update, write::check_update(one.update.get_ref(), count, table))?;
            if let Some(insert) = &one.insert {
                self.judged(insert, write::check_insert(insert.get_ref(), count, table))?;
            }
            writes.push(Write {
                path,
                view,
                table: table.name.clone(),
                params,
                versioned: one.versioned,
                lock: one.lock.get_ref().clone(),
                update: one.update.get_ref().clone(),
                insert: one.insert.as_ref().map(|insert| insert.get_ref().clone()),
            });
        }
        Ok(writes)
    }

    fn write_path(&self, path: &Spanned<String>, writes: &[Write]) -> Result<PathPattern, FlavourError> {
        let pattern = PathPattern::parse(path.get_ref())
            .ok()
            .filter(|pattern| pattern.as_str().starts_with("/v1/") && !pattern.as_str().ends_with("...}"))
            .ok_or_else(|| {
                let reason = format!("`{}` is no path for a write", path.get_ref());
                self.at(
                    path,
                    reason,
                    "write /v1/literal/{variable}; what is written is named in the body",
                )
            })?;
        if writes.iter().any(|other| other.path.is_ambiguous_with(&pattern)) {
            let reason = format!("path `{pattern}` catches the same requests as that of another write");
            return Err(self.at(path, reason, "change one of them"));
        }
        Ok(pattern)
    }

    /// The view that gives what is written must be able to ask for it, and change with the table.
    fn written_view(
        &self,
        name: &Spanned<String>,
        table: &Spanned<String>,
        variables: &[&str],
        views: &[View],
    ) -> Result<ViewId, FlavourError> {
        let Some(place) = views.iter().position(|view| view.name == *name.get_ref()) else {
            let reason = format!("there is no view `{}`", name.get_ref());
            return Err(self.at(name, reason, "declare it in a [[view]]"));
        };
        let view = &views[place];
        let mut needed: Vec<&str> = view.path_variables().collect();
        let mut given: Vec<&str> = variables.iter().copied().chain(["path"]).collect();
        needed.sort_unstable();
        given.sort_unstable();
        if needed != given {
            let reason = format!("view `{}` has other variables than the path and {{path}}", view.name);
            return Err(self.at(name, reason, format!("it needs exactly these: {}", given.join(", "))));
        }
        if !view.tables.contains(table.get_ref()) {
            let reason = format!("view `{}` does not read table `{}`", view.name, table.get_ref());
            return Err(self.at(table, reason, "name the table that the view's value is in"));
        }
        Ok(ViewId(place as u16))
    }

    fn write_param(&self, param: &Spanned<String>, variables: &[&str]) -> Result<WriteParam, FlavourError> {
        let text = param.get_ref().as_str();
        match text {
            "path" => return Ok(WriteParam::Path),
            "value" => return Ok(WriteParam::Value),
            "document" => return Ok(WriteParam::Document),
            _ => {}
        }
        let variable = text.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        variable
            .and_then(|name| variables.iter().position(|variable| *variable == name))
            .map(WriteParam::Variable)
            .ok_or_else(|| {
                let reason = format!("parameter `{text}` is not understood");
                self.at(
                    param,
                    reason,
                    "write \"path\", \"value\", \"document\" or \"{name}\" of the write's path",
                )
            })
    }

    fn judged(&self, sql: &Spanned<String>, verdict: Result<(), Refusal>) -> Result<(), FlavourError> {
        verdict.map_err(|refusal| FlavourError {
            file: self.file.to_owned(),
            line: self.sql_line(sql.span().start) + refusal.line - 1,
            reason: refusal.reason,
            next_step: refusal.next_step,
        })
    }
}
