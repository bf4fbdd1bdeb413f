//! All sources on one heap: defaults < file < the application's own variables < our variables < flags.
//!
//! Knows the options only by their [`SectionSpec`]s. A later source replaces an earlier one value by value; what no
//! section declares is a problem at once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    nearest::nearest,
    problems::{Place, Problems},
    spec::{Kind, OptionSpec, SectionSpec},
    value::FieldValue,
};

/// The prefix of all our environment variables.
const PREFIX: &str = "NEVERSTALE_";
/// Names the settings file; read by the command line before the settings.
const CONFIG: &str = "NEVERSTALE_CONFIG";
/// Variables with the prefix that are not settings: the one above, and those of the clients, with which we often share an environment.
const NOT_SETTINGS: [&str; 3] = [CONFIG, "NEVERSTALE_URL", "NEVERSTALE_OPENWEBUI"];

/// A value as somebody wrote it, with its place.
#[derive(Clone, Debug)]
pub struct Given {
    value: Written,
    place: Place,
}

#[derive(Clone)]
enum Written {
    File(Value),
    Text(String),
}

/// Values may be secrets, whatever their option says: none is printed.
impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// All sources merged, not yet read.
#[derive(Clone, Debug)]
pub struct Merged {
    sections: Vec<SectionSpec>,
    given: BTreeMap<String, Given>,
}

impl Merged {
    /// Starts with the defaults of `sections`.
    pub fn new(sections: &[SectionSpec]) -> Self {
        Self {
            sections: sections.to_vec(),
            given: BTreeMap::new(),
        }
    }

    /// Adds the TOML text of a settings file.
    pub fn add_file(&mut self, path: &Path, text: &str, problems: &mut Problems) {
        let line = |offset: usize| 1 + text[..offset.min(text.len())].matches('\n').count();
        let place = |offset: usize| Place::File {
            path: path.to_path_buf(),
            line: line(offset),
        };
        match DeTable::parse(text) {
            Ok(table) => self.add_table("", table.get_ref(), &place, problems),
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start);
                problems.add(place(offset), "", error.message().to_lowercase());
            }
        }
    }

    fn add_table(
        &mut self,
        prefix: &str,
        table: &DeTable<'_>,
        place: &dyn Fn(usize) -> Place,
        problems: &mut Problems,
    ) {
        for (key, value) in table {
            let path = join(prefix, key.get_ref());
            let place_of_key = place(key.span().start);
            match (self.option(&path), value.get_ref()) {
                (Some(_), _) => {
                    self.give(path, Written::File(json(value)), place_of_key);
                }
                (None, DeValue::Table(table)) if self.is_branch(&path) => self.add_table(&path, table, place, problems),
                (None, _) if self.is_branch(&path) => problems.add(place_of_key, path, "expected a table of settings"),
                (None, _) => {
                    let hint = self.hint(&path);
                    problems.add(place_of_key, path, format!("unknown setting{hint}"));
                }
            }
        }
    }

    /// Adds our own variables (`NEVERSTALE_CACHE__L1__BYTES_MAX`); other variables are not looked at.
    pub fn add_environment<'a>(
        &mut self,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
        problems: &mut Problems,
    ) {
        let names: BTreeMap<String, String> = self.paths().map(|path| (variable_name(&path), path)).collect();
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if NOT_SETTINGS.contains(&name) || is_service_link(rest) {
                continue;
            }
            let place = Place::Variable(name.to_owned());
            if let Some(path) = names.get(name) {
                self.give(path.clone(), Written::Text(text.to_owned()), place);
            } else if let Some((path, key)) = self.texts_entry(rest) {
                self.give_entry(&path, key, text, place);
            } else {
                let hint = nearest(name, names.keys().map(String::as_str));
                let hint = hint.map_or_else(|| SEE_ALL.to_owned(), |hint| format!("; did you mean {hint}?"));
                problems.add(place, "", format!("unknown setting{hint}"));
            }
        }
    }

    /// Adds one value by its path, as a flag or the application's own variable gives it.
    pub fn add_text(&mut self, path: &str, text: &str, place: Place) {
        debug_assert!(self.option(path).is_some(), "{path} is no declared setting");
        self.give(path.to_owned(), Written::Text(text.to_owned()), place);
    }

    /// Says whether a section declares `path`.
    pub fn declares(&self, path: &str) -> bool {
        self.option(path).is_some()
    }

    /// Gives the kind of a declared option.
    pub fn kind(&self, path: &str) -> Option<Kind> {
        self.option(path).map(|option| option.kind)
    }

    /// Gives the file or directory that somebody gave for an option of that kind.
    pub fn given_path(&self, path: &str) -> Option<PathBuf> {
        let text = match &self.given.get(path)?.value {
            Written::File(value) => value.as_str()?,
            Written::Text(text) => text.as_str(),
        };
        Some(text).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    /// Says where the value of `path` was written.
    pub fn place(&self, path: &str) -> Place {
        self.given.get(path).map_or(Place::Default, |given| given.place.clone())
    }

    /// Lists the paths that somebody gave a value, with their places.
    pub fn given(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.given.iter().map(|(path, given)| (path.as_str(), &given.place))
    }

    /// Reads one value; what can't be read is noted and gives `default`.
    pub fn read<T: FieldValue>(&self, section: &str, option: &OptionSpec, default: T, problems: &mut Problems) -> T {
        let path = join(section, option.name);
        let Some(given) = self.given.get(&path) else {
            return default;
        };
        let read = match &given.value {
            Written::File(value) => T::from_file(value),
            Written::Text(text) => T::from_text(text),
        };
        let checked = read.and_then(|value| match option.refuse(value.number(), value.text()) {
            Some(reason) => Err(reason),
            None => Ok(value),
        });
        checked.unwrap_or_else(|reason| {
            problems.add(given.place.clone(), path, reason);
            default
        })
    }

    fn give(&mut self, path: String, value: Written, place: Place) {
        self.given.insert(path, Given { value, place });
    }

    /// Adds one entry to a table of texts, beside those that earlier sources gave.
    fn give_entry(&mut self, path: &str, key: String, text: &str, place: Place) {
        let mut table = match self.given.remove(path).map(|given| given.value) {
            Some(Written::File(Value::Object(table))) => table,
            Some(Written::Text(text)) => serde_json::from_str(&text).unwrap_or_default(),
            _ => serde_json::Map::new(),
        };
        table.insert(key, Value::from(text));
        self.give(path.to_owned(), Written::File(Value::Object(table)), place);
    }

    /// Splits `FLAVOUR__OPTIONS__SUPER_ADMIN_EMAILS` into the path of a table of texts and a key in lower case.
    fn texts_entry(&self, rest: &str) -> Option<(String, String)> {
        let (table, key) = rest.rsplit_once("__")?;
        let path = table.to_lowercase().replace("__", ".");
        let is_texts = self.option(&path).is_some_and(|option| option.kind == Kind::Texts);
        (is_texts && !key.is_empty()).then(|| (path, key.to_lowercase()))
    }

    fn option(&self, path: &str) -> Option<&'static OptionSpec> {
        let (section, name) = path.rsplit_once('.')?;
        let section = self.sections.iter().find(|spec| spec.path == section)?;
        section.options.iter().find(|option| option.name == name)
    }

    fn is_branch(&self, path: &str) -> bool {
        let below = |spec: &SectionSpec| {
            spec.path == path || spec.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
        };
        self.sections.iter().any(below)
    }

    fn paths(&self) -> impl Iterator<Item = String> {
        self.sections
            .iter()
            .flat_map(|section| section.options.iter().map(|option| join(section.path, option.name)))
    }

    fn hint(&self, path: &str) -> String {
        let paths: Vec<String> = self.paths().collect();
        nearest(path, paths.iter().map(String::as_str))
            .map_or_else(|| SEE_ALL.to_owned(), |hint| format!("; did you mean {hint}?"))
    }
}

