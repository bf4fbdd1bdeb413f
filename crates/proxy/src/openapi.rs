//! The contract as OpenAPI 3.1, made from the code's own bounds and the flavour's views.
//!
//! Exact enough to drive a schema fuzzer: what a schema admits is answered without 400, what it does not admit is refused. Written
//! once at the start; what stands under each path is in `operations`, the shapes of bodies in `schemas`.

mod operations;
mod schemas;

use bytes::Bytes;
use http::HeaderValue;
use neverstale_flavour::Flavour;
use neverstale_wire::ProblemKind;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use crate::{hex::hex, settings::ApiSettings};

/// Gives the document with its validator.
pub(crate) fn published(flavour: &Flavour, settings: &ApiSettings) -> (Bytes, HeaderValue) {
    let document = document(flavour, settings).to_string();
    let hash = digest(&SHA256, document.as_bytes());
    let etag = HeaderValue::try_from(format!("\"{}\"", hex(&hash.as_ref()[..16])))
        .expect("hexadecimal digits in quotes are a header value");
    (document.into(), etag)
}

/// Gives the contract that a listener with these settings keeps for this flavour.
pub fn document(flavour: &Flavour, settings: &ApiSettings) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Neverstale",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": format!("Reads that are never stale, for {}", flavour.description),
            "description": "Every answer equals what the Postgres primary would say, at the level of consistency that the request asks for. \
                            HEAD works wherever GET does. Errors are problems (RFC 9457) whose `type` is stable.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "bearer": [] }],
        "paths": operations::paths(flavour, settings),
        "components": {
            "securitySchemes": { "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "Required for everything over TCP where the operator has set a token, and for answers that carry secrets \
                                unless they are asked for over the Unix socket.",
            } },
            "parameters": parameters(),
            "headers": headers(),
            "responses": problems(),
            "schemas": with_access(schemas::all(settings), operations::access_schemas(settings)),
        },
    })
}

fn with_access(mut schemas: Value, access: Map<String, Value>) -> Value {
    schemas.as_object_mut().expect("schemas are an object").extend(access);
    schemas
}

/// A token, as `neverstale_wire::Token` writes it.
const TOKEN_PATTERN: &str = "^[0-9a-f]{32}-(0|[1-9a-f][0-9a-f]{0,15})$";

fn parameters() -> Value {
    // Patterns without alternatives: generators get those wrong.
    let levels = json!([
        { "type": "string", "enum": ["fully-consistent", "fully-consistent; fallback=minimize-latency", "minimize-latency"] },
        { "type": "string", "pattern": "^at-least-as-fresh=[0-9a-f]{32}-0$" },
        { "type": "string", "pattern": "^at-least-as-fresh=[0-9a-f]{32}-[1-9a-f][0-9a-f]{0,15}$" },
    ]);
    json!({
        "Consistency": {
            "name": "Neverstale-Consistency",
            "in": "header",
            "description": "The level that the answer must have. `fully-consistent` is linearizable with commits on the primary; with the fallback it \
                            may be answered within the staleness bound while the primary is away, and says so. A token of another database \
                            means `fully-consistent`.",
            "schema": { "anyOf": levels, "default": "fully-consistent" },
            "examples": {
                "default": { "value": "fully-consistent" },
                "fallback": { "value": "fully-consistent; fallback=minimize-latency" },
                "fast": { "value": "minimize-latency" },
            },
        },
        "Timeout": {
            "name": "Neverstale-Timeout-Ms",
            "in": "header",
            "description": "How long the request may take, in milliseconds; longer than the operator's bound counts as the bound.",
            "schema": { "type": "integer", "minimum": 1, "maximum": 999_999_999_999_u64 },
            "example": 2_000,
        },
        "Match": {
            "name": "If-Match",
            "in": "header",
            "description": "Validators of the value that is to be changed, as a read of it gives them; `*` for whatever value there is. A write needs \
                            this or `If-None-Match`.",
            "schema": { "type": "string" },
            "example": "*",
        },
        "NoneMatch": {
            "name": "If-None-Match",
            "in": "header",
            "description": "`*`: there is no such value yet.",
            "schema": { "type": "string", "enum": ["*"] },
        },
        "Condition": {
            "name": "If-None-Match",
            "in": "header",
            "description": "Validators that the caller has; 304 when the answer has one of them.",
            "schema": { "type": "string" },
            "example": "\"5f3b6f0c\"",
        },
    })
}

fn headers() -> Value {
    json!({
        "Position": {
            "description": "A state that the answer is at least as fresh as: a token for `at-least-as-fresh=` and `since=`.",
            "required": true,
            "schema": { "type": "string", "pattern": TOKEN_PATTERN },
        },
        "ConsistencyKept": {
            "description": "The level that was really kept.",
            "required": true,
            "schema": { "type": "string", "enum": ["fully-consistent", "at-least-as-fresh", "minimize-latency"] },
        },
        "CacheStatus": {
            "description": "Where the answer came from (RFC 9211).",
            "required": true,
            "schema": { "type": "string", "pattern": "^neverstale; " },
        },
        "ETag": { "description": "A strong validator of the body.", "required": true, "schema": { "type": "string" } },
        "RetryAfter": { "description": "Seconds until another try makes sense.", "required": true, "schema": { "type": "string", "pattern": "^[0-9]+$" } },
        "Allow": { "description": "The methods of the path.", "required": true, "schema": { "type": "string" } },
        "Challenge": { "description": "How to authenticate.", "required": true, "schema": { "type": "string" } },
    })
}

