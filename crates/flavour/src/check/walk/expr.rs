//! Reads expressions: which columns they use, which functions they call, and what value they hand through.
//!
//! Called by `walk` for every expression of a statement. Refuses functions that are not known to be built in and stable.

use sqlparser::ast::{
    AccessExpr, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Spanned, Subscript,
    Value,
};

use super::super::functions::{self, Kind};
use super::super::lineage::{Origin, Relation, Source, Tracer};
use super::super::{Refusal, refuse};
use super::{call, fold, line, query, relation_named};

/// Reads an expression; gives what it hands through.
pub(super) fn read(tracer: &mut Tracer, expr: &Expr) -> Result<Source, Refusal> {
    let source = read_parts(tracer, expr)?;
    if source.origins.contains(&Origin::Computed) && is_constant(expr) {
        return Ok(Source::of(Origin::Expression(expr.to_string())));
    }
    Ok(source)
}

/// Whether an expression is computed from parameters and literals alone, so that the same text means the same value throughout the statement.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) => true,
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => is_constant(inner),
        Expr::BinaryOp { left, right, .. } => is_constant(left) && is_constant(right),
        Expr::Substring {
            expr: inner,
            substring_from,
            substring_for,
            ..
        } => {
            is_constant(inner)
                && [substring_from, substring_for]
                    .into_iter()
                    .flatten()
                    .all(|bound| is_constant(bound))
        }
        Expr::Function(Function {
            name,
            args: FunctionArguments::List(list),
            over: None,
            filter: None,
            ..
        }) => {
            functions::kind(&call::qualified_name(name)) == Some(Kind::Plain)
                && list.clauses.is_empty()
                && list
                    .args
                    .iter()
                    .all(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(inner)) if is_constant(inner)))
        }
        _ => false,
    }
}

fn read_parts(tracer: &mut Tracer, expr: &Expr) -> Result<Source, Refusal> {
    match expr {
        Expr::Identifier(ident) => bare(tracer, ident),
        Expr::CompoundIdentifier(idents) => qualified(tracer, idents),
        Expr::Value(value) => literal(tracer, &value.value, value.span.start.line),
        Expr::Nested(inner) => read(tracer, inner),
        Expr::Cast {
            expr: inner,
            data_type,
            format: None,
            ..
        } => cast(tracer, inner, data_type),
        Expr::Function(function) => call::call(tracer, function),
        Expr::Subquery(subquery) => {
            let columns = query(tracer, subquery)?;
            Ok(Source {
                origins: columns
                    .into_iter()
                    .next()
                    .map(|(_, origins)| origins)
                    .unwrap_or_default(),
                ..Source::default()
            })
        }
        Expr::Exists { subquery, .. } => query(tracer, subquery).map(|_| Source::computed()),
        Expr::InSubquery {
            expr: inner, subquery, ..
        } => {
            read(tracer, inner)?;
            query(tracer, subquery).map(|_| Source::computed())
        }
        Expr::BinaryOp { left, right, .. }
        | Expr::AnyOp { left, right, .. }
        | Expr::AllOp { left, right, .. }
        | Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right) => all(tracer, [&**left, &**right]),
        Expr::UnaryOp { expr: inner, .. }
        | Expr::Ceil { expr: inner, .. }
        | Expr::Floor { expr: inner, .. }
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsNotFalse(inner) => all(tracer, [&**inner]),
        Expr::InList { expr: inner, list, .. } => all(tracer, std::iter::once(&**inner).chain(list)),
        Expr::Between {
            expr: inner, low, high, ..
        } => all(tracer, [&**inner, &**low, &**high]),
        Expr::Like {
            expr: inner, pattern, ..
        }
        | Expr::ILike {
            expr: inner, pattern, ..
        } => all(tracer, [&**inner, &**pattern]),
        Expr::Position { expr: inner, r#in } => all(tracer, [&**inner, &**r#in]),
        Expr::Trim {
            expr: inner, trim_what, ..
        } => all(tracer, std::iter::once(&**inner).chain(trim_what.as_deref())),
        Expr::Substring {
            expr: inner,
            substring_from,
            substring_for,
            ..
        } => all(
            tracer,
            std::iter::once(&**inner)
                .chain(substring_from.as_deref())
                .chain(substring_for.as_deref()),
        ),
        Expr::Array(array) => all(tracer, &array.elem),
        Expr::Tuple(items) => all(tracer, items),
        Expr::Case {
            operand,
            conditions,
            else_result,
            ..
        } => {
            let branches = conditions.iter().flat_map(|when| [&when.condition, &when.result]);
            all(
                tracer,
                operand
                    .as_deref()
                    .into_iter()
                    .chain(branches)
                    .chain(else_result.as_deref()),
            )
        }
        Expr::Collate { expr: inner, collation } if matches!(call::single(collation), Some(name) if name.value == "C") => {
            all(tracer, [&**inner])
        }
        Expr::CompoundFieldAccess { root, access_chain } => subscripted(tracer, root, access_chain),
        _ => Err(refuse(
            expr.span().start.line,
            format!("`{expr}` is not understood"),
            "write it in a simpler way",
        )),
    }
}

pub(super) fn all<'e>(tracer: &mut Tracer, exprs: impl IntoIterator<Item = &'e Expr>) -> Result<Source, Refusal> {
    for expr in exprs {
        read(tracer, expr)?;
    }
    Ok(Source::computed())
}

