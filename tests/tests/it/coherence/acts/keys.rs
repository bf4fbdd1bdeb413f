//! What opens doors, API keys and sessions, and what lies behind them: functions, models, tools, grants.

use neverstale_testkit::Application;

use super::{Act, KEY_2, KEY_3, write};

pub(super) fn keys_by_rows() -> Vec<Act> {
    vec![
        write("an API key is created", "INSERT INTO api_key (id, user_id, key, created_at, updated_at) VALUES ('k-new', 'u2', 'sk-new', 1, 1)", &["key:sk-new"]),
        write("an API key is rotated", "UPDATE api_key SET key = 'sk-rotated' WHERE id = 'k-new'", &["key:sk-new", "key:sk-rotated"]),
        write("an API key gets another owner", "UPDATE api_key SET user_id = 'u3' WHERE id = 'k-new'", &["key:sk-rotated"]),
        write("the owner of an API key is promoted", r#"UPDATE "user" SET role = 'admin' WHERE id = 'u3'"#, &["key:sk-rotated", KEY_3]),
        write("an API key is found expired", "UPDATE api_key SET expires_at = 1 WHERE id = 'k-new'", &["key:sk-rotated"]),
        write("an API key is valid again", "UPDATE api_key SET expires_at = NULL WHERE id = 'k-new'", &["key:sk-rotated"]),
        write("an API key is revoked", "DELETE FROM api_key WHERE id = 'k-new'", &["key:sk-rotated"]),
        Act::Time {
            name: "an API key expires",
            sql: "INSERT INTO api_key (id, user_id, key, expires_at, created_at, updated_at)
                  VALUES ('k-expiring', 'u2', 'sk-expiring', floor(date_part('epoch', clock_timestamp()))::bigint + 3, 1, 1)"
                .to_owned(),
            changes: "key:sk-expiring",
        },
    ]
}

pub(super) fn keys_in_users() -> Vec<Act> {
    vec![
        write(
            "an API key is rotated",
            r#"UPDATE "user" SET api_key = 'sk-new' WHERE id = 'u2'"#,
            &["key:sk-new", KEY_2],
        ),
        write(
            "an API key is revoked",
            r#"UPDATE "user" SET api_key = NULL WHERE id = 'u2'"#,
            &["key:sk-new"],
        ),
        write(
            "an API key moves to another user",
            r#"UPDATE "user" SET api_key = NULL WHERE id = 'u3'; UPDATE "user" SET api_key = 'sk-00000000000000000000000000000003' WHERE id = 'u2'"#,
            &[KEY_3],
        ),
        write(
            "an API key is created",
            r#"UPDATE "user" SET api_key = 'sk-rotated' WHERE id = 'u3'"#,
            &["key:sk-rotated"],
        ),
    ]
}

pub(super) fn sessions_by_stamp() -> Vec<Act> {
    vec![
        write(
            "a session stamp changes, which ends all sessions",
            "UPDATE auth SET session_stamp = 'another' WHERE id = 'u2'",
            &["session:u2"],
        ),
        write(
            "a session stamp is back",
            "UPDATE auth SET session_stamp = 'stamp-2' WHERE id = 'u2'",
            &["session:u2"],
        ),
        write(
            "an account is closed",
            "UPDATE auth SET active = false WHERE id = 'u2'",
            &["session:u2"],
        ),
        write(
            "an account is opened",
            "UPDATE auth SET active = true WHERE id = 'u2'",
            &["session:u2"],
        ),
    ]
}

pub(super) fn resources(application: Application) -> Vec<Act> {
    let created_by = if application == Application::Naga0518 {
        (", created_by", ", 'user1@example.com'")
    } else {
        ("", "")
    };
    let (column, value) = created_by;
    let mut acts = vec![
        write(
            "a function, a model and a tool are new",
            format!(
                "INSERT INTO function (id, user_id, name, type, content, meta, created_at, updated_at, is_active, is_global{column}) VALUES ('f1', 'u1', 'F', 'pipe', 'one', '{{}}', 1, 1, true, false{value});
                 INSERT INTO model (id, user_id, name, params, meta, created_at, updated_at{column}) VALUES ('m1', 'u1', 'M', '{{}}', '{{}}', 1, 1{value});
                 INSERT INTO tool (id, user_id, name, content, specs, meta, created_at, updated_at{column}) VALUES ('t1', 'u2', 'T', 'one', '[]', '{{}}', 1, 1{value})"
            ),
            &["/v1/views/function/f1", "/v1/views/functions/all", "/v1/views/models/all", "/v1/views/tool/t1", "/v1/views/tools/u2", "/v1/views/user-resources/u2"],
        ),
        write("a function's content changes", "UPDATE function SET content = 'two' WHERE id = 'f1'", &["/v1/views/function/f1"]),
        write("a function is switched off", "UPDATE function SET is_active = false WHERE id = 'f1'", &["/v1/views/function/f1", "/v1/views/functions/pipe"]),
        write("a model changes its owner", "UPDATE model SET user_id = 'u2' WHERE id = 'm1'", &["/v1/views/model/m1", "/v1/views/models/u2", "/v1/views/models/u1", "/v1/views/user-resources/u2", "/v1/views/user-resources/u1"]),
    ];
    if application == Application::OpenWebUi012 {
        acts.extend([
            write(
                "a model is granted to a user",
                "INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at) VALUES ('a1', 'model', 'm1', 'user', 'u7', 'read', 1)",
                &["/v1/views/access-grants/model%3Am1", "/v1/views/user-resources/u7"],
            ),
            write("a grant moves to a group", "UPDATE access_grant SET principal_type = 'group', principal_id = 'g6' WHERE id = 'a1'", &["/v1/views/access-grants/model%3Am1", "/v1/views/user-resources/u7", "/v1/views/user-resources/u3"]),
            write("a grant moves to everybody", "UPDATE access_grant SET principal_type = 'user', principal_id = '*' WHERE id = 'a1'", &["/v1/views/user-resources/u1", "/v1/views/user-resources/u50"]),
            write("a grant is taken back", "DELETE FROM access_grant", &["/v1/views/access-grants/model%3Am1", "/v1/views/user-resources/u1"]),
        ]);
    } else {
        acts.push(write(
            "a model is given to a group",
            r#"UPDATE model SET access_control = '{"read": {"group_ids": ["g6"], "user_ids": []}}' WHERE id = 'm1'"#,
            // Without a word on access everybody may read in 0.6, and nobody in NAGA.
            if application == Application::Naga0518 {
                &["/v1/views/model/m1", "/v1/views/user-resources/u3"]
            } else {
                &["/v1/views/model/m1", "/v1/views/user-resources/u7"]
            },
        ));
    }
    acts
}
