//! What stands under each path: the contract's own endpoints, and one for each view of the flavour.

mod access;

pub(super) use access::schemas as access_schemas;

use neverstale_flavour::{Flavour, Param, View, Write};
use neverstale_identity::API_KEY_VIEW;
use serde_json::{Map, Value, json};

use super::{TOKEN_PATTERN, refer, schemas, schemas::object};
use crate::settings::ApiSettings;

/// What any request can be answered with.
const ANY: [&str; 5] = ["400", "401", "405", "414", "431"];
/// What a request that needs Postgres can be answered with.
const ASKING: [&str; 3] = ["429", "503", "504"];

pub(super) fn paths(flavour: &Flavour, settings: &ApiSettings) -> Value {
    let mut paths = Map::new();
    for view in &flavour.views {
        if let Some(path) = &view.path {
            paths.insert(template(path.as_str()), json!({ "get": read(view, path.as_str()) }));
        }
    }
    for write in &flavour.writes {
        let path = template(write.path.as_str());
        let operations = paths.entry(path).or_insert_with(|| json!({}));
        operations["patch"] = patch(write, &flavour.view(write.view).name);
    }
    let named: Vec<&str> = flavour
        .views
        .iter()
        .filter(|view| is_reached_by_name(flavour, view))
        .map(|view| view.name.as_str())
        .collect();
    if !named.is_empty() {
        paths.insert(
            "/v1/views/{view}/{key}".to_owned(),
            json!({ "get": read_by_name(&named) }),
        );
    }
    if flavour.view_named(API_KEY_VIEW).is_some() {
        paths.insert("/v1/api-keys/resolve".to_owned(), json!({ "post": resolve_api_key() }));
    }
    if flavour.session.is_some() {
        paths.insert("/v1/sessions/resolve".to_owned(), json!({ "post": resolve_session() }));
    }
    if flavour.access.is_some() {
        paths.extend(access::paths(settings));
    }
    paths.insert("/v1/batch".to_owned(), json!({ "post": batch(settings) }));
    paths.insert("/v1/position".to_owned(), json!({ "get": position() }));
    paths.insert("/v1/events".to_owned(), json!({ "get": events() }));
    paths.insert("/openapi.json".to_owned(), json!({ "get": contract() }));
    Value::Object(paths)
}

/// Views with one variable can be read by name, but for those that are reached by POST alone.
fn is_reached_by_name(flavour: &Flavour, view: &View) -> bool {
    let is_session = flavour.session.as_ref().is_some_and(|rules| rules.view == view.name);
    view.kept && view.name != API_KEY_VIEW && !is_session && view.path_variables().count() == 1
}

/// OpenAPI has no variable that takes the rest of a path; slashes in it are sent as `%2F`.
fn template(path: &str) -> String {
    path.replace("...}", "}")
}

fn read(view: &View, path: &str) -> Value {
    let variables = view
        .path_variables()
        .map(|name| path_parameter(name, path.contains(&format!("{{{name}...}}"))));
    let queries = view.params.iter().filter_map(|param| match param {
        Param::Query { name, default } => Some(query_parameter(name, default)),
        Param::Path(_) | Param::Option(_) | Param::Settings => None,
    });
    let secret = if view.secret { "; carries a secret" } else { "" };
    json!({
        "operationId": format!("read-{}", view.name),
        "summary": format!("Reads the view `{}`{secret}", view.name),
        "tags": ["reads"],
        "parameters": variables.chain(queries).chain(common()).collect::<Vec<_>>(),
        "responses": read_responses(&schemas::of_path(path), view.secret),
    })
}

fn read_by_name(names: &[&str]) -> Value {
    let view = json!({ "name": "view", "in": "path", "required": true, "schema": { "type": "string", "enum": names } });
    let parameters: Vec<_> = [view, path_parameter("key", true)]
        .into_iter()
        .chain(common())
        .collect();
    json!({
        "operationId": "read-by-name",
        "summary": "Reads a view of the flavour by its name",
        "tags": ["reads"],
        "parameters": parameters,
        "responses": read_responses(&json!(true), true),
    })
}

