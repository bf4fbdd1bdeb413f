//! What should be there, from a flavour and a lock class.
//!
//! Pure: it reads nothing, and plans and verdicts compare it with a [`State`](crate::inspect::State).

use neverstale_flavour::{Flavour, Table};

use crate::{collect, publish, publish::Function, triggers, triggers::Trigger};

/// The installation as it should be.
#[derive(Debug)]
pub(crate) struct Blueprint<'a> {
    pub(crate) flavour: &'a Flavour,
    pub(crate) app_schema: &'a str,
    pub(crate) specification: String,
    /// Baked into `publish`: all advisory locks of this installation are in this class and the two after it.
    pub(crate) lock_class: i32,
    /// Functions that do not belong to one table.
    pub(crate) functions: Vec<Function>,
    pub(crate) tables: Vec<Watched<'a>>,
}

/// A watched table with its function and its triggers.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    pub(crate) table: &'a Table,
    pub(crate) collect: Function,
    pub(crate) triggers: [Trigger; 3],
}

impl<'a> Blueprint<'a> {
    /// Draws up what a flavour needs in this schema.
    pub(crate) fn new(flavour: &'a Flavour, app_schema: &'a str, lock_class: i32) -> Self {
        let watch = |table| Watched {
            table,
            collect: collect::function(table),
            triggers: triggers::triggers(table),
        };
        Self {
            flavour,
            app_schema,
            specification: flavour.specification(app_schema),
            lock_class,
            functions: publish::functions(lock_class),
            tables: flavour.tables.iter().map(watch).collect(),
        }
    }

    /// Whether a function of this name is one of ours.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.functions
            .iter()
            .chain(self.tables.iter().map(|watched| &watched.collect))
            .any(|function| function.name == name)
    }
}
