//! Settings: rows, one document, and documents of admins that are inherited; the keys of providers among them.

use super::{Act, write};

pub(super) fn settings_by_rows() -> Vec<Act> {
    let one = [
        "/v1/config/rag.top_k",
        "/v1/users/u2/settings/rag.top_k",
        "/v1/config",
        "/v1/users/u2/settings",
    ];
    let banner = [
        "/v1/config/ui.banner",
        "/v1/users/u2/settings/ui.banner",
        "/v1/config",
        "/v1/users/u7/settings",
    ];
    let key = ["/v1/users/u2/virtual-keys/rag.openai.api_key"];
    vec![
        write(
            "a setting changes",
            "UPDATE config SET value = '17' WHERE key = 'rag.top_k'",
            &one,
        ),
        write(
            "a setting becomes null",
            "UPDATE config SET value = 'null' WHERE key = 'rag.top_k'",
            &one,
        ),
        write(
            "a setting is new",
            "INSERT INTO config (key, value) VALUES ('ui.banner', '\"hello\"')",
            &banner,
        ),
        write(
            "a setting is written again by an upsert",
            "INSERT INTO config (key, value) VALUES ('ui.banner', '\"again\"') ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            &banner,
        ),
        write(
            "a setting is renamed",
            "UPDATE config SET key = 'ui.other' WHERE key = 'ui.banner'",
            &banner,
        ),
        write(
            "a provider's key is set",
            "INSERT INTO config (key, value) VALUES ('rag.openai.api_key', '\"sk-one\"')",
            &[key[0], "/v1/users/u2/virtual-keys"],
        ),
        write(
            "a provider's key is rotated",
            "UPDATE config SET value = '\"sk-two\"' WHERE key = 'rag.openai.api_key'",
            &key,
        ),
        write(
            "a provider's key is emptied",
            "UPDATE config SET value = '\"\"' WHERE key = 'rag.openai.api_key'",
            &[key[0], "/v1/users/u2/virtual-keys"],
        ),
        write(
            "the default permissions change",
            r#"UPDATE config SET value = '{"workspace": {"by_default": true}}' WHERE key = 'user.permissions'"#,
            &[
                "/v1/users/u2/permissions",
                "/v1/users/u7/permissions",
                "/v1/config/user.permissions",
            ],
        ),
        write(
            "the default permissions are gone",
            "DELETE FROM config WHERE key = 'user.permissions'",
            &["/v1/users/u2/permissions", "/v1/config/user.permissions"],
        ),
    ]
}

pub(super) fn settings_by_document() -> Vec<Act> {
    let one = [
        "/v1/config/rag.top_k",
        "/v1/users/u2/settings/rag.top_k",
        "/v1/config",
        "/v1/users/u2/settings",
    ];
    let key = "/v1/users/u2/virtual-keys/rag.openai_api_key";
    let set = |path: &str, value: &str| {
        format!("UPDATE config SET data = jsonb_set(data::jsonb, '{{{path}}}', '{value}')::json")
    };
    vec![
        write("a setting changes", set("rag,top_k", "17"), &one),
        write(
            "a setting is new",
            set("ui,banner", "\"hello\""),
            &[
                "/v1/config/ui.banner",
                "/v1/users/u2/settings/ui.banner",
                "/v1/users/u7/settings",
            ],
        ),
        write(
            "a provider's key is rotated",
            set("rag,openai_api_key", "\"sk-two\""),
            &[key],
        ),
        write(
            "a provider's key is emptied",
            set("rag,openai_api_key", "\"\""),
            &[key, "/v1/users/u2/virtual-keys"],
        ),
        write(
            "the default permissions change",
            set("user,permissions", r#"{"workspace": {"by_default": true}}"#),
            &["/v1/users/u2/permissions", "/v1/users/u7/permissions"],
        ),
        write(
            "a newer document takes the place of the old one",
            "INSERT INTO config (data, version) VALUES ('{\"rag\": {\"top_k\": 99}}', 1)",
            &[one[0], one[1], "/v1/users/u2/permissions"],
        ),
        write(
            "the newer document is deleted",
            "DELETE FROM config WHERE id = (SELECT max(id) FROM config)",
            &[one[0], one[1], "/v1/users/u2/permissions"],
        ),
    ]
}

pub(super) fn settings_by_admin() -> Vec<Act> {
    let (setting, key) = (
        "/v1/users/u2/settings/rag.top_k",
        "/v1/users/u2/virtual-keys/rag.openai_api_key",
    );
    let set = |email: &str, path: &str, value: &str| {
        format!(
            "UPDATE config SET data = jsonb_set(data::jsonb, '{{{path}}}', '{value}')::json WHERE email = '{email}'"
        )
    };
    vec![
        write(
            "an admin changes a setting",
            set("user1@example.com", "rag,top_k", "17"),
            &[setting, "/v1/users/u2/settings", "/v1/users/u1/settings/rag.top_k"],
        ),
        write(
            "an admin sets what is the default, so that the next one decides",
            set("user1@example.com", "rag,top_k", "10"),
            &[setting, "/v1/users/u2/settings"],
        ),
        write(
            "the next admin changes it",
            set("user50@example.com", "rag,top_k", "18"),
            &[setting],
        ),
        write(
            "an admin rotates a provider's key",
            set("user1@example.com", "rag,openai_api_key", "\"sk-two\""),
            &[key],
        ),
        write(
            "an admin takes the key back",
            set("user1@example.com", "rag,openai_api_key", "\"\""),
            &[key],
        ),
        write(
            "an admin's document moves to another address",
            "UPDATE config SET email = 'gone@example.com' WHERE email = 'user50@example.com'",
            &[setting, key, "/v1/users/u50/settings/rag.top_k"],
        ),
        write(
            "an admin is renamed, and documents go by address",
            r#"UPDATE "user" SET email = 'gone@example.com' WHERE id = 'u50'"#,
            &["/v1/users/u50/settings/rag.top_k", "/v1/users/u50"],
        ),
        write(
            "a user becomes admin, and inherits no more",
            r#"UPDATE "user" SET role = 'admin' WHERE id = 'u7'; UPDATE "user" SET role = 'admin' WHERE id = 'u3'"#,
            &["/v1/users/u7/settings", "/v1/users/u7/role"],
        ),
        write(
            "the global document changes",
            set("system@default", "ui,enable_signup", "false"),
            &["/v1/config/ui.enable_signup", "/v1/config"],
        ),
        write(
            "the default permissions change",
            set(
                "system@default",
                "user,permissions",
                r#"{"workspace": {"by_default": true}}"#,
            ),
            &["/v1/users/u2/permissions", "/v1/users/u1/permissions"],
        ),
        write(
            "a newer document stands in for the global one",
            "UPDATE config SET email = 'elsewhere' WHERE email = 'system@default'; INSERT INTO config (email, data, version) VALUES ('latest', '{\"ui\": {\"enable_signup\": 5}}', 0)",
            &["/v1/config", "/v1/config/ui.enable_signup"],
        ),
        write(
            "the global document is back",
            "UPDATE config SET email = 'system@default' WHERE email = 'elsewhere'",
            &["/v1/config", "/v1/config/ui.enable_signup"],
        ),
    ]
}
