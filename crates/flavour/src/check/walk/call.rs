//! Reads calls: of built-in functions, in expressions and in FROM, and of the protocol's own, which name the tags.
//!
//! Called by `expr` and `from`. Refuses functions that are not known to be built in and stable.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, ObjectName,
    WindowType,
};

use super::super::functions::{self, Kind};
use super::super::lineage::{Origin, OriginSet, Source, TagCall, Tracer};
use super::super::{Refusal, refuse};
use super::{expr, fold, line, query};

const KNOWN: &str = "use built-in functions that are not volatile, and neverstale.tag";

pub(super) fn call(tracer: &mut Tracer, function: &Function) -> Result<Source, Refusal> {
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
    let kind = functions::kind(&name).ok_or_else(|| {
        refuse(
            at,
            format!("function `{name}` is not known to be built in and stable"),
            KNOWN,
        )
    })?;
    let args = arguments(tracer, &function.args, at)?;
    if let Some(filter) = &function.filter {
        expr::read(tracer, filter)?;
    }
    match &function.over {
        Some(WindowType::WindowSpec(window)) => drop(expr::all(
            tracer,
            window
                .partition_by
                .iter()
                .chain(window.order_by.iter().map(|by| &by.expr)),
        )?),
        Some(WindowType::NamedWindow(_)) => {
            return Err(refuse(at, "named windows are not understood", "write the window out"));
        }
        None => {}
    }
    let mut args = args.into_iter();
    Ok(match (kind, args.next(), args.next()) {
        (Kind::Lower, Some(only), None) if !only.is_json => Source {
            is_lowered: true,
            ..only
        },
        (Kind::HandsThrough, Some(only), None) => Source {
            origins: only.origins,
            ..Source::default()
        },
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
    let rule = rule.ok_or_else(|| {
        refuse(
            at,
            "the rule of a tag is not a literal",
            "write neverstale.tag('rule', …)",
        )
    })?;
    tracer.calls.push(TagCall {
        rule,
        args: args.collect(),
        is_hashed,
        line: at,
    });
    Ok(Source::computed())
}

fn arguments(tracer: &mut Tracer, args: &FunctionArguments, at: u64) -> Result<Vec<Source>, Refusal> {
    let FunctionArguments::List(list) = args else {
        return if matches!(args, FunctionArguments::None) {
            Ok(Vec::new())
        } else {
            Err(refuse(
                at,
                "a subquery as argument needs its own parentheses",
                "write f((SELECT …))",
            ))
        };
    };
    let mut sources = Vec::new();
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => sources.push(expr::read(tracer, expr)?),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => {}
            _ => {
                return Err(refuse(
                    at,
                    "named arguments and `.*` are not understood",
                    "write plain arguments",
                ));
            }
        }
    }
    for clause in &list.clauses {
        match clause {
            FunctionArgumentClause::OrderBy(order) => drop(expr::all(tracer, order.iter().map(|by| &by.expr))?),
            _ => return Err(refuse(at, format!("`{clause}` is not understood"), "leave it out")),
        }
    }
    Ok(sources)
}

/// Reads a function in FROM; every column of its result is taken to come from all of its arguments.
pub(super) fn table_function(
    tracer: &mut Tracer,
    name: &ObjectName,
    args: &[FunctionArg],
) -> Result<OriginSet, Refusal> {
    let name_text = qualified_name(name);
    let at = name.0.first().and_then(|part| part.as_ident()).map_or(1, line);
    if functions::kind(&name_text) != Some(Kind::Plain) {
        return Err(refuse(
            at,
            format!("function `{name_text}` is not known to be built in and stable"),
            KNOWN,
        ));
    }
    let mut origins = OriginSet::new();
    for arg in args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => origins.extend(expr::read(tracer, expr)?.origins),
            _ => {
                return Err(refuse(
                    at,
                    "named arguments and `*` are not understood",
                    "write plain arguments",
                ));
            }
        }
    }
    Ok(OriginSet::from([Origin::Call {
        function: name_text,
        origins,
    }]))
}

/// The one argument of `jsonb_build_array(x)`.
pub(super) fn only_element(expr: &Expr) -> Option<&Expr> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
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

pub(super) fn qualified_name(name: &ObjectName) -> String {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    match parts.strip_prefix(&["pg_catalog".to_owned()]) {
        Some(rest) => rest.join("."),
        None => parts.join("."),
    }
}
