//! Reads expressions: which columns they use, which functions they call, and what value they hand through.
//!
//! Called by `walk` for every expression of a statement. Refuses functions that are not known to be built in and stable.

use sqlparser::ast::{
    AccessExpr, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, ObjectName, Spanned, Subscript, Value,
    WindowType,
};

use super::super::functions::{self, Kind};
use super::super::lineage::{Origin, OriginSet, Relation, Source, TagCall, Tracer};
use super::super::{Refusal, refuse};
use super::{fold, line, query, relation_named};

const KNOWN: &str = "use built-in functions that are not volatile, and neverstale.tag";

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
        Expr::Substring { expr: inner, substring_from, substring_for, .. } => {
            is_constant(inner) && [substring_from, substring_for].into_iter().flatten().all(|bound| is_constant(bound))
        }
        Expr::Function(Function { name, args: FunctionArguments::List(list), over: None, filter: None, .. }) => {
            functions::kind(&qualified_name(name)) == Some(Kind::Plain)
                && list.clauses.is_empty()
                && list.args.iter().all(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(inner)) if is_constant(inner)))
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
        Expr::Cast { expr: inner, data_type, format: None, .. } => cast(tracer, inner, data_type),
        Expr::Function(function) => call(tracer, function),
        Expr::Subquery(subquery) => {
            let columns = query(tracer, subquery)?;
            Ok(Source { origins: columns.into_iter().next().map(|(_, origins)| origins).unwrap_or_default(), ..Source::default() })
        }
        Expr::Exists { subquery, .. } => query(tracer, subquery).map(|_| Source::computed()),
        Expr::InSubquery { expr: inner, subquery, .. } => {
            read(tracer, inner)?;
            query(tracer, subquery).map(|_| Source::computed())
        }
        Expr::BinaryOp { left, right, .. } | Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } | Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
            all(tracer, [&**left, &**right])
        }
        Expr::UnaryOp { expr: inner, .. } | Expr::IsNull(inner) | Expr::IsNotNull(inner) | Expr::IsTrue(inner) | Expr::IsNotTrue(inner) | Expr::IsFalse(inner) | Expr::IsNotFalse(inner) => {
            all(tracer, [&**inner])
        }
        Expr::InList { expr: inner, list, .. } => all(tracer, std::iter::once(&**inner).chain(list)),
        Expr::Between { expr: inner, low, high, .. } => all(tracer, [&**inner, &**low, &**high]),
        Expr::Like { expr: inner, pattern, .. } | Expr::ILike { expr: inner, pattern, .. } => all(tracer, [&**inner, &**pattern]),
        Expr::Position { expr: inner, r#in } => all(tracer, [&**inner, &**r#in]),
        Expr::Trim { expr: inner, trim_what, .. } => all(tracer, std::iter::once(&**inner).chain(trim_what.as_deref())),
        Expr::Substring { expr: inner, substring_from, substring_for, .. } => {
            all(tracer, std::iter::once(&**inner).chain(substring_from.as_deref()).chain(substring_for.as_deref()))
        }
        Expr::Ceil { expr: inner, .. } | Expr::Floor { expr: inner, .. } => all(tracer, [&**inner]),
        Expr::Array(array) => all(tracer, &array.elem),
        Expr::Tuple(items) => all(tracer, items),
        Expr::Case { operand, conditions, else_result, .. } => {
            let branches = conditions.iter().flat_map(|when| [&when.condition, &when.result]);
            all(tracer, operand.as_deref().into_iter().chain(branches).chain(else_result.as_deref()))
        }
        Expr::Collate { expr: inner, collation } if matches!(single(collation), Some(name) if name.value == "C") => all(tracer, [&**inner]),
        Expr::CompoundFieldAccess { root, access_chain } => subscripted(tracer, root, access_chain),
        _ => Err(refuse(expr.span().start.line, format!("`{expr}` is not understood"), "write it in a simpler way")),
    }
}

fn all<'e>(tracer: &mut Tracer, exprs: impl IntoIterator<Item = &'e Expr>) -> Result<Source, Refusal> {
    for expr in exprs {
        read(tracer, expr)?;
    }
    Ok(Source::computed())
}

