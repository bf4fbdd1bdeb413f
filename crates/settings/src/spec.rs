//! What is known about each option apart from its value: enough to read it, to document it and to refuse it.

use serde_json::Value;

use crate::value::FieldValue;

/// The kinds of values that an option can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number from 0.
    Number,
    /// `true` or `false`.
    Switch,
    /// A text.
    Text,
    /// A path of the file system.
    Path,
    /// A text that is never printed.
    Secret,
    /// A table of texts under names of one's own choice.
    Texts,
}

/// One option: its name, what it does, and which values it takes.
#[derive(Clone, Debug)]
pub struct OptionSpec {
    /// The last part of the path, `bytes_max`.
    pub name: &'static str,
    /// What it does: the doc comment's lines.
    pub help: &'static [&'static str],
    /// Which kind of value it takes.
    pub kind: Kind,
    /// Whether it may be absent.
    pub optional: bool,
    /// The default; null when absent, never a secret.
    pub default: Value,
    /// The unit of a number or the nature of a text.
    pub unit: Option<&'static str>,
    /// The smallest and the largest number allowed.
    pub range: Option<(u64, u64)>,
    /// The only texts allowed; empty when any is.
    pub one_of: &'static [&'static str],
    /// Whether a change takes effect without restart (files that are re-read).
    pub live: bool,
    /// When somebody would change it.
    pub when: &'static str,
}

impl OptionSpec {
    /// Describes an option by its default and its documentation; unit, range and choice are added by `section!`.
    pub fn of<T: FieldValue>(
        default: &T,
        name: &'static str,
        help: &'static [&'static str],
        when: &'static str,
    ) -> Self {
        let (kind, optional, default) = (T::KIND, T::OPTIONAL, default.to_json());
        Self {
            name,
            help,
            kind,
            optional,
            default,
            unit: None,
            range: None,
            one_of: &[],
            live: false,
            when,
        }
    }

    /// Gives the doc comment as one paragraph.
    pub fn help_text(&self) -> String {
        paragraph(self.help)
    }

    /// Says what is wrong with a number or text that has the right kind; `None` when nothing is.
    pub fn refuse(&self, number: Option<u64>, text: Option<&str>) -> Option<String> {
        if let (Some(number), Some((low, high))) = (number, self.range)
            && !(low..=high).contains(&number)
        {
            return Some(format!("{number} is outside {}", range_text(low, high)));
        }
        let text = text?;
        if self.one_of.is_empty() || self.one_of.contains(&text) {
            return None;
        }
        Some(format!("\"{text}\" is none of {}", self.one_of.join(", ")))
    }
}

/// One section: its path, what it is about, its options.
#[derive(Clone, Copy, Debug)]
pub struct SectionSpec {
    /// The path, `cache.l1`.
    pub path: &'static str,
    /// What it is about: the doc comment's lines.
    pub help: &'static [&'static str],
    /// Its options in the order of their declaration.
    pub options: &'static [OptionSpec],
}

impl SectionSpec {
    /// Gives the doc comment as one paragraph.
    pub fn help_text(&self) -> String {
        paragraph(self.help)
    }
}

/// Writes a range as an operator reads it: without an upper end that means "no limit".
pub(crate) fn range_text(low: u64, high: u64) -> String {
    if high == u64::MAX || high == u64::from(u32::MAX) {
        format!("{low} and above")
    } else {
        format!("{low} to {high}")
    }
}

fn paragraph(lines: &[&str]) -> String {
    lines
        .iter()
        .map(|line| line.trim())
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .to_owned()
}
