//! What stands under `/v1/access/…`, but for the views.

use neverstale_listener::ID_CHARS_MAX;
use neverstale_rbac::{Action, ResourceType};
use serde_json::{Map, Value, json};

use super::{ANY, ASKING, TOKEN_PATTERN, body, common, refer_parameter, responses, state_headers};
use crate::{decisions::PAGE_IDS_MAX, settings::ApiSettings};

pub(super) fn paths(settings: &ApiSettings) -> Map<String, Value> {
    let post = |operation: Value| json!({ "post": operation });
    let get = |operation: Value| json!({ "get": operation });
    [
        ("/v1/access/check", post(check())),
        ("/v1/access/batch-check", post(batch_check(settings))),
        ("/v1/access/list", get(list())),
        ("/v1/access/explain", get(explain())),
    ]
    .into_iter()
    .map(|(path, operation)| (path.to_owned(), operation))
    .collect()
}

/// The shapes of bodies, for the components.
pub(in crate::openapi) fn schemas(settings: &ApiSettings) -> Map<String, Value> {
    let check = json!({
        "type": "object",
        "required": ["subject", "action", "resource"],
        "additionalProperties": false,
        "properties": {
            "subject": id(),
            "action": action(),
            "resource": {
                "type": "object",
                "required": ["type", "id"],
                "additionalProperties": false,
                "properties": { "type": kind(), "id": id() },
            },
        },
    });
    let checks = json!({
        "type": "object",
        "required": ["checks"],
        "additionalProperties": false,
        "properties": { "checks": {
            "type": "array",
            "minItems": 1,
            "maxItems": settings.batch_reads_max,
            "items": { "$ref": "#/components/schemas/AccessQuestion" },
        } },
    });
    let decision = json!({
        "type": "object",
        "required": ["allowed"],
        "properties": {
            "allowed": { "type": "boolean" },
            "tier": { "type": "string", "enum": ["super-admin", "owner", "direct", "group", "admin"], "description": "What allowed it." },
            "grant": {
                "type": "object",
                "description": "The grant that allowed it.",
                "required": ["permission", "principal_type", "principal_id"],
                "properties": {
                    "permission": { "type": "string", "enum": ["read", "write"] },
                    "principal_type": { "type": "string", "enum": ["user", "group", "everyone"] },
                    "principal_id": { "type": ["string", "null"] },
                },
            },
            "looked_for": { "type": "string", "description": "What was missing, for people." },
            "position": { "type": "string", "pattern": TOKEN_PATTERN },
        },
    });
    [
        ("AccessQuestion", check),
        ("AccessQuestions", checks),
        ("Decision", decision),
    ]
    .into_iter()
    .map(|(name, schema)| (name.to_owned(), schema))
    .collect()
}

fn check() -> Value {
    json!({
        "operationId": "access-check",
        "summary": "Says whether somebody may do something, and why",
        "tags": ["access"],
        "parameters": [refer_parameter("Consistency"), refer_parameter("Timeout")],
        "requestBody": body("AccessQuestion", &question()),
        "responses": responses(&[("200", ok("The decision.", &decision()))], &[&ANY, &ASKING, &["413"]]),
    })
}

fn batch_check(settings: &ApiSettings) -> Value {
    let answer = json!({
        "type": "object",
        "required": ["position", "decisions"],
        "properties": { "position": position(), "decisions": { "type": "array", "items": decision() } },
    });
    json!({
        "operationId": "access-batch-check",
        "summary": format!("Decides up to {} questions in one state", settings.batch_reads_max),
        "tags": ["access"],
        "parameters": [refer_parameter("Consistency"), refer_parameter("Timeout")],
        "requestBody": body("AccessQuestions", &json!({ "checks": [question()] })),
        "responses": responses(&[("200", ok("The decisions, in the order of the questions.", &answer))], &[&ANY, &ASKING, &["413"]]),
    })
}

fn list() -> Value {
    let answer = json!({
        "type": "object",
        "required": ["position", "ids", "next"],
        "properties": {
            "position": position(),
            "ids": { "type": "array", "items": { "type": "string" } },
            "next": { "type": ["string", "null"], "description": "Where the next page begins: its `after`; null at the end." },
        },
    });
    let own = [
        parameter("subject", true, &id(), "u1"),
        parameter("type", true, &kind(), "model"),
        parameter("action", true, &action(), "execute"),
        parameter(
            "after",
            false,
            &json!({ "type": "string", "maxLength": ID_CHARS_MAX }),
            "m1",
        ),
        parameter(
            "limit",
            false,
            &json!({ "type": "integer", "minimum": 1, "maximum": PAGE_IDS_MAX }),
            "100",
        ),
    ];
    json!({
        "operationId": "access-list",
        "summary": "Lists what somebody may do something with",
        "description": "Sorted by id; each page is of one state, which it names.",
        "tags": ["access"],
        "parameters": own.into_iter().chain(common().take(2)).collect::<Vec<_>>(),
        "responses": responses(&[("200", ok("A page of ids.", &answer))], &[&ANY, &ASKING]),
    })
}

fn explain() -> Value {
    let answer = json!({
        "type": "object",
        "required": ["position", "resource", "decisions"],
        "properties": { "position": position(), "decisions": { "type": "object", "additionalProperties": decision() } },
    });
    let own = [
        parameter("subject", true, &id(), "u1"),
        parameter("type", true, &kind(), "function"),
        parameter("id", true, &id(), "f1"),
    ];
    json!({
        "operationId": "access-explain",
        "summary": "Says what somebody may do with a resource, action by action, and why",
        "tags": ["access"],
        "parameters": own.into_iter().chain(common().take(2)).collect::<Vec<_>>(),
        "responses": responses(&[("200", ok("A decision for each action.", &answer))], &[&ANY, &ASKING]),
    })
}

fn ok(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "headers": state_headers(), "content": { "application/json": { "schema": schema } } })
}

fn parameter(name: &str, is_required: bool, schema: &Value, example: &str) -> Value {
    json!({ "name": name, "in": "query", "required": is_required, "schema": schema, "example": example })
}

fn question() -> Value {
    json!({ "subject": "u1", "action": "execute", "resource": { "type": "function", "id": "f1" } })
}

fn decision() -> Value {
    json!({ "$ref": "#/components/schemas/Decision" })
}

fn position() -> Value {
    json!({ "type": "string", "pattern": TOKEN_PATTERN })
}

fn id() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": ID_CHARS_MAX, "pattern": "^[^\\u0000]+$" })
}

fn action() -> Value {
    json!({ "type": "string", "enum": Action::ALL.map(Action::name) })
}

fn kind() -> Value {
    json!({ "type": "string", "enum": ResourceType::ALL.map(ResourceType::name) })
}