/// Reads `array[…]`; the parser takes `alias.column[…]` apart in its own way.
fn subscripted(tracer: &mut Tracer, root: &Expr, chain: &[AccessExpr]) -> Result<Source, Refusal> {
    let subscripts = match (root, chain) {
        (Expr::Identifier(alias), [AccessExpr::Dot(Expr::Identifier(column)), rest @ ..]) => {
            qualified(tracer, &[alias.clone(), column.clone()])?;
            rest
        }
        _ => {
            read(tracer, root)?;
            chain
        }
    };
    for access in subscripts {
        match access {
            AccessExpr::Subscript(Subscript::Index { index }) => drop(read(tracer, index)?),
            AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                all(tracer, lower_bound.iter().chain(upper_bound).chain(stride))?;
            }
            AccessExpr::Dot(_) => {
                let line = root.span().start.line;
                return Err(refuse(line, format!("`{root}.{access}` is not understood"), "use -> or ->> for JSON, alias.column for columns"));
            }
        }
    }
    Ok(Source::computed())
}

fn literal(tracer: &mut Tracer, value: &Value, line: u64) -> Result<Source, Refusal> {
    match value {
        Value::Placeholder(name) => {
            let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
            let number = number.ok_or_else(|| refuse(line, format!("placeholder `{name}` is not understood"), "write $1, $2, …"))?;
            tracer.params.entry(number).or_insert(line);
            Ok(Source::of(Origin::Param(number)))
        }
        Value::SingleQuotedString(text) => Ok(Source::of(Origin::Literal(text.clone()))),
        Value::Number(..) | Value::Boolean(_) | Value::Null | Value::EscapedStringLiteral(_) | Value::DollarQuotedString(_) => Ok(Source::computed()),
        other => Err(refuse(line, format!("literal `{other}` is not understood"), "write it in a simpler way")),
    }
}

fn cast(tracer: &mut Tracer, inner: &Expr, data_type: &DataType) -> Result<Source, Refusal> {
    let source = read(tracer, inner)?;
    let name = data_type.to_string().to_lowercase();
    if !functions::is_known_type(&name) {
        return Err(refuse(1, format!("a cast to `{name}` may depend on the session or on the application's schema"), "cast to text, jsonb, bigint, …"));
    }
    if functions::is_text(&name) && !source.is_json {
        return Ok(source);
    }
    if functions::is_json(&name) {
        return Ok(Source { is_json: true, ..source });
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
                        return Ok(Source { origins: origins.clone(), ..Source::default() });
                    }
                }
                Relation::Opaque { columns, origins } => {
                    if columns.contains(&name) || *alias == name {
                        return Ok(Source { origins: origins.clone(), ..Source::default() });
                    }
                }
                Relation::Base(_) if *alias == name => {
                    return Err(refuse(line(ident), format!("`{name}` reads the whole row, also what is not watched"), "name the columns"));
                }
                Relation::Base(_) => {}
            }
            // A subquery's or CTE's whole row: its columns were judged where they were read.
            if *alias == name {
                return Ok(Source::computed());
            }
        }
        if frame.relations.iter().any(|(_, relation)| matches!(relation, Relation::Base(_))) {
            return Err(refuse(line(ident), format!("column `{name}` is not qualified where a table is read"), "write alias.column"));
        }
    }
    Err(refuse(line(ident), format!("`{name}` is unknown here"), "write alias.column"))
}

fn qualified(tracer: &mut Tracer, idents: &[Ident]) -> Result<Source, Refusal> {
    let [alias, column] = idents else {
        return Err(refuse(idents.first().map_or(1, line), "a name with more than two parts is not understood", "write alias.column"));
    };
    let (name, column_name) = (fold(alias), fold(column));
    match relation_named(tracer, &name) {
        Some(Relation::Base(reference)) => {
            tracer.references[reference].used.insert(column_name.clone());
            let origin = Origin::Column { reference, column: column_name.clone() };
            Ok(Source { column: Some((reference, column_name)), ..Source::of(origin) })
        }
        Some(Relation::Derived(columns)) => match columns.into_iter().find(|(known, _)| *known == column_name) {
            Some((_, origins)) => Ok(Source { origins, ..Source::default() }),
            None => Err(refuse(line(alias), format!("`{name}` has no column `{column_name}`"), "give it one in its SELECT")),
        },
        Some(Relation::Opaque { origins, .. }) => Ok(Source { origins, ..Source::default() }),
        None => Err(refuse(line(alias), format!("`{name}` is unknown here"), "write alias.column with an alias of FROM")),
    }
}

