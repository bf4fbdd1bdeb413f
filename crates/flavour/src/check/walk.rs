//! Reads queries: CTEs, SELECTs, set operations. Opens and closes scopes; `from` collects references and bindings for `check` to judge.
//!
//! Expressions are read in `expr` and `call`. Refuses every construct that it does not know.

mod call;
mod expr;
mod from;

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, LimitClause, OrderBy, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator,
};

use super::lineage::{Cte, Frame, Origin, OriginSet, Relation, Tracer};
use super::{Refusal, refuse};

type Columns = Vec<(String, OriginSet)>;

const SIMPLER: &str = "write it with plain SELECTs, inner and left joins, CTEs and subqueries";

/// Reads a query; gives its output columns.
pub(super) fn query(tracer: &mut Tracer, query: &Query) -> Result<Columns, Refusal> {
    let depth = tracer.visible.len();
    if !query.locks.is_empty()
        || query.for_clause.is_some()
        || query.fetch.is_some()
        || !query.pipe_operators.is_empty()
    {
        return Err(refuse(
            1,
            "locking clauses and dialect extensions are not allowed",
            SIMPLER,
        ));
    }
    if let Some(with) = &query.with {
        for cte in &with.cte_tables {
            common_table(tracer, cte, with.recursive)?;
        }
    }
    let columns = body(tracer, &query.body, query.order_by.as_ref())?;
    if let Some(limit) = &query.limit_clause {
        let LimitClause::LimitOffset {
            limit,
            offset,
            limit_by,
        } = limit
        else {
            return Err(refuse(1, "this form of LIMIT is not understood", SIMPLER));
        };
        for limited in limit
            .iter()
            .chain(offset.iter().map(|offset| &offset.value))
            .chain(limit_by)
        {
            expr::read(tracer, limited)?;
        }
    }
    tracer.visible.truncate(depth);
    Ok(columns)
}

fn common_table(tracer: &mut Tracer, cte: &sqlparser::ast::Cte, is_recursive: bool) -> Result<(), Refusal> {
    let name = fold(&cte.alias.name);
    let names: Vec<String> = cte.alias.columns.iter().map(|column| fold(&column.name)).collect();
    let depth = tracer.visible.len();
    let columns = match &*cte.query.body {
        SetExpr::SetOperation {
            op: SetOperator::Union,
            left,
            right,
            ..
        } if is_recursive && cte.query.with.is_none() && cte.query.limit_clause.is_none() => {
            let first = renamed(body(tracer, left, None)?, &names);
            let index = tracer.ctes.len();
            let mut marked = first.clone();
            for (column, (_, origins)) in marked.iter_mut().enumerate() {
                origins.insert(Origin::Recursion { cte: index, column });
            }
            tracer.ctes.push(Cte {
                name: name.clone(),
                columns: marked,
            });
            tracer.visible.push(index);
            let second = body(tracer, right, None)?;
            let mut all = merged(first, second, line(&cte.alias.name))?;
            for (_, origins) in &mut all {
                origins.retain(|origin| !matches!(origin, Origin::Recursion { cte, .. } if *cte == index));
            }
            tracer.ctes[index].columns = all;
            tracer.visible.truncate(depth);
            tracer.visible.push(index);
            return Ok(());
        }
        _ => renamed(query(tracer, &cte.query)?, &names),
    };
    tracer.visible.push(tracer.ctes.len());
    tracer.ctes.push(Cte { name, columns });
    Ok(())
}

fn body(tracer: &mut Tracer, set: &SetExpr, order_by: Option<&OrderBy>) -> Result<Columns, Refusal> {
    match set {
        SetExpr::Select(inner) => select(tracer, inner, order_by),
        SetExpr::Query(inner) => query(tracer, inner),
        SetExpr::SetOperation { left, right, .. } => {
            let (left, right) = (body(tracer, left, None)?, body(tracer, right, None)?);
            let columns = merged(left, right, 1)?;
            tracer.frames.push(Frame {
                relations: vec![(String::new(), Relation::Derived(columns.clone()))],
            });
            let ordered = order(tracer, order_by);
            tracer.frames.pop();
            ordered.map(|()| columns)
        }
        SetExpr::Values(values) => {
            let mut columns: Columns = Vec::new();
            for row in &values.rows {
                for (index, value) in row.iter().enumerate() {
                    let origins = expr::read(tracer, value)?.origins;
                    match columns.get_mut(index) {
                        Some((_, known)) => known.extend(origins),
                        None => columns.push((format!("column{}", index + 1), origins)),
                    }
                }
            }
            Ok(columns)
        }
        _ => Err(refuse(1, "only SELECT, VALUES and set operations are allowed", SIMPLER)),
    }
}

fn merged(left: Columns, right: Columns, line: u64) -> Result<Columns, Refusal> {
    if left.len() != right.len() {
        return Err(refuse(
            line,
            "the sides of a set operation have different numbers of columns",
            "give both the same columns",
        ));
    }
    Ok(left
        .into_iter()
        .zip(right)
        .map(|((name, mut origins), (_, more))| {
            origins.extend(more);
            (name, origins)
        })
        .collect())
}

