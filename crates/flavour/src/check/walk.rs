//! Reads queries: CTEs, SELECTs, joins. Opens and closes scopes, collects references and bindings for `check` to judge.
//!
//! Expressions are read in `expr`. Refuses every construct that it does not know.

mod expr;

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, LimitClause, OrderBy, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, TableAlias, TableFactor, TableWithJoins,
};

use super::lineage::{Binding, Cte, Frame, Origin, OriginSet, Reference, Relation, Source, Tracer};
use super::{Refusal, refuse};

type Columns = Vec<(String, OriginSet)>;

const SIMPLER: &str = "write it with plain SELECTs, inner and left joins, CTEs and subqueries";

/// Reads a query; gives its output columns.
pub(super) fn query(tracer: &mut Tracer, query: &Query) -> Result<Columns, Refusal> {
    let depth = tracer.visible.len();
    if !query.locks.is_empty() || query.for_clause.is_some() || query.fetch.is_some() || !query.pipe_operators.is_empty() {
        return Err(refuse(1, "locking clauses and dialect extensions are not allowed", SIMPLER));
    }
    if let Some(with) = &query.with {
        for cte in &with.cte_tables {
            common_table(tracer, cte, with.recursive)?;
        }
    }
    let columns = body(tracer, &query.body, query.order_by.as_ref())?;
    if let Some(limit) = &query.limit_clause {
        let LimitClause::LimitOffset { limit, offset, limit_by } = limit else { return Err(refuse(1, "this form of LIMIT is not understood", SIMPLER)) };
        for limited in limit.iter().chain(offset.iter().map(|offset| &offset.value)).chain(limit_by) {
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
        SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } if is_recursive && cte.query.with.is_none() && cte.query.limit_clause.is_none() => {
            let first = renamed(body(tracer, left, None)?, &names);
            let index = tracer.ctes.len();
            let mut marked = first.clone();
            for (column, (_, origins)) in marked.iter_mut().enumerate() {
                origins.insert(Origin::Recursion { cte: index, column });
            }
            tracer.ctes.push(Cte { name: name.clone(), columns: marked });
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
            tracer.frames.push(Frame { relations: vec![(String::new(), Relation::Derived(columns.clone()))] });
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
        return Err(refuse(line, "the sides of a set operation have different numbers of columns", "give both the same columns"));
    }
    Ok(left.into_iter().zip(right).map(|((name, mut origins), (_, more))| {
        origins.extend(more);
        (name, origins)
    }).collect())
}

fn renamed(mut columns: Columns, names: &[String]) -> Columns {
    for ((name, _), new) in columns.iter_mut().zip(names) {
        name.clone_from(new);
    }
    columns
}

fn select(tracer: &mut Tracer, select: &Select, order_by: Option<&OrderBy>) -> Result<Columns, Refusal> {
    let plain = select.into.is_none() && select.top.is_none() && select.lateral_views.is_empty() && select.prewhere.is_none()
        && select.qualify.is_none() && select.named_window.is_empty() && select.connect_by.is_none() && select.cluster_by.is_empty()
        && select.distribute_by.is_empty() && select.sort_by.is_empty() && select.value_table_mode.is_none() && select.exclude.is_none();
    if !plain {
        return Err(refuse(1, "a clause of this SELECT is not understood", SIMPLER));
    }
    tracer.frames.push(Frame::default());
    for item in &select.from {
        from(tracer, item)?;
    }
    if let Some(condition) = &select.selection {
        conjuncts(tracer, condition, 0)?;
    }
    let GroupByExpr::Expressions(grouping, modifiers) = &select.group_by else { return Err(refuse(1, "GROUP BY ALL is not understood", SIMPLER)) };
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
    tracer.frames.last_mut().expect("pushed above").relations.push((String::new(), outputs));
    order(tracer, order_by)?;
    tracer.frames.pop();
    Ok(columns)
}

fn order(tracer: &mut Tracer, order_by: Option<&OrderBy>) -> Result<(), Refusal> {
    let Some(order_by) = order_by else { return Ok(()) };
    let OrderByKind::Expressions(exprs) = &order_by.kind else { return Err(refuse(1, "ORDER BY ALL is not understood", SIMPLER)) };
    exprs.iter().try_for_each(|by| expr::read(tracer, &by.expr).map(drop))
}

fn projection(tracer: &mut Tracer, items: &[SelectItem]) -> Result<Columns, Refusal> {
    let mut columns = Columns::new();
    for item in items {
        match item {
            SelectItem::UnnamedExpr(inner) => columns.push((output_name(inner), expr::read(tracer, inner)?.origins)),
            SelectItem::ExprWithAlias { expr: inner, alias } => columns.push((fold(alias), expr::read(tracer, inner)?.origins)),
            SelectItem::Wildcard(_) => {
                let relations = tracer.frames.last().expect("inside a SELECT").relations.clone();
                for (_, relation) in relations {
                    columns.extend(star(relation, 1)?);
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let ident = expr::single(name).ok_or_else(|| refuse(1, "this `.*` is not understood", "name the columns"))?;
                let relation = relation_named(tracer, &fold(ident)).ok_or_else(|| refuse(line(ident), format!("`{ident}` is unknown here"), "name the columns"))?;
                columns.extend(star(relation, line(ident))?);
            }
            SelectItem::QualifiedWildcard(..) => return Err(refuse(1, "this `.*` is not understood", "name the columns")),
        }
    }
    Ok(columns)
}

fn star(relation: Relation, line: u64) -> Result<Columns, Refusal> {
    match relation {
        Relation::Derived(columns) => Ok(columns),
        Relation::Opaque { columns, origins } => Ok(columns.into_iter().map(|name| (name, origins.clone())).collect()),
        Relation::Base(_) => Err(refuse(line, "`*` of a table reads columns that are not watched", "name the columns")),
    }
}

fn relation_named(tracer: &Tracer, alias: &str) -> Option<Relation> {
    tracer.frames.iter().rev().flat_map(|frame| &frame.relations).find(|(name, _)| name == alias).map(|(_, relation)| relation.clone())
}

fn from(tracer: &mut Tracer, item: &TableWithJoins) -> Result<(), Refusal> {
    factor(tracer, &item.relation)?;
    for join in &item.joins {
        let first_reference = tracer.references.len();
        factor(tracer, &join.relation)?;
        match &join.join_operator {
            JoinOperator::Join(JoinConstraint::On(condition)) | JoinOperator::Inner(JoinConstraint::On(condition)) => conjuncts(tracer, condition, 0)?,
            // The ON of a left join narrows the joined side only.
            JoinOperator::Left(JoinConstraint::On(condition)) | JoinOperator::LeftOuter(JoinConstraint::On(condition)) => conjuncts(tracer, condition, first_reference)?,
            JoinOperator::CrossJoin(JoinConstraint::None) => {}
            _ => return Err(refuse(1, "only inner, left and cross joins with ON are allowed", SIMPLER)),
        }
    }
    Ok(())
}

fn factor(tracer: &mut Tracer, table: &TableFactor) -> Result<(), Refusal> {
    let (alias, relation) = match table {
        TableFactor::Table { name, alias, args: None, version: None, with_ordinality: false, partitions, json_path: None, sample: None, with_hints, index_hints }
            if partitions.is_empty() && with_hints.is_empty() && index_hints.is_empty() =>
        {
            let idents: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
            let (own, relation) = match idents[..] {
                [ident] => {
                    let name = fold(ident);
                    let cte = tracer.cte_named(&name).ok_or_else(|| refuse(line(ident), format!("`{name}` is neither a CTE nor written app.\"{name}\""), "write tables of the application as app.\"table\""))?;
                    (name, Relation::Derived(cte.columns.clone()))
                }
                [schema, ident] if schema.value == "app" => {
                    let (index, name, renames) = (tracer.references.len(), fold(ident), alias_columns(alias.as_ref()));
                    let alias = alias.as_ref().map_or_else(|| name.clone(), |alias| fold(&alias.name));
                    tracer.references.push(Reference { table: name.clone(), alias, line: line(ident), used: Default::default() });
                    if let Some(column) = renames {
                        return Err(refuse(line(&column), "columns of a table can't be renamed in its alias", "rename them in the SELECT"));
                    }
                    (name, Relation::Base(index))
                }
                _ => return Err(refuse(idents.first().map_or(1, |ident| line(ident)), format!("table `{name}` is not of the application"), "write tables of the application as app.\"table\"")),
            };
            (alias.as_ref().map_or(own, |alias| fold(&alias.name)), renamed_relation(relation, alias.as_ref()))
        }
        TableFactor::Table { name, alias, args: Some(args), .. } if args.settings.is_none() => {
            let origins = expr::table_function(tracer, name, &args.args)?;
            opaque(alias.as_ref(), expr::single(name), origins)
        }
        TableFactor::Function { name, args, alias, .. } => {
            let origins = expr::table_function(tracer, name, args)?;
            opaque(alias.as_ref(), expr::single(name), origins)
        }
        TableFactor::UNNEST { alias, array_exprs, .. } => {
            let mut origins = OriginSet::new();
            for array in array_exprs {
                origins.extend(expr::read(tracer, array)?.origins);
            }
            opaque(alias.as_ref(), None, OriginSet::from([Origin::Call { function: "unnest".to_owned(), origins }]))
        }
        TableFactor::Derived { subquery, alias: Some(alias), .. } => {
            let names: Vec<String> = alias.columns.iter().map(|column| fold(&column.name)).collect();
            (fold(&alias.name), Relation::Derived(renamed(query(tracer, subquery)?, &names)))
        }
        TableFactor::NestedJoin { table_with_joins, alias: None } => return from(tracer, table_with_joins),
        _ => return Err(refuse(1, format!("`{table}` in FROM is not understood"), SIMPLER)),
    };
    tracer.frames.last_mut().expect("a FROM is inside a SELECT").relations.push((alias, relation));
    Ok(())
}

fn alias_columns(alias: Option<&TableAlias>) -> Option<Ident> {
    alias.and_then(|alias| alias.columns.first()).map(|column| column.name.clone())
}

fn renamed_relation(relation: Relation, alias: Option<&TableAlias>) -> Relation {
    let names: Vec<String> = alias.map(|alias| alias.columns.iter().map(|column| fold(&column.name)).collect()).unwrap_or_default();
    match relation {
        Relation::Derived(columns) => Relation::Derived(renamed(columns, &names)),
        other => other,
    }
}

fn opaque(alias: Option<&TableAlias>, function: Option<&Ident>, origins: OriginSet) -> (String, Relation) {
    let name = alias.map(|alias| fold(&alias.name)).or_else(|| function.map(fold)).unwrap_or_default();
    let mut columns: Vec<String> = alias.map(|alias| alias.columns.iter().map(|column| fold(&column.name)).collect()).unwrap_or_default();
    if columns.is_empty() {
        columns.push(name.clone());
    }
    (name, Relation::Opaque { columns, origins })
}

/// Reads a condition; each of its conjuncts that compares a key may bind a reference from `first_reference` on.
fn conjuncts(tracer: &mut Tracer, condition: &Expr, first_reference: usize) -> Result<(), Refusal> {
    match condition {
        Expr::Nested(inner) => conjuncts(tracer, inner, first_reference),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(tracer, left, first_reference)?;
            conjuncts(tracer, right, first_reference)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let (left, right) = (expr::read(tracer, left)?, expr::read(tracer, right)?);
            bind(tracer, &left, &right, false, first_reference);
            bind(tracer, &right, &left, false, first_reference);
            Ok(())
        }
        Expr::BinaryOp { left, op: BinaryOperator::AtArrow, right } => {
            let left = expr::read(tracer, left)?;
            match expr::only_element(right) {
                Some(element) => {
                    let element = expr::read(tracer, element)?;
                    bind(tracer, &left, &element, true, first_reference);
                    Ok(())
                }
                None => expr::read(tracer, right).map(drop),
            }
        }
        Expr::InSubquery { expr: inner, subquery, negated: false } => {
            let left = expr::read(tracer, inner)?;
            let origins = query(tracer, subquery)?.into_iter().next().map(|(_, origins)| origins).unwrap_or_default();
            bind(tracer, &left, &Source { origins, ..Source::default() }, false, first_reference);
            Ok(())
        }
        other => expr::read(tracer, other).map(drop),
    }
}

fn bind(tracer: &mut Tracer, key: &Source, source: &Source, is_element: bool, first_reference: usize) {
    let Some((reference, column)) = &key.column else { return };
    let is_own = tracer.frames.last().is_some_and(|frame| {
        frame.relations.iter().any(|(_, relation)| matches!(relation, Relation::Base(index) if index == reference))
    });
    let is_of_itself = source.origins.iter().any(|origin| matches!(origin, Origin::Column { reference: other, .. } if other == reference));
    if is_own && !is_of_itself && *reference >= first_reference && key.is_json == is_element && !source.origins.is_empty() {
        let (reference, column) = (*reference, column.clone());
        tracer.bindings.push(Binding { reference, column, is_lowered: key.is_lowered, is_element, source: source.clone() });
    }
}

fn output_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => fold(ident),
        Expr::CompoundIdentifier(idents) => idents.last().map(fold).unwrap_or_default(),
        Expr::Function(function) => expr::single(&function.name).map(fold).unwrap_or_default(),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => output_name(expr),
        _ => "?column?".to_owned(),
    }
}

/// A name as Postgres sees it: folded to lower case unless quoted.
fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn line(ident: &Ident) -> u64 {
    ident.span.start.line
}