fn call(tracer: &mut Tracer, function: &Function) -> Result<Source, Refusal> {
    let name = qualified_name(&function.name);
    let at = function.name.0.first().and_then(|part| part.as_ident()).map_or(1, line);
    if let "neverstale.tag" | "neverstale.tag_hashed" = name.as_str() {
        return tag(tracer, function, name == "neverstale.tag_hashed", at);
    }
    if !matches!(function.parameters, FunctionArguments::None) || !function.within_group.is_empty() {
        return Err(refuse(at, format!("this call of `{name}` is not understood"), KNOWN));
    }
    if name == "array"
        && let FunctionArguments::Subquery(subquery) = &function.args
    {
        return query(tracer, subquery).map(|_| Source::computed());
    }
    let kind = functions::kind(&name).ok_or_else(|| refuse(at, format!("function `{name}` is not known to be built in and stable"), KNOWN))?;
    let args = arguments(tracer, &function.args, at)?;
    if let Some(filter) = &function.filter {
        read(tracer, filter)?;
    }
    match &function.over {
        Some(WindowType::WindowSpec(window)) => drop(all(tracer, window.partition_by.iter().chain(window.order_by.iter().map(|by| &by.expr)))?),
        Some(WindowType::NamedWindow(_)) => return Err(refuse(at, "named windows are not understood", "write the window out")),
        None => {}
    }
    let mut args = args.into_iter();
    Ok(match (kind, args.next(), args.next()) {
        (Kind::Lower, Some(only), None) if !only.is_json => Source { is_lowered: true, ..only },
        (Kind::HandsThrough, Some(only), None) => Source { origins: only.origins, ..Source::default() },
        (Kind::Clock, None, None) => {
            tracer.clock_line.get_or_insert(at);
            Source::computed()
        }
        _ => Source::computed(),
    })
}

fn tag(tracer: &mut Tracer, function: &Function, is_hashed: bool, at: u64) -> Result<Source, Refusal> {
    let mut args = arguments(tracer, &function.args, at)?.into_iter();
    let rule = args.next().and_then(|source| match source.origins.into_iter().next() {
        Some(Origin::Literal(rule)) => Some(rule),
        _ => None,
    });
    let rule = rule.ok_or_else(|| refuse(at, "the rule of a tag is not a literal", "write neverstale.tag('rule', …)"))?;
    tracer.calls.push(TagCall { rule, args: args.collect(), is_hashed, line: at });
    Ok(Source::computed())
}

fn arguments(tracer: &mut Tracer, args: &FunctionArguments, at: u64) -> Result<Vec<Source>, Refusal> {
    let FunctionArguments::List(list) = args else {
        return if matches!(args, FunctionArguments::None) { Ok(Vec::new()) } else { Err(refuse(at, "a subquery as argument needs its own parentheses", "write f((SELECT …))")) };
    };
    let mut sources = Vec::new();
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => sources.push(read(tracer, expr)?),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => {}
            _ => return Err(refuse(at, "named arguments and `.*` are not understood", "write plain arguments")),
        }
    }
    for clause in &list.clauses {
        match clause {
            FunctionArgumentClause::OrderBy(order) => drop(all(tracer, order.iter().map(|by| &by.expr))?),
            _ => return Err(refuse(at, format!("`{clause}` is not understood"), "leave it out")),
        }
    }
    Ok(sources)
}

/// Reads a function in FROM; every column of its result is taken to come from all of its arguments.
pub(super) fn table_function(tracer: &mut Tracer, name: &ObjectName, args: &[FunctionArg]) -> Result<OriginSet, Refusal> {
    let name_text = qualified_name(name);
    let at = name.0.first().and_then(|part| part.as_ident()).map_or(1, line);
    if functions::kind(&name_text) != Some(Kind::Plain) {
        return Err(refuse(at, format!("function `{name_text}` is not known to be built in and stable"), KNOWN));
    }
    let mut origins = OriginSet::new();
    for arg in args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => origins.extend(read(tracer, expr)?.origins),
            _ => return Err(refuse(at, "named arguments and `*` are not understood", "write plain arguments")),
        }
    }
    Ok(OriginSet::from([Origin::Call { function: name_text, origins }]))
}

/// The one argument of `jsonb_build_array(x)`.
pub(super) fn only_element(expr: &Expr) -> Option<&Expr> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    match (&list.args[..], qualified_name(&function.name).as_str()) {
        ([FunctionArg::Unnamed(FunctionArgExpr::Expr(only))], "jsonb_build_array") => Some(only),
        _ => None,
    }
}

/// The name, if it has one part.
pub(super) fn single(name: &ObjectName) -> Option<&Ident> {
    match &name.0[..] {
        [part] => part.as_ident(),
        _ => None,
    }
}

fn qualified_name(name: &ObjectName) -> String {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    match parts.strip_prefix(&["pg_catalog".to_owned()]) {
        Some(rest) => rest.join("."),
        None => parts.join("."),
    }
}