fn renamed(mut columns: Columns, names: &[String]) -> Columns {
    for ((name, _), new) in columns.iter_mut().zip(names) {
        name.clone_from(new);
    }
    columns
}

fn select(tracer: &mut Tracer, select: &Select, order_by: Option<&OrderBy>) -> Result<Columns, Refusal> {
    let plain = select.into.is_none()
        && select.top.is_none()
        && select.lateral_views.is_empty()
        && select.prewhere.is_none()
        && select.qualify.is_none()
        && select.named_window.is_empty()
        && select.connect_by.is_none()
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
        && select.sort_by.is_empty()
        && select.value_table_mode.is_none()
        && select.exclude.is_none();
    if !plain {
        return Err(refuse(1, "a clause of this SELECT is not understood", SIMPLER));
    }
    tracer.frames.push(Frame::default());
    for item in &select.from {
        from::from(tracer, item)?;
    }
    if let Some(condition) = &select.selection {
        from::conjuncts(tracer, condition, 0)?;
    }
    let GroupByExpr::Expressions(grouping, modifiers) = &select.group_by else {
        return Err(refuse(1, "GROUP BY ALL is not understood", SIMPLER));
    };
    if !modifiers.is_empty() {
        return Err(refuse(1, "this form of GROUP BY is not understood", SIMPLER));
    }
    let distinct: &[Expr] = match &select.distinct {
        Some(Distinct::On(exprs)) => exprs,
        Some(Distinct::Distinct) | None => &[],
    };
    for inner in grouping.iter().chain(&select.having).chain(distinct) {
        expr::read(tracer, inner)?;
    }
    let columns = projection(tracer, &select.projection)?;
    // A bare name in ORDER BY means an output column first.
    let outputs = Relation::Derived(columns.clone());
    tracer
        .frames
        .last_mut()
        .expect("pushed above")
        .relations
        .push((String::new(), outputs));
    order(tracer, order_by)?;
    tracer.frames.pop();
    Ok(columns)
}

fn order(tracer: &mut Tracer, order_by: Option<&OrderBy>) -> Result<(), Refusal> {
    let Some(order_by) = order_by else { return Ok(()) };
    let OrderByKind::Expressions(exprs) = &order_by.kind else {
        return Err(refuse(1, "ORDER BY ALL is not understood", SIMPLER));
    };
    exprs.iter().try_for_each(|by| expr::read(tracer, &by.expr).map(drop))
}

fn projection(tracer: &mut Tracer, items: &[SelectItem]) -> Result<Columns, Refusal> {
    let mut columns = Columns::new();
    for item in items {
        match item {
            SelectItem::UnnamedExpr(inner) => columns.push((output_name(inner), expr::read(tracer, inner)?.origins)),
            SelectItem::ExprWithAlias { expr: inner, alias } => {
                columns.push((fold(alias), expr::read(tracer, inner)?.origins));
            }
            SelectItem::Wildcard(_) => {
                let relations = tracer.frames.last().expect("inside a SELECT").relations.clone();
                for (_, relation) in relations {
                    columns.extend(star(relation, 1)?);
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let ident =
                    call::single(name).ok_or_else(|| refuse(1, "this `.*` is not understood", "name the columns"))?;
                let relation = relation_named(tracer, &fold(ident))
                    .ok_or_else(|| refuse(line(ident), format!("`{ident}` is unknown here"), "name the columns"))?;
                columns.extend(star(relation, line(ident))?);
            }
            SelectItem::QualifiedWildcard(..) => {
                return Err(refuse(1, "this `.*` is not understood", "name the columns"));
            }
        }
    }
    Ok(columns)
}

fn star(relation: Relation, line: u64) -> Result<Columns, Refusal> {
    match relation {
        Relation::Derived(columns) => Ok(columns),
        Relation::Opaque { columns, origins } => Ok(columns.into_iter().map(|name| (name, origins.clone())).collect()),
        Relation::Base(_) => Err(refuse(
            line,
            "`*` of a table reads columns that are not watched",
            "name the columns",
        )),
    }
}

fn relation_named(tracer: &Tracer, alias: &str) -> Option<Relation> {
    tracer
        .frames
        .iter()
        .rev()
        .flat_map(|frame| &frame.relations)
        .find(|(name, _)| name == alias)
        .map(|(_, relation)| relation.clone())
}

fn output_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => fold(ident),
        Expr::CompoundIdentifier(idents) => idents.last().map(fold).unwrap_or_default(),
        Expr::Function(function) => call::single(&function.name).map(fold).unwrap_or_default(),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => output_name(expr),
        _ => "?column?".to_owned(),
    }
}

/// A name as Postgres sees it: folded to lower case unless quoted.
fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_lowercase()
    }
}

fn line(ident: &Ident) -> u64 {
    ident.span.start.line
}