/// Reads `array[…]`; the parser takes `alias.column[…]` apart in its own way.
fn subscripted(tracer: &mut Tracer, root: &Expr, chain: &[AccessExpr]) -> Result<Source, Refusal> {
    let subscripts =
        if let (Expr::Identifier(alias), [AccessExpr::Dot(Expr::Identifier(column)), rest @ ..]) = (root, chain) {
            qualified(tracer, &[alias.clone(), column.clone()])?;
            rest
        } else {
            read(tracer, root)?;
            chain
        };
    for access in subscripts {
        match access {
            AccessExpr::Subscript(Subscript::Index { index }) => drop(read(tracer, index)?),
            AccessExpr::Subscript(Subscript::Slice {
                lower_bound,
                upper_bound,
                stride,
            }) => {
                all(tracer, lower_bound.iter().chain(upper_bound).chain(stride))?;
            }
            AccessExpr::Dot(_) => {
                let line = root.span().start.line;
                return Err(refuse(
                    line,
                    format!("`{root}.{access}` is not understood"),
                    "use -> or ->> for JSON, alias.column for columns",
                ));
            }
        }
    }
    Ok(Source::computed())
}

fn literal(tracer: &mut Tracer, value: &Value, line: u64) -> Result<Source, Refusal> {
    match value {
        Value::Placeholder(name) => {
            let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
            let number = number.ok_or_else(|| {
                refuse(
                    line,
                    format!("placeholder `{name}` is not understood"),
                    "write $1, $2, …",
                )
            })?;
            tracer.params.entry(number).or_insert(line);
            Ok(Source::of(Origin::Param(number)))
        }
        Value::SingleQuotedString(text) => Ok(Source::of(Origin::Literal(text.clone()))),
        Value::Number(..)
        | Value::Boolean(_)
        | Value::Null
        | Value::EscapedStringLiteral(_)
        | Value::DollarQuotedString(_) => Ok(Source::computed()),
        other => Err(refuse(
            line,
            format!("literal `{other}` is not understood"),
            "write it in a simpler way",
        )),
    }
}

fn cast(tracer: &mut Tracer, inner: &Expr, data_type: &DataType) -> Result<Source, Refusal> {
    let source = read(tracer, inner)?;
    let name = data_type.to_string().to_lowercase();
    if !functions::is_known_type(&name) {
        return Err(refuse(
            1,
            format!("a cast to `{name}` may depend on the session or on the application's schema"),
            "cast to text, jsonb, bigint, …",
        ));
    }
    if functions::is_text(&name) && !source.is_json {
        return Ok(source);
    }
    if functions::is_json(&name) {
        return Ok(Source {
            is_json: true,
            ..source
        });
    }
    Ok(Source::computed())
}

fn bare(tracer: &mut Tracer, ident: &Ident) -> Result<Source, Refusal> {
    let name = fold(ident);
    for frame in tracer.frames.iter().rev() {
        for (alias, relation) in frame.relations.iter().rev() {
            match relation {
                Relation::Derived(columns) => {
                    if let Some((_, origins)) = columns.iter().find(|(column, _)| *column == name) {
                        return Ok(Source {
                            origins: origins.clone(),
                            ..Source::default()
                        });
                    }
                }
                Relation::Opaque { columns, origins } => {
                    if columns.contains(&name) || *alias == name {
                        return Ok(Source {
                            origins: origins.clone(),
                            ..Source::default()
                        });
                    }
                }
                Relation::Base(_) if *alias == name => {
                    return Err(refuse(
                        line(ident),
                        format!("`{name}` reads the whole row, also what is not watched"),
                        "name the columns",
                    ));
                }
                Relation::Base(_) => {}
            }
            // A subquery's or CTE's whole row: its columns were judged where they were read.
            if *alias == name {
                return Ok(Source::computed());
            }
        }
        if frame
            .relations
            .iter()
            .any(|(_, relation)| matches!(relation, Relation::Base(_)))
        {
            return Err(refuse(
                line(ident),
                format!("column `{name}` is not qualified where a table is read"),
                "write alias.column",
            ));
        }
    }
    Err(refuse(
        line(ident),
        format!("`{name}` is unknown here"),
        "write alias.column",
    ))
}

fn qualified(tracer: &mut Tracer, idents: &[Ident]) -> Result<Source, Refusal> {
    let [alias, column] = idents else {
        return Err(refuse(
            idents.first().map_or(1, line),
            "a name with more than two parts is not understood",
            "write alias.column",
        ));
    };
    let (name, column_name) = (fold(alias), fold(column));
    match relation_named(tracer, &name) {
        Some(Relation::Base(reference)) => {
            tracer.references[reference].used.insert(column_name.clone());
            let origin = Origin::Column {
                reference,
                column: column_name.clone(),
            };
            Ok(Source {
                column: Some((reference, column_name)),
                ..Source::of(origin)
            })
        }
        Some(Relation::Derived(columns)) => match columns.into_iter().find(|(known, _)| *known == column_name) {
            Some((_, origins)) => Ok(Source {
                origins,
                ..Source::default()
            }),
            None => Err(refuse(
                line(alias),
                format!("`{name}` has no column `{column_name}`"),
                "give it one in its SELECT",
            )),
        },
        Some(Relation::Opaque { origins, .. }) => Ok(Source {
            origins,
            ..Source::default()
        }),
        None => Err(refuse(
            line(alias),
            format!("`{name}` is unknown here"),
            "write alias.column with an alias of FROM",
        )),
    }
}
