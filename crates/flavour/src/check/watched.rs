//! Which columns a statement may read: where answers are kept, only watched ones; else any that a role that only reads can be granted.

use std::collections::BTreeSet;

use super::lineage::{Reference, Tracer};
use super::{Refusal, refuse};
use crate::model::Table;

pub(super) fn check(tracer: &Tracer, tables: &[Table]) -> Result<(), Refusal> {
    let mut references = tracer.references.iter();
    references.try_for_each(|reference| check_watched(reference, tables))
}

/// A role that only reads is granted columns: of our tables the watched ones, of the application's all that are read.
pub(super) fn check_grantable(tracer: &Tracer, tables: &[Table]) -> Result<(), Refusal> {
    for reference in &tracer.references {
        if reference.is_ours {
            check_watched(reference, tables)?;
        } else if reference.used.is_empty() && table_of(reference, tables).is_none() {
            return Err(refuse(
                reference.line,
                format!(
                    "no column is read of table `{}`, which is not watched, so there is none to grant to a reader",
                    reference.table
                ),
                "read a column of it, such as count(t.id) instead of count(*)",
            ));
        }
    }
    Ok(())
}

/// The columns of the application that are not watched, as table and column.
pub(super) fn unwatched(tracer: &Tracer, tables: &[Table]) -> BTreeSet<(String, String)> {
    let unwatched = tracer.references.iter().flat_map(|reference| {
        let table = table_of(reference, tables);
        let is_unwatched = move |column: &&String| table.is_none_or(|table| !table.columns.contains(column));
        let named = |column: &String| (reference.table.clone(), column.clone());
        reference.used.iter().filter(is_unwatched).map(named)
    });
    unwatched.collect()
}

fn check_watched(reference: &Reference, tables: &[Table]) -> Result<(), Refusal> {
    let Some(table) = table_of(reference, tables) else {
        return Err(refuse(
            reference.line,
            format!("table `{}` is not watched", reference.table),
            "declare it in a [[table]]",
        ));
    };
    match reference.used.iter().find(|column| !table.columns.contains(column)) {
        Some(column) => Err(refuse(
            reference.line,
            format!(
                "column `{column}` of `{}` (as `{}`) is not watched",
                reference.table, reference.alias
            ),
            "add it to the table's `columns`",
        )),
        None => Ok(()),
    }
}

fn table_of<'a>(reference: &Reference, tables: &'a [Table]) -> Option<&'a Table> {
    let mut named = tables.iter().filter(|table| table.name == reference.table);
    named.find(|table| table.ours == reference.is_ours)
}
