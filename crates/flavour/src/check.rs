//! Judges a view's SQL before anybody relies on it: are its tags complete (PROTOCOL §9)?
//!
//! Every reference to a table must be covered by tags that the statement itself gives: either a rule whose key columns the statement compares with
//! a parameter, or with columns of rows that are covered themselves, or a rule without key (any change of the table). A tag names that *predicate*,
//! so rows that do not exist yet are covered too. Conservative: what is not understood is refused, with the line and the reason.
//!
//! What counts as bound, where `t` is a reference to a table and `x` a parameter, a literal or a column of covered rows:
//!
//! * `t.key = x` or `t.key IN (SELECT x …)`, as a conjunct of WHERE, of an inner join's ON, or of a left join's ON for the joined side;
//! * `lower(t.key) = lower(x)` for a rule with `lower`, the tag's argument being `lower(x)`;
//! * `t.list::jsonb @> jsonb_build_array(x)` for a rule with `each = "list"`;
//! * `t.key = x` with `neverstale.tag_hashed('rule', x)` for a rule with `hashed`.
//!
//! The call `neverstale.tag('rule', x, …)` must name the same `x` (traced through subqueries and CTEs); a rule without key is named by
//! `neverstale.tag('rule', '')`. Not judged here: whether the call is reached for every row. The property tests judge that on random rows.

mod functions;
mod lineage;
mod walk;
mod watched;
pub(crate) mod write;

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::ast::{Expr, SelectItem, SetExpr, Statement, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::model::{Table, TagRule};
use lineage::{Binding, Reference, TagCall, Tracer};

/// Why a view's SQL is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Line within the SQL, counted from 1.
    pub(crate) line: usize,
    pub(crate) reason: String,
    pub(crate) next_step: String,
}

/// What the check learnt of a view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Base tables and the columns that the statement reads of them.
    pub(crate) columns: BTreeMap<String, BTreeSet<String>>,
    /// Those columns of the application that are not watched, as table and column.
    pub(crate) unwatched: BTreeSet<(String, String)>,
    /// Whether the statement reads the clock.
    pub(crate) is_timed: bool,
}

/// What becomes of a view's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// They are kept until one of their tags is invalidated.
    Kept,
    /// They are asked for each time, so no change need be noticed.
    Straight,
}

/// Checks one statement with `params` parameters against the watched tables.
pub(crate) fn check(sql: &str, params: usize, tables: &[Table], keeping: Keeping) -> Result<Findings, Refusal> {
    let statement = parse(sql)?;
    let Statement::Query(query) = statement else {
        return Err(refuse(
            1,
            "the SQL is not a query",
            "write one SELECT, with CTEs if need be",
        ));
    };
    let mut tracer = Tracer::default();
    walk::query(&mut tracer, &query)?;
    check_params(&tracer, params)?;
    let is_clock_bounded = check_outputs(&query.body)?;
    if let Some(line) = tracer.clock_line
        && !is_clock_bounded
    {
        return Err(refuse(
            line,
            "the SQL reads the clock, but `not_after` is always NULL",
            "say in `not_after` when the answer changes by time alone",
        ));
    }
    match keeping {
        Keeping::Kept => {
            watched::check(&tracer, tables)?;
            check_covered(&tracer, tables)?;
        }
        Keeping::Straight => watched::check_grantable(&tracer, tables)?,
    }
    let mut columns: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for reference in &tracer.references {
        columns
            .entry(reference.table.clone())
            .or_default()
            .extend(reference.used.iter().cloned());
    }
    Ok(Findings {
        unwatched: watched::unwatched(&tracer, tables),
        columns,
        is_timed: tracer.clock_line.is_some(),
    })
}

pub(crate) fn refuse(line: u64, reason: impl Into<String>, next_step: impl Into<String>) -> Refusal {
    Refusal {
        line: (line as usize).max(1),
        reason: reason.into(),
        next_step: next_step.into(),
    }
}

fn parse(sql: &str) -> Result<Statement, Refusal> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|error| {
        let text = error.to_string();
        let line = text
            .rsplit_once("Line: ")
            .and_then(|(_, rest)| rest.split(',').next()?.trim().parse().ok())
            .unwrap_or(1);
        refuse(
            line,
            format!("the SQL can't be parsed: {text}"),
            "mend it; it must also be understood by the checker's parser",
        )
    })?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err(refuse(
            1,
            "the SQL is not exactly one statement",
            "write one SELECT, with CTEs if need be",
        )),
    }
}

fn check_params(tracer: &Tracer, params: usize) -> Result<(), Refusal> {
    if let Some((number, line)) = tracer
        .params
        .iter()
        .find(|(number, _)| **number == 0 || **number > params)
    {
        return Err(refuse(
            *line,
            format!("the SQL uses ${number}, but the view has {params} parameters"),
            "declare it in `params`",
        ));
    }
    match (1..=params).find(|number| !tracer.params.contains_key(number)) {
        Some(unused) => Err(refuse(
            1,
            format!("parameter ${unused} is declared but not used"),
            "use it or remove it from `params`",
        )),
        None => Ok(()),
    }
}

/// Checks the three output columns; says whether `not_after` can be anything but NULL.
fn check_outputs(body: &SetExpr) -> Result<bool, Refusal> {
    let expected = || {
        refuse(
            1,
            "the SQL does not give exactly the columns body, tags, not_after",
            "end with SELECT … AS body, … AS tags, … AS not_after",
        )
    };
    let SetExpr::Select(select) = body else {
        return Err(expected());
    };
    let aliases: Vec<Option<(&str, &Expr)>> = select
        .projection
        .iter()
        .map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => Some((alias.value.as_str(), expr)),
            _ => None,
        })
        .collect();
    match aliases[..] {
        [Some(("body", _)), Some(("tags", _)), Some(("not_after", not_after))] => Ok(!is_null(not_after)),
        _ => Err(expected()),
    }
}

fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_null(expr),
        Expr::Value(value) => value.value == Value::Null,
        _ => false,
    }
}

/// Grows the set of covered references until nothing is added; whatever stays outside is refused.
fn check_covered(tracer: &Tracer, tables: &[Table]) -> Result<(), Refusal> {
    for call in &tracer.calls {
        check_call(call, tables)?;
    }
    let mut covered = vec![false; tracer.references.len()];
    loop {
        let before = covered.clone();
        for (index, reference) in tracer.references.iter().enumerate() {
            let rules = &tables
                .iter()
                .find(|table| table.name == reference.table)
                .expect("checked to be watched")
                .tags;
            covered[index] = before[index]
                || rules
                    .iter()
                    .any(|rule| is_covered_by(tracer, &before, index, reference, rule));
        }
        if covered == before {
            break;
        }
    }
    match covered.iter().position(|is_covered| !is_covered) {
        None => Ok(()),
        Some(index) => Err(uncovered(tracer, index, tables)),
    }
}

fn check_call(call: &TagCall, tables: &[Table]) -> Result<(), Refusal> {
    let Some(rule) = tables
        .iter()
        .flat_map(|table| &table.tags)
        .find(|rule| rule.name == call.rule)
    else {
        return Err(refuse(
            call.line,
            format!("there is no tag rule `{}`", call.rule),
            "declare it under its table, or mend the name",
        ));
    };
    if rule.hashed != call.is_hashed {
        let right = if rule.hashed { "tag_hashed" } else { "tag" };
        return Err(refuse(
            call.line,
            format!("rule `{}` is named by the wrong function", call.rule),
            format!("call neverstale.{right}(…)"),
        ));
    }
    let keys = rule.key.len().max(1);
    if call.args.len() != keys {
        let reason = format!(
            "rule `{}` takes {keys} arguments, but the call gives {}",
            call.rule,
            call.args.len()
        );
        return Err(refuse(
            call.line,
            reason,
            "give one per key column; '' for a rule without key",
        ));
    }
    Ok(())
}

fn is_covered_by(tracer: &Tracer, covered: &[bool], index: usize, reference: &Reference, rule: &TagRule) -> bool {
    let sees_all_changes = rule.of.as_ref().is_none_or(|of| {
        reference
            .used
            .iter()
            .all(|column| of.contains(column) || rule.key.contains(column))
    });
    if !sees_all_changes {
        return false;
    }
    let keys: Vec<&String> = rule.each.iter().chain(&rule.key).collect();
    tracer.calls.iter().filter(|call| call.rule == rule.name).any(|call| {
        keys.iter().zip(&call.args).all(|(key, arg)| {
            let binds = |binding: &Binding| {
                binding.reference == index
                    && binding.column == **key
                    && binding.is_element == rule.each.is_some()
                    && (rule.lower || !binding.is_lowered)
                    && arg.is_lowered == rule.lower
                    && binding.source.origins.iter().all(|origin| origin.is_grounded(covered))
                    && tracer
                        .expand(&binding.source.origins)
                        .is_subset(&tracer.expand(&arg.origins))
            };
            tracer.bindings.iter().any(binds)
        })
    })
}

fn uncovered(tracer: &Tracer, index: usize, tables: &[Table]) -> Refusal {
    let reference = &tracer.references[index];
    let Reference { table, alias, .. } = reference;
    let rules = &tables
        .iter()
        .find(|watched| watched.name == *table)
        .expect("checked to be watched")
        .tags;
    let bound = |rule: &&TagRule| {
        rule.each.iter().chain(&rule.key).all(|key| {
            tracer
                .bindings
                .iter()
                .any(|binding| binding.reference == index && binding.column == *key)
        })
    };
    let named = |rule: &TagRule| tracer.calls.iter().any(|call| call.rule == rule.name);
    let keyed = rules
        .iter()
        .filter(|rule| rule.each.is_some() || !rule.key.is_empty())
        .find(bound);
    let (reason, next_step) = match keyed {
        Some(rule) if !named(rule) => (
            format!(
                "table `{table}` (as `{alias}`) is bound by rule `{}`, but no tag of that rule is given",
                rule.name
            ),
            format!(
                "add neverstale.{}('{}', …) to the tags",
                if rule.hashed { "tag_hashed" } else { "tag" },
                rule.name
            ),
        ),
        Some(rule) => (
            format!(
                "table `{table}` (as `{alias}`) is bound by rule `{}`, but its tags are not of the values that bind it, or its `of` or `lower` does not fit",
                rule.name
            ),
            "give the tag of the very parameter or column that the key is compared with".to_owned(),
        ),
        None => match rules
            .iter()
            .find(|rule| rule.key.is_empty() && rule.each.is_none() && named(rule))
        {
            Some(rule) => (
                format!(
                    "table `{table}` (as `{alias}`) is read in columns that rule `{}` does not see (its `of`)",
                    rule.name
                ),
                "widen `of`, or bind the table by a key".to_owned(),
            ),
            None => (
                format!(
                    "table `{table}` (as `{alias}`) is not bound: none of its tag rules' keys is compared with a parameter or with a column of covered rows"
                ),
                "compare a key column with =, or give the tag of a rule with key = [] of that table".to_owned(),
            ),
        },
    };
    refuse(reference.line, reason, next_step)
}

#[cfg(test)]
mod tests;
