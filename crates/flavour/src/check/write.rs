//! Judges the SQL of a write: it locks, then changes one watched table, and never what somebody else has just made.
//!
//! A change of what is not watched would be published to nobody, so that the very next read could be old: that is refused here.

use std::collections::BTreeSet;

use sqlparser::ast::{
    AssignmentTarget, ObjectName, OnConflictAction, OnInsert, Statement, TableFactor, TableObject, TableWithJoins,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::{Refusal, parse, refuse};
use crate::model::Table;

/// Checks the statement that locks what is to be changed.
pub(crate) fn check_lock(sql: &str, params: usize) -> Result<(), Refusal> {
    let statement = parse(sql)?;
    check_numbers(sql, params)?;
    match statement {
        Statement::Query(query) if !query.locks.is_empty() => Ok(()),
        _ => Err(refuse(
            1,
            "`lock` is no query that locks what it finds",
            "write one SELECT … FOR UPDATE",
        )),
    }
}

/// Checks the statement that changes the row that is there.
pub(crate) fn check_update(sql: &str, params: usize, table: &Table) -> Result<(), Refusal> {
    let statement = parse(sql)?;
    check_numbers(sql, params)?;
    let Statement::Update {
        table: target,
        assignments,
        ..
    } = statement
    else {
        return Err(refuse(1, "`update` is no UPDATE", "write one UPDATE app.\"table\" …"));
    };
    check_target(named(&target), table)?;
    let set: BTreeSet<String> = assignments
        .iter()
        .filter_map(|assignment| match &assignment.target {
            AssignmentTarget::ColumnName(name) => last(name),
            AssignmentTarget::Tuple(_) => None,
        })
        .collect();
    if table.columns.iter().any(|column| set.contains(column)) {
        return Ok(());
    }
    Err(refuse(
        1,
        format!(
            "`update` sets no watched column of `{}`: nobody would hear of it",
            table.name
        ),
        "set a column that is among the table's `columns`",
    ))
}

/// Checks the statement that makes the row where there is none.
pub(crate) fn check_insert(sql: &str, params: usize, table: &Table) -> Result<(), Refusal> {
    let statement = parse(sql)?;
    check_numbers(sql, params)?;
    let Statement::Insert(insert) = statement else {
        return Err(refuse(
            1,
            "`insert` is no INSERT",
            "write one INSERT INTO app.\"table\" …",
        ));
    };
    let target = match &insert.table {
        TableObject::TableName(name) => Some(name),
        TableObject::TableFunction(_) => None,
    };
    check_target(target, table)?;
    let is_careful =
        matches!(&insert.on, Some(OnInsert::OnConflict(conflict)) if conflict.action == OnConflictAction::DoNothing);
    if is_careful {
        return Ok(());
    }
    Err(refuse(
        1,
        "`insert` could fail, or undo what somebody else has just inserted",
        "end it with ON CONFLICT DO NOTHING",
    ))
}

fn check_target(target: Option<&ObjectName>, table: &Table) -> Result<(), Refusal> {
    let is_it = target.is_some_and(|name| {
        let parts: Vec<_> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        matches!(parts.as_slice(), [schema, relation] if schema.value == table.schema("app") && relation.value == table.name)
    });
    if is_it {
        return Ok(());
    }
    Err(refuse(
        1,
        format!("the statement changes another table than `{}`", table.name),
        "write the table as app.\"name\", and name it in `table`",
    ))
}

fn check_numbers(sql: &str, params: usize) -> Result<(), Refusal> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location()
        .unwrap_or_default();
    for token in tokens {
        let Token::Placeholder(text) = &token.token else {
            continue;
        };
        let number = text.trim_start_matches('$').parse::<usize>();
        if !number.is_ok_and(|number| (1..=params).contains(&number)) {
            return Err(refuse(
                token.span.start.line,
                format!("the SQL uses {text}, but `params` has {params}"),
                "add it to `params`",
            ));
        }
    }
    Ok(())
}

fn named(target: &TableWithJoins) -> Option<&ObjectName> {
    match &target.relation {
        TableFactor::Table { name, .. } if target.joins.is_empty() => Some(name),
        _ => None,
    }
}

fn last(name: &ObjectName) -> Option<String> {
    Some(name.0.last()?.as_ident()?.value.clone())
}