fn resolve_api_key() -> Value {
    json!({
        "operationId": "resolve-api-key",
        "summary": "Says whose API key this is; carries a secret",
        "description": "A key that is unknown or expired is not found. The key is never stored, only its SHA-256.",
        "tags": ["resolve"],
        "parameters": common().collect::<Vec<_>>(),
        "requestBody": body("ApiKeyQuestion", &json!({ "api_key": "sk-0123456789abcdef" })),
        "responses": with(read_responses(&schemas::api_key_owner(), true), &["413"]),
    })
}

fn resolve_session() -> Value {
    json!({
        "operationId": "resolve-session",
        "summary": "Says whose session token this is",
        "description": "Signature, times, session stamp, the state of the account and revocation are judged as the application does; \
                        whatever fails, the session is not found. Where revocation can't be known it is unavailable.",
        "tags": ["resolve"],
        "parameters": common().collect::<Vec<_>>(),
        "requestBody": body("SessionQuestion", &json!({ "token": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl" })),
        "responses": with(read_responses(&schemas::of_path("/v1/users/{id}"), false), &["413", "500"]),
    })
}

fn patch(write: &Write, view: &str) -> Value {
    let mut headers = state_headers();
    for header in ["Neverstale-Position", "Neverstale-Consistency"] {
        headers[header] = json!({
            "description": "As of a read, of a fence taken after the commit; missing where no fence could be had.",
            "schema": { "type": "string" },
        });
    }
    headers["ETag"] = json!({ "$ref": "#/components/headers/ETag" });
    let members: &[&str] = if write.versioned {
        &["path", "value", "version"]
    } else {
        &["path", "value"]
    };
    let ok = json!({
        "description": "The new value, committed.",
        "headers": headers,
        "content": { "application/json": { "schema": object(members) } },
    });
    let parameters: Vec<_> = write
        .path
        .variables()
        .map(|name| path_parameter(name, false))
        .chain(["Match", "NoneMatch", "Timeout"].map(refer_parameter))
        .collect();
    json!({
        "operationId": format!("write-{view}"),
        "summary": format!("Changes what the view `{view}` gives, at one path, if it still is what the caller has read"),
        "description": "Forbidden unless the operator allows writes, and without a token or the Unix socket. 412 tells what there is now. \
                        After 504 with `outcome-unknown` only a read can tell whether the write was made; any other problem means that it was not.",
        "tags": ["writes"],
        "parameters": parameters,
        "requestBody": body("WriteQuestion", &json!({ "path": "ui.banner", "value": true })),
        "responses": responses(&[("200", ok)], &[&ANY, &ASKING, &["403", "404", "412", "413", "428"]]),
    })
}

fn batch(settings: &ApiSettings) -> Value {
    let example = json!({ "reads": ["/v1/users/u1", { "path": "/v1/users/u1/settings/rag.top_k", "default": 10, "etag": "\"5f3b6f0c\"" }] });
    let ok = json!({
        "description": "Each answer as it would be by itself, all from one state; a 304 without a body for what the caller has.",
        "headers": state_headers(),
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/BatchAnswer" } } },
    });
    json!({
        "operationId": "batch",
        "summary": format!("Answers up to {} reads from one state", settings.batch_reads_max),
        "tags": ["reads"],
        "parameters": [refer_parameter("Consistency"), refer_parameter("Timeout")],
        "requestBody": body("BatchQuestion", &example),
        "responses": responses(&[("200", ok)], &[&ANY, &ASKING, &["413"]]),
    })
}

fn position() -> Value {
    let ok = json!({
        "description": "The state of the primary, taken after the request arrived.",
        "headers": state_headers(),
        "content": { "application/json": { "schema": {
            "type": "object",
            "required": ["position"],
            "properties": { "position": { "type": "string", "pattern": TOKEN_PATTERN } },
        } } },
    });
    json!({
        "operationId": "position",
        "summary": "Takes a fence and tells its token",
        "tags": ["state"],
        "parameters": [refer_parameter("Timeout")],
        "responses": responses(&[("200", ok)], &[&ANY, &ASKING]),
    })
}

fn events() -> Value {
    let token = || json!({ "type": "string", "pattern": TOKEN_PATTERN });
    let ok = json!({
        "description": "Events without end: `invalidation` (position, tags), `incarnation`, `gap`, `heartbeat`; the id of each is a token.",
        "content": { "text/event-stream": { "schema": { "type": "string" } } },
    });
    json!({
        "operationId": "events",
        "summary": "Follows what is invalidated, as server-sent events",
        "description": "Resumable by `since` or `Last-Event-ID`. After `gap` and `incarnation` whatever the caller kept is void.",
        "tags": ["state"],
        "parameters": [
            { "name": "since", "in": "query", "description": "The last token that the caller has seen.", "schema": token() },
            { "name": "Last-Event-ID", "in": "header", "description": "As `since`, and before it.", "schema": token() },
        ],
        "responses": responses(&[("200", ok)], &[&ANY, &["429", "503"]]),
    })
}

fn contract() -> Value {
    let ok = json!({
        "description": "This document.",
        "headers": { "ETag": { "$ref": "#/components/headers/ETag" } },
        "content": { "application/json": { "schema": { "type": "object", "required": ["openapi", "paths"] } } },
    });
    json!({
        "operationId": "contract",
        "summary": "Gives this document",
        "tags": ["state"],
        "parameters": [refer_parameter("Condition")],
        "responses": responses(&[("200", ok), ("304", json!({ "description": "The caller has it already." }))], &[&ANY, &["429"]]),
    })
}

fn body(schema: &str, example: &Value) -> Value {
    let content = json!({ "schema": { "$ref": format!("#/components/schemas/{schema}") }, "example": example });
    json!({ "required": true, "content": { "application/json": content } })
}

fn refer_parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

/// The parameters of every read.
fn common() -> impl Iterator<Item = Value> {
    ["Consistency", "Timeout", "Condition"].into_iter().map(refer_parameter)
}

fn path_parameter(name: &str, is_rest: bool) -> Value {
    let example = match name {
        "email" => "ann@example.org",
        "path" => "rag.top_k",
        "key" => "k1",
        _ => "u1",
    };
    let slashes = if is_rest { "May contain slashes." } else { "" };
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": slashes,
        "schema": { "type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[^\\u0000]+$" },
        "example": example,
    })
}

fn query_parameter(name: &str, default: &str) -> Value {
    json!({
        "name": name,
        "in": "query",
        "description": format!("JSON; `{default}` when it is not given."),
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Json" } } },
    })
}

fn state_headers() -> Value {
    json!({
        "Neverstale-Position": { "$ref": "#/components/headers/Position" },
        "Neverstale-Consistency": { "$ref": "#/components/headers/ConsistencyKept" },
    })
}

fn read_responses(schema: &Value, is_secret: bool) -> Value {
    let mut headers = state_headers();
    headers["ETag"] = json!({ "$ref": "#/components/headers/ETag" });
    headers["Cache-Status"] = json!({ "$ref": "#/components/headers/CacheStatus" });
    let ok = json!({ "description": "The answer.", "headers": headers.clone(), "content": { "application/json": { "schema": schema } } });
    let not_modified = json!({ "description": "The caller has it already.", "headers": headers });
    let secret: &[&str] = if is_secret { &["403"] } else { &[] };
    responses(
        &[("200", ok), ("304", not_modified)],
        &[&ANY, &ASKING, &["404"], secret],
    )
}

fn responses(own: &[(&str, Value)], problems: &[&[&str]]) -> Value {
    let mut all: Map<String, Value> = own
        .iter()
        .map(|(status, response)| ((*status).to_owned(), response.clone()))
        .collect();
    all.extend(refer(&problems.concat()));
    Value::Object(all)
}

fn with(mut responses: Value, problems: &[&str]) -> Value {
    responses
        .as_object_mut()
        .expect("responses are an object")
        .extend(refer(problems));
    responses
}
