//! The shapes of bodies. What a view gives is the flavour's business; what the contract promises of its own paths is said here.

use neverstale_identity::{API_KEY_CHARS_MAX, TOKEN_BYTES_MAX};
use neverstale_wire::ProblemKind;
use serde_json::{Value, json};

use super::TOKEN_PATTERN;
use crate::{batch::PATH_CHARS_MAX, settings::ApiSettings};

pub(super) fn all(settings: &ApiSettings) -> Value {
    let types: Vec<_> = ProblemKind::ALL.into_iter().map(ProblemKind::type_uri).collect();
    let path = json!({
        "type": "string",
        "description": "A path of a read, with its query.",
        "pattern": "^/v1/",
        "maxLength": PATH_CHARS_MAX,
    });
    json!({
        "Problem": {
            "type": "object",
            "description": "A problem (RFC 9457).",
            "required": ["type", "title", "status"],
            "properties": {
                "type": { "type": "string", "enum": types },
                "title": { "type": "string" },
                "status": { "type": "integer", "minimum": 400, "maximum": 599 },
                "detail": { "type": "string" },
                "retry_after_seconds": { "type": "integer", "minimum": 0 },
                "current": { "description": "With precondition-failed: what a read of the value would say now, null where there is none." },
                "version": { "type": "integer", "description": "With precondition-failed: the version of what is there now, 0 where there is nothing; only where there are versions." },
            },
        },
        "Json": {
            "description": "JSON as Postgres can hold it: no NUL characters.",
            "anyOf": [
                { "$ref": "#/components/schemas/Scalar" },
                { "type": "array", "items": { "$ref": "#/components/schemas/Scalar" } },
                {
                    "type": "object",
                    "propertyNames": { "pattern": "^[^\\u0000]*$" },
                    "additionalProperties": { "$ref": "#/components/schemas/Scalar" },
                },
            ],
        },
        "Scalar": {
            "type": ["null", "boolean", "number", "string"],
            "pattern": "^[^\\u0000]*$",
            "minimum": -1e15,
            "maximum": 1e15,
        },
        "BatchQuestion": {
            "type": "object",
            "required": ["reads"],
            "additionalProperties": false,
            "properties": { "reads": {
                "type": "array",
                "minItems": 1,
                "maxItems": settings.batch_reads_max,
                "items": { "oneOf": [path.clone(), {
                    "type": "object",
                    "required": ["path"],
                    "additionalProperties": false,
                    "properties": { "path": path, "default": { "$ref": "#/components/schemas/Json" }, "etag": {
                        "type": "string",
                        "description": "The ETag of what the caller has, its quotes included: answered 304 where it is still that.",
                    } },
                }] },
            } },
        },
        "BatchAnswer": {
            "type": "object",
            "required": ["position", "answers"],
            "properties": {
                "position": { "type": "string", "pattern": TOKEN_PATTERN },
                "answers": { "type": "array", "items": {
                    "type": "object",
                    "required": ["status"],
                    "properties": {
                        "status": { "type": "integer", "enum": [200, 304, 400, 403, 404] },
                        "etag": { "type": "string", "description": "With every 200 and 304, its quotes included." },
                        "body": { "description": "The answer or the problem; none with 304." },
                    },
                } },
            },
        },
        "WriteQuestion": {
            "type": "object",
            "required": ["path", "value"],
            "additionalProperties": false,
            "properties": {
                "path": { "type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[^\\u0000]+$" },
                "value": { "$ref": "#/components/schemas/Json" },
                "version": {
                    "type": "integer", "minimum": 0,
                    "description": "Where the answer of a read has a `version`: the one that was read, 0 where there is nothing yet. In the place of If-Match, or beside it.",
                },
            },
        },
        "ApiKeyQuestion": {
            "type": "object",
            "required": ["api_key"],
            "additionalProperties": false,
            "properties": { "api_key": { "type": "string", "minLength": 1, "maxLength": API_KEY_CHARS_MAX, "pattern": "^[^\\u0000]+$" } },
        },
        "SessionQuestion": {
            "type": "object",
            "required": ["token"],
            "additionalProperties": false,
            // Tokens are ASCII, so that bytes are characters.
            "properties": { "token": { "type": "string", "minLength": 1, "maxLength": TOKEN_BYTES_MAX, "pattern": "^[!-~]+$" } },
        },
    })
}

/// What the contract promises of the answers under a path; anything where it leaves that to the flavour.
pub(super) fn of_path(path: &str) -> Value {
    match path {
        "/v1/users/{id}" | "/v1/users/by-email/{email}" => object(&["id", "email", "name", "role"]),
        "/v1/users/{id}/role" => object(&["id", "role", "super_admin"]),
        "/v1/users/{id}/groups" => json!({ "type": "array", "items": object(&["id", "name"]) }),
        "/v1/users/{id}/permissions" => object(&[]),
        "/v1/users/{id}/settings" => object(&["values"]),
        "/v1/users/{id}/settings/{path...}" | "/v1/users/{id}/virtual-keys/{path...}" => {
            object(&["path", "value", "source"])
        }
        _ => json!(true),
    }
}

pub(super) fn api_key_owner() -> Value {
    object(&["user", "key"])
}

pub(super) fn object(required: &[&str]) -> Value {
    json!({ "type": "object", "required": required })
}
