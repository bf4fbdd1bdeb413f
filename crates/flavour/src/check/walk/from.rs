//! Reads FROM and the conditions that narrow what stands there: this is where references begin and where they are bound.
//!
//! Called by `walk` for each SELECT. Only conjuncts bind: a comparison under OR or NOT narrows nothing for certain.

use std::collections::BTreeSet;

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, TableAlias, TableFactor, TableWithJoins,
};

use super::super::lineage::{Binding, Origin, OriginSet, Reference, Relation, Source, Tracer};
use super::super::{Refusal, refuse};
use super::{SIMPLER, call, expr, fold, line, query, renamed};

pub(super) fn from(tracer: &mut Tracer, item: &TableWithJoins) -> Result<(), Refusal> {
    factor(tracer, &item.relation)?;
    for join in &item.joins {
        let first_reference = tracer.references.len();
        factor(tracer, &join.relation)?;
        match &join.join_operator {
            JoinOperator::Join(JoinConstraint::On(condition)) | JoinOperator::Inner(JoinConstraint::On(condition)) => {
                conjuncts(tracer, condition, 0)?;
            }
            // The ON of a left join narrows the joined side only.
            JoinOperator::Left(JoinConstraint::On(condition))
            | JoinOperator::LeftOuter(JoinConstraint::On(condition)) => conjuncts(tracer, condition, first_reference)?,
            JoinOperator::CrossJoin(JoinConstraint::None) => {}
            _ => {
                return Err(refuse(
                    1,
                    "only inner, left and cross joins with ON are allowed",
                    SIMPLER,
                ));
            }
        }
    }
    Ok(())
}

fn factor(tracer: &mut Tracer, table: &TableFactor) -> Result<(), Refusal> {
    let (alias, relation) = match table {
        TableFactor::Table {
            name,
            alias,
            args: None,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            with_hints,
            index_hints,
        } if partitions.is_empty() && with_hints.is_empty() && index_hints.is_empty() => {
            let idents: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
            let (own, relation) = match idents[..] {
                [ident] => {
                    let name = fold(ident);
                    let cte = tracer.cte_named(&name).ok_or_else(|| {
                        refuse(
                            line(ident),
                            format!("`{name}` is neither a CTE nor written app.\"{name}\""),
                            "write tables of the application as app.\"table\"",
                        )
                    })?;
                    (name, Relation::Derived(cte.columns.clone()))
                }
                [schema, ident] if matches!(schema.value.as_str(), "app" | "neverstale") => {
                    let (index, name, renames) = (tracer.references.len(), fold(ident), alias_columns(alias.as_ref()));
                    let alias = alias.as_ref().map_or_else(|| name.clone(), |alias| fold(&alias.name));
                    tracer.references.push(Reference {
                        table: name.clone(),
                        is_ours: schema.value == "neverstale",
                        alias,
                        line: line(ident),
                        used: BTreeSet::new(),
                    });
                    if let Some(column) = renames {
                        return Err(refuse(
                            line(&column),
                            "columns of a table can't be renamed in its alias",
                            "rename them in the SELECT",
                        ));
                    }
                    (name, Relation::Base(index))
                }
                _ => {
                    return Err(refuse(
                        idents.first().map_or(1, |ident| line(ident)),
                        format!("table `{name}` is not of the application"),
                        "write tables of the application as app.\"table\"",
                    ));
                }
            };
            (
                alias.as_ref().map_or(own, |alias| fold(&alias.name)),
                renamed_relation(relation, alias.as_ref()),
            )
        }
        TableFactor::Table {
            name,
            alias,
            args: Some(args),
            ..
        } if args.settings.is_none() => {
            let origins = call::table_function(tracer, name, &args.args)?;
            opaque(alias.as_ref(), call::single(name), origins)
        }
        TableFactor::Function { name, args, alias, .. } => {
            let origins = call::table_function(tracer, name, args)?;
            opaque(alias.as_ref(), call::single(name), origins)
        }
        TableFactor::UNNEST { alias, array_exprs, .. } => {
            let mut origins = OriginSet::new();
            for array in array_exprs {
                origins.extend(expr::read(tracer, array)?.origins);
            }
            opaque(
                alias.as_ref(),
                None,
                OriginSet::from([Origin::Call {
                    function: "unnest".to_owned(),
                    origins,
                }]),
            )
        }
        TableFactor::Derived {
            subquery,
            alias: Some(alias),
            ..
        } => {
            let names: Vec<String> = alias.columns.iter().map(|column| fold(&column.name)).collect();
            (
                fold(&alias.name),
                Relation::Derived(renamed(query(tracer, subquery)?, &names)),
            )
        }
        TableFactor::NestedJoin {
            table_with_joins,
            alias: None,
        } => return from(tracer, table_with_joins),
        _ => return Err(refuse(1, format!("`{table}` in FROM is not understood"), SIMPLER)),
    };
    tracer
        .frames
        .last_mut()
        .expect("a FROM is inside a SELECT")
        .relations
        .push((alias, relation));
    Ok(())
}

