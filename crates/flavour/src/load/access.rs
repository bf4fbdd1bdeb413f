//! Access rules of a flavour file: every type, action and permission is a known one, every view exists and takes what it will be given.

use std::collections::BTreeMap;

use toml::Spanned;

use super::Loader;
use super::raw::{RawAccess, RawAccessType};
use crate::error::FlavourError;
use crate::model::{AccessRules, AccessType, View};

const TYPES: [&str; 6] = ["function", "tool", "model", "prompt", "knowledge", "pipeline"];
const ACTIONS: [&str; 4] = ["read", "write", "execute", "read-valves"];
const PERMISSIONS: [&str; 2] = ["read", "write"];

impl Loader<'_> {
    pub(super) fn access(&self, raw: RawAccess, views: &[View]) -> Result<AccessRules, FlavourError> {
        let subject = self.access_view(raw.subject, views, 1)?;
        let straight = |name: Option<Spanned<String>>, variables| {
            name.map(|name| self.straight_view(name, views, variables)).transpose()
        };
        let (roster, names) = (straight(raw.roster, 4)?, straight(raw.names, 1)?);
        let mut types: Vec<AccessType> = Vec::new();
        for one in raw.r#type {
            self.known(&one.name, &TYPES)?;
            if types.iter().any(|other| other.name == *one.name.get_ref()) {
                let reason = format!("the rules for `{}` are given twice", one.name.get_ref());
                return Err(self.at(&one.name, reason, "give them once"));
            }
            types.push(self.access_type(one, views)?);
        }
        Ok(AccessRules {
            subject,
            roster,
            names,
            roles: raw.roles,
            admin_role: raw.admin_role,
            types,
            backfill: raw.backfill,
        })
    }

    fn access_type(&self, raw: RawAccessType, views: &[View]) -> Result<AccessType, FlavourError> {
        let mut needs = BTreeMap::new();
        for (action, permission) in raw.needs {
            self.known(&action, &ACTIONS)?;
            self.known(&permission, &PERMISSIONS)?;
            needs.insert(action.into_inner(), permission.into_inner());
        }
        Ok(AccessType {
            name: raw.name.into_inner(),
            view: self.access_view(raw.view, views, 1)?,
            list: self.access_view(raw.list, views, 0)?,
            needs,
            unset_is_public: raw.unset_is_public,
            admins: raw.admins,
            unregistered: raw.unregistered,
            write_reads: raw.write_reads,
            group_owners: raw.group_owners,
            bases: raw.bases,
        })
    }

    fn access_view(&self, name: Spanned<String>, views: &[View], variables: usize) -> Result<String, FlavourError> {
        let fits = |view: &View| view.name == *name.get_ref() && view.path_variables().count() == variables;
        if views.iter().any(|view| fits(view) && view.kept) {
            return Ok(name.into_inner());
        }
        let reason = format!("`{}` is no view with {variables} path variables", name.get_ref());
        Err(self.at(&name, reason, "declare it in a [[view]]"))
    }

    /// A view about everybody, which is nobody's answer to keep.
    fn straight_view(&self, name: Spanned<String>, views: &[View], variables: usize) -> Result<String, FlavourError> {
        let fits = |view: &View| view.name == *name.get_ref() && view.path_variables().count() == variables;
        if views.iter().any(|view| fits(view) && !view.kept) {
            return Ok(name.into_inner());
        }
        let reason = format!(
            "`{}` is no view with {variables} path variables whose answers are not kept",
            name.get_ref()
        );
        Err(self.at(&name, reason, "declare it in a [[view]] with kept = false"))
    }

    fn known(&self, word: &Spanned<String>, words: &[&str]) -> Result<(), FlavourError> {
        if words.contains(&word.get_ref().as_str()) {
            return Ok(());
        }
        let reason = format!("`{}` is not understood", word.get_ref());
        Err(self.at(word, reason, format!("write one of {}", words.join(", "))))
    }
}
