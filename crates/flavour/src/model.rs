//! A schema flavour as data: watched tables with their tag rules, views with their SQL, inheritable settings, options and session rules.
//!
//! Made by the loader, read by everybody: the installation takes tables and tag rules, the cache takes views, the router takes paths.
//! Holds no behaviour beyond look-ups; what makes a flavour valid is decided in `load` and `check`.

use std::collections::{BTreeMap, BTreeSet};

pub use crate::path::PathPattern;

/// One kind of application database: what is watched in it and what may be asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flavour {
    /// Name by which settings, the installation and the operator refer to it, such as `openwebui-0.12`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// The fingerprint by which a schema is recognised.
    pub detect: Detect,
    /// Watched tables, in the order of the file.
    pub tables: Vec<Table>,
    /// Views, in the order of the file; [`ViewId`] indexes them.
    pub views: Vec<View>,
    /// Writes, in the order of the file.
    pub writes: Vec<Write>,
    /// The application's compiled defaults of inheritable setting paths.
    pub settings: Vec<Setting>,
    /// Values that an operator may set for the views, with their defaults.
    pub options: Vec<FlavourOption>,
    /// How the application judges a session token; `None` where sessions are not served.
    pub session: Option<SessionRules>,
    /// Who may do what with its resources; `None` where decisions are not served.
    pub access: Option<AccessRules>,
}

/// The fingerprint of a schema, in `table.column` form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detect {
    /// Columns that must exist.
    pub requires: Vec<String>,
    /// Columns that must not exist.
    pub forbids: Vec<String>,
}

/// A watched table of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Name in its schema, unquoted.
    pub name: String,
    /// Whether it is a table of ours, in schema `neverstale`, and not of the application's.
    pub ours: bool,
    /// Watched columns: all that views use. A change of any other column is noise and publishes nothing.
    pub columns: Vec<String>,
    /// What a change of a row publishes.
    pub tags: Vec<TagRule>,
}

/// How a changed row becomes tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagRule {
    /// Name of the rule, the first part of each of its tags, unique in the flavour.
    pub name: String,
    /// Key columns; none (and no `each`) means that any change of the table publishes the one tag `<name>:`.
    pub key: Vec<String>,
    /// A column that holds a JSON array of texts (`json`, `jsonb` or JSON in text): one tag per element of OLD and NEW.
    pub each: Option<String>,
    /// Whether the key is the lower-cased column.
    pub lower: bool,
    /// Whether the key is the SHA-256 of the column, in lower hex.
    pub hashed: bool,
    /// UPDATEs publish this rule's tags only if one of these columns changed (INSERT and DELETE always do); `None` means any watched column.
    pub of: Option<Vec<String>>,
}

/// One question that can be asked, as one SQL statement that gives value, tags and expiry in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Name, unique in the flavour.
    pub name: String,
    /// Path of the HTTP contract that serves it; without one it is reached by `/v1/views/{view}/{key}` or by name only.
    pub path: Option<PathPattern>,
    /// What is bound to `$1`, `$2` …, all of SQL type `text`.
    pub params: Vec<Param>,
    /// Whether answers carry secrets.
    pub secret: bool,
    /// Whether answers may be kept. One that is not is asked of Postgres each time, needs no tags, and is under no path.
    pub kept: bool,
    /// The statement as written, tables as `app."table"`.
    pub sql: String,
    /// Base tables found in the SQL, sorted, without duplicates.
    pub tables: Vec<String>,
    /// Columns of the application that it reads and that are not watched, as table and column; none where answers are kept.
    pub unwatched: BTreeSet<(String, String)>,
    /// Whether the statement reads the clock, so that an answer may change by time alone (`not_after`).
    pub timed: bool,
}

/// What is bound to one parameter of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Param {
    /// A variable of the path, written `{name}`.
    Path(String),
    /// A query parameter that is JSON, written `?name=<default json>`; bound as canonical compact JSON text.
    Query {
        /// Name in the query string.
        name: String,
        /// Value when the caller gives none, canonical compact JSON.
        default: String,
    },
    /// A flavour option, written `option:NAME`; bound as text.
    Option(String),
    /// The catalogue of inheritable settings as JSON text, written `settings`: `{path: {"default": …, "secret": …}}`.
    Settings,
}

/// One kind of value that may be written, one path at a time, under a row lock.
///
/// All statements have the same parameters, of type `text`; what is not known yet is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Path of the HTTP contract that takes it by `PATCH`.
    pub path: PathPattern,
    /// The view that gives what is written: its answer and its ETag are those of the value.
    pub view: ViewId,
    /// The watched table that is changed.
    pub table: String,
    /// What is bound to `$1`, `$2` …
    pub params: Vec<WriteParam>,
    /// Whether the second column of the lock is the row's version, which every change counts up; a row that is not there has version 0.
    pub versioned: bool,
    /// SELECT … FOR UPDATE: a row, if there is one to change; its first column is the document, where one is changed.
    pub lock: String,
    /// Changes the row that was locked.
    pub update: String,
    /// Makes the row where there is none; without it such a write finds nothing.
    pub insert: Option<String>,
}

/// What is bound to one parameter of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteParam {
    /// The variable of the path with this number, written `{name}`.
    Variable(usize),
    /// The path that the body names.
    Path,
    /// The value that the body gives, JSON.
    Value,
    /// The document that was locked with the value at the path, JSON.
    Document,
}

/// One inheritable setting of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Dotted path.
    pub path: String,
    /// The application's compiled default.
    pub default: serde_json::Value,
    /// Whether its value is a secret: left out of `settings`, served under `virtual-keys`.
    pub secret: bool,
}