fn alias_columns(alias: Option<&TableAlias>) -> Option<Ident> {
    alias
        .and_then(|alias| alias.columns.first())
        .map(|column| column.name.clone())
}

fn renamed_relation(relation: Relation, alias: Option<&TableAlias>) -> Relation {
    let names: Vec<String> = alias
        .map(|alias| alias.columns.iter().map(|column| fold(&column.name)).collect())
        .unwrap_or_default();
    match relation {
        Relation::Derived(columns) => Relation::Derived(renamed(columns, &names)),
        other => other,
    }
}

fn opaque(alias: Option<&TableAlias>, function: Option<&Ident>, origins: OriginSet) -> (String, Relation) {
    let name = alias
        .map(|alias| fold(&alias.name))
        .or_else(|| function.map(fold))
        .unwrap_or_default();
    let mut columns: Vec<String> = alias
        .map(|alias| alias.columns.iter().map(|column| fold(&column.name)).collect())
        .unwrap_or_default();
    if columns.is_empty() {
        columns.push(name.clone());
    }
    (name, Relation::Opaque { columns, origins })
}

/// Reads a condition; each of its conjuncts that compares a key may bind a reference from `first_reference` on.
pub(super) fn conjuncts(tracer: &mut Tracer, condition: &Expr, first_reference: usize) -> Result<(), Refusal> {
    match condition {
        Expr::Nested(inner) => conjuncts(tracer, inner, first_reference),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            conjuncts(tracer, left, first_reference)?;
            conjuncts(tracer, right, first_reference)
        }
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        } => {
            let (left, right) = (expr::read(tracer, left)?, expr::read(tracer, right)?);
            bind(tracer, &left, &right, false, first_reference);
            bind(tracer, &right, &left, false, first_reference);
            Ok(())
        }
        Expr::BinaryOp {
            left,
            op: BinaryOperator::AtArrow,
            right,
        } => {
            let left = expr::read(tracer, left)?;
            match call::only_element(right) {
                Some(element) => {
                    let element = expr::read(tracer, element)?;
                    bind(tracer, &left, &element, true, first_reference);
                    Ok(())
                }
                None => expr::read(tracer, right).map(drop),
            }
        }
        Expr::InSubquery {
            expr: inner,
            subquery,
            negated: false,
        } => {
            let left = expr::read(tracer, inner)?;
            let origins = query(tracer, subquery)?
                .into_iter()
                .next()
                .map(|(_, origins)| origins)
                .unwrap_or_default();
            bind(
                tracer,
                &left,
                &Source {
                    origins,
                    ..Source::default()
                },
                false,
                first_reference,
            );
            Ok(())
        }
        other => expr::read(tracer, other).map(drop),
    }
}

fn bind(tracer: &mut Tracer, key: &Source, source: &Source, is_element: bool, first_reference: usize) {
    let Some((reference, column)) = &key.column else { return };
    let is_own = tracer.frames.last().is_some_and(|frame| {
        frame
            .relations
            .iter()
            .any(|(_, relation)| matches!(relation, Relation::Base(index) if index == reference))
    });
    let is_of_itself = source
        .origins
        .iter()
        .any(|origin| matches!(origin, Origin::Column { reference: other, .. } if other == reference));
    if is_own
        && !is_of_itself
        && *reference >= first_reference
        && key.is_json == is_element
        && !source.origins.is_empty()
    {
        let (reference, column) = (*reference, column.clone());
        tracer.bindings.push(Binding {
            reference,
            column,
            is_lowered: key.is_lowered,
            is_element,
            source: source.clone(),
        });
    }
}