const SEE_ALL: &str = "; `neverstale settings --markdown` lists all";

/// Gives the variable of a path: `cache.l1.bytes_max` is `NEVERSTALE_CACHE__L1__BYTES_MAX`.
pub fn variable_name(path: &str) -> String {
    format!("{PREFIX}{}", path.to_uppercase().replace('.', "__"))
}

/// Reads the whole environment, leaving out what is not UTF-8. The one place that touches it.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Recognises what Kubernetes puts into every pod when a Service is called `neverstale…`.
fn is_service_link(rest: &str) -> bool {
    let ends = ["SERVICE_HOST", "SERVICE_PORT", "PORT"];
    let has_port = ["PORT_", "SERVICE_PORT_"]
        .iter()
        .any(|part| rest.starts_with(part) || rest.contains(&format!("_{part}")));
    !rest.contains("__")
        && (ends
            .iter()
            .any(|end| rest == *end || rest.ends_with(&format!("_{end}")))
            || has_port)
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

fn json(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i128::from_str_radix(&digits, number.radix())
                .ok()
                .and_then(|number| u64::try_from(number).ok())
                .map_or(Value::Null, Value::from)
        }
        DeValue::Float(number) => Value::from(number.as_str()),
        DeValue::Boolean(switch) => Value::from(*switch),
        DeValue::Datetime(instant) => Value::from(instant.to_string()),
        DeValue::Array(values) => values.iter().map(json).collect(),
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), json(value)))
            .collect(),
    }
}

/// Names the file that `--config` or `NEVERSTALE_CONFIG` gives, the flag first.
pub fn settings_file(flag: Option<PathBuf>, variables: &[(String, String)]) -> Option<PathBuf> {
    let variable = || {
        variables
            .iter()
            .find(|(name, _)| name == CONFIG)
            .map(|(_, path)| PathBuf::from(path))
    };
    flag.or_else(variable)
}