/// A value that the operator may set under `flavour.options.<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlavourOption {
    /// Name.
    pub name: String,
    /// Value when the operator sets none.
    pub default: String,
    /// What it does and when one would change it.
    pub help: String,
}

/// How `POST /v1/sessions/resolve` judges a JWT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRules {
    /// Signature algorithm, such as `HS256`.
    pub algorithm: String,
    /// Claim that holds the user's id.
    pub id_claim: String,
    /// Claim that must equal the stored session stamp, if the application has one.
    pub stamp_claim: Option<String>,
    /// View that gives `{"user": {…}, "active": bool, "session_stamp": …}` for a user id.
    pub view: String,
    /// Whether Redis holds revocations (`{prefix}:auth:token:{jti}:revoked` and `{prefix}:auth:user:{id}:revoked_at`).
    pub revocation: bool,
}

/// Who may do what, as a table; `crates/rbac` reads it and decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRules {
    /// View that gives what is known of a user.
    pub subject: String,
    /// View that gives people and groups as a person reads them, never kept; without it nobody can be looked up.
    pub roster: Option<String>,
    /// View that gives the names of all resources of a type, never kept.
    pub names: Option<String>,
    /// Roles that may do anything at all.
    pub roles: Vec<String>,
    /// The role that `admins` speaks of.
    pub admin_role: String,
    /// One for each type of resources.
    pub types: Vec<AccessType>,
    /// Fills the overlay with what owners and groups already imply, and leaves alone what is there; tables as `app."table"`.
    pub backfill: String,
}

impl AccessRules {
    /// The statement that fills the overlay, for an application whose tables are in `app_schema`.
    pub fn backfill_sql(&self, app_schema: &str) -> String {
        crate::builtin::with_schema(self.backfill.trim(), app_schema)
    }
}

/// The rules for one type of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessType {
    /// Name of the type: `function`, `tool`, `model`, `prompt`, `knowledge`, `pipeline`.
    pub name: String,
    /// View that gives one resource and what a decision about it rests on.
    pub view: String,
    /// View that gives all of them.
    pub list: String,
    /// What a grant must give for each action (`read`, `write`, `execute`, `read-valves`): `read` or `write`; an action that is not named is
    /// for owners alone.
    pub needs: BTreeMap<String, String>,
    /// Whether a resource whose access was never set may be read by everybody.
    pub unset_is_public: bool,
    /// Whether every admin may do everything.
    pub admins: bool,
    /// Whether admins may also use what no row speaks of.
    pub unregistered: bool,
    /// Whether a grant of `write` gives `read` too.
    pub write_reads: bool,
    /// Whether who owns a group counts as a member of it.
    pub group_owners: bool,
    /// Whether what a resource is built on must be readable too.
    pub bases: bool,
}

/// Index of a view in its flavour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId(pub u16);

impl Flavour {
    /// The view of an id that this flavour's router gave.
    ///
    /// # Panics
    /// If the id is of another flavour and out of range here.
    pub fn view(&self, view: ViewId) -> &View {
        &self.views[usize::from(view.0)]
    }

    /// Finds a view by name.
    pub fn view_named(&self, name: &str) -> Option<ViewId> {
        self.views
            .iter()
            .position(|view| view.name == name)
            .map(|index| ViewId(index as u16))
    }

    /// Finds a watched table by name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// Finds a tag rule and its table by the rule's name.
    pub fn tag_rule(&self, name: &str) -> Option<(&Table, &TagRule)> {
        self.tables.iter().find_map(|table| {
            table
                .tags
                .iter()
                .find(|rule| rule.name == name)
                .map(|rule| (table, rule))
        })
    }

    /// The values of all options: the operator's where set, else the defaults.
    pub fn option_values<'a>(&'a self, set: &'a BTreeMap<String, String>) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.options.iter().map(|option| {
            (
                option.name.as_str(),
                set.get(&option.name).unwrap_or(&option.default).as_str(),
            )
        })
    }

    /// The catalogue of settings as compact JSON text, bound where a view asks for `settings`.
    pub fn settings_catalogue(&self) -> String {
        let entries = self.settings.iter().map(|setting| {
            (
                setting.path.clone(),
                serde_json::json!({ "default": setting.default, "secret": setting.secret }),
            )
        });
        serde_json::Value::Object(entries.collect()).to_string()
    }
}

impl Write {
    /// Says whether it changes a path within a document.
    pub fn is_of_document(&self) -> bool {
        self.params.contains(&WriteParam::Document)
    }

    /// The same write with the application's schema in the place of `app.`.
    #[must_use]
    pub fn in_schema(&self, app_schema: &str) -> Self {
        let place = |sql: &String| crate::builtin::with_schema(sql, app_schema);
        Self {
            lock: place(&self.lock),
            update: place(&self.update),
            insert: self.insert.as_ref().map(place),
            ..self.clone()
        }
    }
}

impl Table {
    /// The schema that holds it.
    pub fn schema<'a>(&self, app_schema: &'a str) -> &'a str {
        if self.ours { OUR_SCHEMA } else { app_schema }
    }
}

/// The schema of tables of ours.
const OUR_SCHEMA: &str = "neverstale";

impl View {
    /// Names of the path variables among the parameters, in order, each once.
    pub fn path_variables(&self) -> impl Iterator<Item = &str> {
        self.params.iter().enumerate().filter_map(|(index, param)| match param {
            Param::Path(name) if !self.params[..index].contains(param) => Some(name.as_str()),
            _ => None,
        })
    }
}