/// An answer that names a problem.
struct ProblemAnswer {
    status: &'static str,
    /// The name under which operations refer to it.
    name: &'static str,
    kind: ProblemKind,
    /// A header that comes with it, and the component that describes it.
    header: Option<(&'static str, &'static str)>,
}

const PROBLEMS: [ProblemAnswer; 14] = [
    plain("400", "Malformed", ProblemKind::Malformed),
    with_header(
        "401",
        "Unauthorised",
        ProblemKind::Unauthorised,
        ("WWW-Authenticate", "Challenge"),
    ),
    plain("403", "SecretNeedsToken", ProblemKind::SecretNeedsToken),
    plain("404", "NotFound", ProblemKind::NotFound),
    with_header(
        "405",
        "MethodNotAllowed",
        ProblemKind::MethodNotAllowed,
        ("Allow", "Allow"),
    ),
    plain("412", "PreconditionFailed", ProblemKind::PreconditionFailed),
    plain("413", "TooLarge", ProblemKind::TooLarge),
    plain("414", "UriTooLong", ProblemKind::TooLarge),
    plain("428", "PreconditionRequired", ProblemKind::PreconditionRequired),
    with_header(
        "429",
        "TooManyRequests",
        ProblemKind::TooManyRequests,
        ("Retry-After", "RetryAfter"),
    ),
    plain("431", "HeadTooLarge", ProblemKind::TooLarge),
    plain("500", "Internal", ProblemKind::Internal),
    with_header(
        "503",
        "Unavailable",
        ProblemKind::Unavailable,
        ("Retry-After", "RetryAfter"),
    ),
    plain("504", "DeadlineExceeded", ProblemKind::DeadlineExceeded),
];

const fn plain(status: &'static str, name: &'static str, kind: ProblemKind) -> ProblemAnswer {
    ProblemAnswer {
        status,
        name,
        kind,
        header: None,
    }
}

const fn with_header(
    status: &'static str,
    name: &'static str,
    kind: ProblemKind,
    header: (&'static str, &'static str),
) -> ProblemAnswer {
    ProblemAnswer {
        status,
        name,
        kind,
        header: Some(header),
    }
}

fn problems() -> Value {
    let response = |answer: &ProblemAnswer| {
        let mut response = json!({
            "description": answer.kind.title(),
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        if let Some((header, component)) = answer.header {
            response["headers"] = json!({ header: { "$ref": format!("#/components/headers/{component}") } });
        }
        (answer.name.to_owned(), response)
    };
    Value::Object(PROBLEMS.iter().map(response).collect())
}

/// References to the problems with these statuses.
fn refer(statuses: &[&str]) -> Map<String, Value> {
    let known = PROBLEMS.iter().filter(|answer| statuses.contains(&answer.status));
    let reference = |name: &str| json!({ "$ref": format!("#/components/responses/{name}") });
    known
        .map(|answer| (answer.status.to_owned(), reference(answer.name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAVOUR: &str = r#"
name = "example"
description = "an example"
[detect]
requires = ["user.id"]
[[table]]
name = "user"
columns = ["id", "email"]
[[table.tag]]
name = "user.id"
key = ["id"]
[[table.tag]]
name = "user.email"
key = ["email"]
[[view]]
name = "user"
path = "/v1/users/{id}"
params = ["{id}"]
sql = '''SELECT (SELECT json_build_object('id', u.id, 'email', u.email) FROM app."user" u WHERE u.id = $1) AS body, ARRAY[neverstale.tag('user.id', $1)] AS tags, NULL::bigint AS not_after'''
[[view]]
name = "setting"
path = "/v1/users/{id}/settings/{path...}"
params = ["{id}", "{path}", "?default=null"]
sql = '''SELECT (SELECT json_build_object('path', $2, 'value', $3::json, 'source', u.email) FROM app."user" u WHERE u.id = $1) AS body, ARRAY[neverstale.tag('user.id', $1)] AS tags, NULL::bigint AS not_after'''
[[write]]
path = "/v1/users/{id}/settings"
view = "setting"
table = "user"
params = ["{id}", "value"]
lock = '''SELECT u.id FROM app."user" AS u WHERE u.id = $1 FOR UPDATE'''
update = '''UPDATE app."user" SET email = $2 WHERE id = $1'''
[[view]]
name = "api-key"
params = ["{key}"]
secret = true
sql = '''SELECT (SELECT to_json(u.id) FROM app."user" u WHERE u.email = $1) AS body, ARRAY[neverstale.tag('user.email', $1)] AS tags, NULL::bigint AS not_after'''
"#;

    fn example() -> Value {
        let flavour = Flavour::parse(FLAVOUR, "example.toml").unwrap();
        document(&flavour, &ApiSettings::default())
    }

    #[test]
    fn the_contract_is_as_published() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&example()).unwrap());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn visit(value: &Value, document: &Value, seen: &mut usize) {
            match value {
                Value::Object(members) => {
                    if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                        *seen += 1;
                        assert!(
                            document.pointer(reference.strip_prefix('#').unwrap()).is_some(),
                            "{reference}"
                        );
                    }
                    members.values().for_each(|value| visit(value, document, seen));
                }
                Value::Array(values) => values.iter().for_each(|value| visit(value, document, seen)),
                _ => {}
            }
        }
        let (document, mut seen) = (example(), 0);
        visit(&document, &document, &mut seen);
        assert!(seen > 50);
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document = example();
        let methods = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|path| path.as_object().unwrap().values());
        let names: Vec<_> = methods
            .map(|operation| operation["operationId"].as_str().unwrap().to_owned())
            .collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }
}
