//! The acts of the story: what is written, by plain SQL, and which answers that must change.

use neverstale_testkit::Application;

/// One act.
pub(super) enum Act {
    /// A transaction, after which these answers differ from before.
    Write {
        name: &'static str,
        sql: String,
        changes: Vec<&'static str>,
    },
    /// A transaction that sets an end; when time has come to it, this answer is gone.
    Time {
        name: &'static str,
        sql: String,
        changes: &'static str,
    },
}

fn write(name: &'static str, sql: impl Into<String>, changes: &[&'static str]) -> Act {
    Act::Write {
        name,
        sql: sql.into(),
        changes: changes.to_vec(),
    }
}

/// The story of an application.
pub(super) fn acts(application: Application) -> Vec<Act> {
    let mut acts = roles();
    acts.extend(match application {
        Application::OpenWebUi012 => [
            groups_by_rows(),
            groups_with_parents(),
            settings_by_rows(),
            keys_by_rows(),
            sessions_by_stamp(),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>(),
        Application::OpenWebUi06 => [groups_by_rows(), settings_by_document(), keys_by_rows()]
            .into_iter()
            .flatten()
            .collect(),
        Application::Naga0518 => [groups_by_list(), settings_by_admin(), keys_in_users()]
            .into_iter()
            .flatten()
            .collect(),
    });
    acts.extend(resources(application));
    acts.extend(users(application));
    acts.extend(unusual_writers(application));
    acts.extend(bulk(application));
    acts.extend(truncation(application));
    acts
}

const KEY_2: &str = "key:sk-00000000000000000000000000000002";
const KEY_3: &str = "key:sk-00000000000000000000000000000003";

fn roles() -> Vec<Act> {
    let everywhere = [
        "/v1/users/u2/role",
        "/v1/users/u2",
        "/v1/users/by-email/user2%40example.com",
        "session:u2",
        KEY_2,
    ];
    vec![
        write(
            "a user is promoted",
            r#"UPDATE "user" SET role = 'admin' WHERE id = 'u2'"#,
            &everywhere,
        ),
        write(
            "a user is demoted",
            r#"UPDATE "user" SET role = 'pending' WHERE id = 'u2'"#,
            &everywhere,
        ),
        write(
            "a user is let in",
            r#"UPDATE "user" SET role = 'user' WHERE id = 'u2'"#,
            &everywhere,
        ),
        write(
            "another user becomes the first",
            r#"UPDATE "user" SET created_at = 1 WHERE id = 'u50'"#,
            &["/v1/users/u1/role", "/v1/users/u50/role", "/v1/users/u50"],
        ),
        write(
            "a user is renamed",
            r#"UPDATE "user" SET name = 'Somebody else' WHERE id = 'u2'"#,
            &["/v1/users/u2", "/v1/users/by-email/user2%40example.com"],
        ),
        write(
            "a user is promoted and demoted in one transaction",
            r#"UPDATE "user" SET role = 'admin' WHERE id = 'u2'; UPDATE "user" SET role = 'user' WHERE id = 'u2'"#,
            &[],
        ),
    ]
}

fn groups_by_rows() -> Vec<Act> {
    let groups = "/v1/users/u2/groups";
    let permissions = "/v1/users/u2/permissions";
    let members = "/v1/views/group-members/g-new";
    vec![
        write(
            "a group is created",
            r#"INSERT INTO "group" (id, user_id, name, permissions, created_at, updated_at) VALUES ('g-new', 'u1', 'New', '{"workspace": {"new": true}}', 1, 1800000000)"#,
            &["/v1/views/group/g-new", members],
        ),
        write(
            "a user becomes a member",
            "INSERT INTO group_member (id, group_id, user_id) VALUES ('m-new', 'g-new', 'u2')",
            &[groups, permissions, members],
        ),
        write(
            "a group's permissions change",
            r#"UPDATE "group" SET permissions = '{"workspace": {"newer": true}}' WHERE id = 'g-new'"#,
            &[groups, permissions, "/v1/views/group/g-new"],
        ),
        write(
            "a group loses its permissions",
            r#"UPDATE "group" SET permissions = NULL WHERE id = 'g-new'"#,
            &[groups, permissions],
        ),
        write(
            "a group is renamed",
            r#"UPDATE "group" SET name = 'Old' WHERE id = 'g-new'"#,
            &[groups, "/v1/views/group/g-new"],
        ),
        write(
            "groups change their order",
            r#"UPDATE "group" SET updated_at = 1 WHERE id = 'g-new'"#,
            &[groups],
        ),
        write(
            "a membership moves to another user",
            "UPDATE group_member SET user_id = 'u3' WHERE id = 'm-new'",
            &[groups, "/v1/users/u3/groups", members],
        ),
        write(
            "a membership moves to another group",
            "UPDATE group_member SET group_id = 'g1' WHERE id = 'm-new'",
            &["/v1/users/u3/groups", members, "/v1/views/group-members/g1"],
        ),
        write(
            "a member leaves",
            "DELETE FROM group_member WHERE id = 'm-new'",
            &["/v1/users/u3/groups", "/v1/views/group-members/g1"],
        ),
        write(
            "a member comes back",
            "INSERT INTO group_member (id, group_id, user_id) VALUES ('m-new', 'g-new', 'u2')",
            &[groups, members],
        ),
    ]
}

fn groups_with_parents() -> Vec<Act> {
    let (groups, permissions) = ("/v1/users/u2/groups", "/v1/users/u2/permissions");
    vec![
        write(
            "a group gets a parent",
            r#"INSERT INTO "group" (id, user_id, name, permissions, created_at, updated_at) VALUES ('g-parent', 'u1', 'Parent', '{"workspace": {"inherited": true}}', 1, 2);
               UPDATE "group" SET parent_group_id = 'g-parent' WHERE id = 'g-new'"#,
            &[groups, permissions, "/v1/views/group/g-parent", "/v1/views/group/g-new"],
        ),
        write(
            "a parent's permissions change",
            r#"UPDATE "group" SET permissions = '{"workspace": {"inherited": false, "more": true}}' WHERE id = 'g-parent'"#,
            &[groups, permissions],
        ),
        write(
            "a parent gets a parent",
            r#"UPDATE "group" SET parent_group_id = 'g1' WHERE id = 'g-parent'"#,
            &[groups],
        ),
        write(
            "a grandparent's permissions change",
            r#"UPDATE "group" SET permissions = '{"workspace": {"grand": true}}' WHERE id = 'g1'"#,
            &[groups, permissions],
        ),
        write(
            "parents go in a circle",
            r#"UPDATE "group" SET parent_group_id = 'g-new' WHERE id = 'g1'"#,
            &["/v1/views/group/g1"],
        ),
        write(
            "a parent is deleted, and its child set free by the foreign key",
            r#"DELETE FROM "group" WHERE id = 'g-parent'"#,
            &[groups, permissions, "/v1/views/group/g-parent", "/v1/views/group/g-new"],
        ),
    ]
}

fn groups_by_list() -> Vec<Act> {
    let (groups, permissions, settings) = (
        "/v1/users/u2/groups",
        "/v1/users/u2/permissions",
        "/v1/users/u2/settings/rag.top_k",
    );
    let members = "/v1/views/group-members/g-new";
    vec![
        write(
            "a group is created",
            r#"INSERT INTO "group" (id, user_id, created_by, name, permissions, user_ids, created_at, updated_at)
               VALUES ('g-new', 'u50', 'user50@example.com', 'New', '{"workspace": {"new": true}}', '[]', 1, 1800000000)"#,
            &["/v1/views/group/g-new", members],
        ),
        write(
            "a user is put on a group's list",
            r#"UPDATE "group" SET user_ids = '["u2", "u7"]' WHERE id = 'g-new'"#,
            &[groups, permissions, settings, "/v1/users/u7/groups", members],
        ),
        write(
            "a group's permissions change",
            r#"UPDATE "group" SET permissions = '{"workspace": {"newer": true}}' WHERE id = 'g-new'"#,
            &[groups, permissions],
        ),
        write(
            "another admin becomes a group's creator",
            r#"UPDATE "group" SET created_by = 'user1@example.com' WHERE id = 'g-new'"#,
            &[groups, settings],
        ),
        write(
            "a group is renamed",
            r#"UPDATE "group" SET name = 'Old' WHERE id = 'g-new'"#,
            &[groups, settings],
        ),
        write(
            "a group is edited last no more",
            r#"UPDATE "group" SET updated_at = 1, created_by = 'user50@example.com' WHERE id = 'g-new'"#,
            &[groups, settings],
        ),
        write(
            "a user is taken off a group's list",
            r#"UPDATE "group" SET user_ids = '["u7"]' WHERE id = 'g-new'"#,
            &[groups, members],
        ),
        write(
            "a list becomes something else than a list",
            r#"UPDATE "group" SET user_ids = '{"u7": true}' WHERE id = 'g-new'"#,
            &["/v1/users/u7/groups", members],
        ),
        write(
            "a list is put right again",
            r#"UPDATE "group" SET user_ids = '["u2"]' WHERE id = 'g-new'"#,
            &[groups, members],
        ),
        write(
            "a group is deleted",
            r#"DELETE FROM "group" WHERE id = 'g-new'"#,
            &[groups, "/v1/views/group/g-new"],
        ),
    ]
}

fn settings_by_rows() -> Vec<Act> {
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

fn settings_by_document() -> Vec<Act> {
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

fn settings_by_admin() -> Vec<Act> {
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

fn keys_by_rows() -> Vec<Act> {
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

fn keys_in_users() -> Vec<Act> {
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

fn sessions_by_stamp() -> Vec<Act> {
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

fn resources(application: Application) -> Vec<Act> {
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

fn users(application: Application) -> Vec<Act> {
    let by_email = |name: &'static str| -> &'static str {
        match name {
            "old" => "/v1/users/by-email/user3%40example.com",
            _ => "/v1/users/by-email/renamed%40example.com",
        }
    };
    // NAGA's users bear their key themselves, and the story has given this one another.
    let (column, value, key) = match application {
        Application::Naga0518 => (", api_key", ", 'sk-rotated'", "key:sk-rotated"),
        _ => ("", "", KEY_3),
    };
    let mut acts = vec![
        write(
            "a user's e-mail changes",
            r#"UPDATE "user" SET email = 'renamed@example.com' WHERE id = 'u3'"#,
            &[by_email("old"), by_email("new"), "/v1/users/u3"],
        ),
        write(
            "a user's e-mail changes its case",
            r#"UPDATE "user" SET email = 'User2@Example.com' WHERE id = 'u2'"#,
            &["/v1/users/u2", "/v1/users/by-email/User2%40Example.com"],
        ),
        write(
            "two users exchange their e-mails",
            r#"UPDATE "user" SET email = 'aside' WHERE id = 'u2'; UPDATE "user" SET email = 'User2@Example.com' WHERE id = 'u3'; UPDATE "user" SET email = 'renamed@example.com' WHERE id = 'u2'"#,
            &[
                "/v1/users/by-email/User2%40Example.com",
                by_email("new"),
                "/v1/users/u2",
                "/v1/users/u3",
            ],
        ),
        write(
            "a user is deleted",
            r#"DELETE FROM "user" WHERE id = 'u3'"#,
            &[
                "/v1/users/u3",
                "/v1/users/u3/role",
                "/v1/users/u3/groups",
                "/v1/users/u3/permissions",
                "/v1/users/u3/settings",
                "session:u3",
                key,
            ],
        ),
        write(
            "a deleted user is created again",
            format!(
                r#"INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at, created_at, updated_at{column})
                   VALUES ('u3', 'Back', 'user3@example.com', 'user', '', 1, 1700000003, 1{value})"#
            ),
            &[
                "/v1/users/u3",
                by_email("old"),
                "/v1/users/u3/role",
                "/v1/users/u3/permissions",
                "session:u3",
            ],
        ),
        write(
            "a user is deleted and created in one transaction",
            r#"CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM "user" WHERE id = 'u50'; DELETE FROM "user" WHERE id = 'u50'; UPDATE kept SET name = 'Reborn'; INSERT INTO "user" SELECT * FROM kept"#,
            &["/v1/users/u50"],
        ),
        write(
            "a user's id changes",
            r#"UPDATE "user" SET id = 'u9999' WHERE id = 'u3'"#,
            &["/v1/users/u3", "/v1/users/u9999", by_email("old")],
        ),
        write(
            "a user's id changes back",
            r#"UPDATE "user" SET id = 'u3' WHERE id = 'u9999'"#,
            &["/v1/users/u3", "/v1/users/u9999"],
        ),
    ];
    if application != Application::Naga0518 {
        acts.insert(
            4,
            write(
                "a key of nobody comes with its owner",
                r#"DELETE FROM api_key WHERE id = 'never'"#,
                &[],
            ),
        );
        acts.push(write(
            "a user's groups go with the user, by cascade",
            r#"DELETE FROM "user" WHERE id = 'u2'"#,
            &[
                "/v1/users/u2",
                KEY_2,
                "/v1/views/group-members/g4",
                "/v1/views/group-members/g-new",
            ],
        ));
        acts.push(write(
            "the user is back, without groups",
            r#"INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at, created_at, updated_at) VALUES ('u2', 'Back', 'user2@example.com', 'user', '', 1, 1700000002, 1)"#,
            &["/v1/users/u2", "/v1/users/u2/groups"],
        ));
        acts.push(write(
            "a group goes, and its memberships by cascade",
            r#"DELETE FROM "group" WHERE id = 'g4'"#,
            &["/v1/views/group/g4", "/v1/users/u7/groups"],
        ));
    }
    acts
}

fn unusual_writers(application: Application) -> Vec<Act> {
    vec![
        write(
            "a replication worker writes",
            r#"SET LOCAL session_replication_role = replica; UPDATE "user" SET role = 'admin' WHERE id = 'u2'"#,
            &["/v1/users/u2/role", "/v1/users/u2"],
        ),
        write(
            "a replication worker deletes",
            r#"SET LOCAL session_replication_role = replica; DELETE FROM "user" WHERE id = 'u50'"#,
            &["/v1/users/u50", "/v1/users/u50/role"],
        ),
        write(
            "a merge writes",
            r#"MERGE INTO "user" AS u USING (VALUES ('u2', 'user')) AS v (id, role) ON u.id = v.id WHEN MATCHED THEN UPDATE SET role = v.role"#,
            &["/v1/users/u2/role"],
        ),
        write(
            "a function writes behind a select",
            r#"CREATE FUNCTION public.promote(who text) RETURNS void LANGUAGE sql AS $$ UPDATE "user" SET role = 'admin' WHERE id = who $$; SELECT public.promote('u2')"#,
            &["/v1/users/u2/role"],
        ),
        write(
            "what a savepoint takes back does not count, and the rest does",
            r#"DO $$ BEGIN
                 UPDATE "user" SET name = 'Kept' WHERE id = 'u2';
                 BEGIN UPDATE "user" SET name = 'Lost' WHERE id = 'u7'; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END;
               END $$"#,
            &["/v1/users/u2"],
        ),
        write(
            "constraints are made immediate in mid-transaction",
            r#"UPDATE "user" SET name = 'One' WHERE id = 'u2'; SET CONSTRAINTS ALL IMMEDIATE; UPDATE "user" SET name = 'Two' WHERE id = 'u7'"#,
            &["/v1/users/u2", "/v1/users/u7"],
        ),
        write(
            "several tables in one transaction",
            format!(
                r#"UPDATE "user" SET role = 'user' WHERE id = 'u2'; UPDATE "group" SET name = 'Both' WHERE id = 'g5'; {}"#,
                match application {
                    Application::OpenWebUi012 => "UPDATE config SET value = '4' WHERE key = 'rag.top_k'",
                    _ => "UPDATE config SET data = '{\"rag\": {\"top_k\": 4}}'",
                }
            ),
            &["/v1/users/u2/role", "/v1/views/group/g5", "/v1/config/rag.top_k"],
        ),
    ]
}

fn bulk(application: Application) -> Vec<Act> {
    let (column, value) = if application == Application::Naga0518 {
        (", api_key", ", 'sk-bulk-' || n")
    } else {
        ("", "")
    };
    vec![
        write(
            "5,000 users are inserted at once",
            format!(
                r#"INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at, created_at, updated_at{column})
                   SELECT 'u' || n, 'Bulk', 'bulk' || n || '@example.com', 'user', '', 1, 1800000000, 1{value} FROM generate_series(5001, 10000) AS n"#
            ),
            &["/v1/users/u9999"],
        ),
        write(
            "5,000 users are updated at once",
            r#"UPDATE "user" SET role = CASE role WHEN 'admin' THEN 'user' ELSE 'admin' END, email = 'x-' || email"#,
            &[
                "/v1/users/u9999",
                "/v1/users/u2",
                "/v1/users/u7/role",
                "/v1/users/by-email/user3%40example.com",
            ],
        ),
        write(
            "5,000 users are updated back",
            r#"UPDATE "user" SET email = substr(email, 3), name = 'Bulk'"#,
            &[
                "/v1/users/u9999",
                "/v1/users/u2",
                "/v1/users/by-email/user3%40example.com",
            ],
        ),
        write(
            "5,000 users are deleted at once",
            r#"DELETE FROM "user" WHERE created_at = 1800000000"#,
            &["/v1/users/u9999", "/v1/users/u9999/permissions"],
        ),
    ]
}

fn truncation(application: Application) -> Vec<Act> {
    let mut acts = Vec::new();
    if application == Application::Naga0518 {
        acts.push(write(
            "groups are truncated",
            r#"TRUNCATE "group""#,
            &["/v1/users/u7/groups", "/v1/views/group/g5"],
        ));
        acts.push(write(
            "users are truncated",
            r#"TRUNCATE "user""#,
            &[
                "/v1/users/u7",
                "/v1/users/u2/role",
                "key:sk-00000000000000000000000000000003",
                "session:u7",
            ],
        ));
    } else {
        acts.push(write(
            "memberships are truncated",
            "TRUNCATE group_member",
            &["/v1/users/u7/groups", "/v1/views/group-members/g5"],
        ));
        acts.push(write(
            "users are truncated, and all that hangs on them by cascade",
            r#"TRUNCATE "user" CASCADE"#,
            &["/v1/users/u7", "/v1/users/u2/role", "session:u7"],
        ));
    }
    acts.push(write(
        "the configuration is truncated",
        "TRUNCATE config",
        &["/v1/config", "/v1/config/rag.top_k"],
    ));
    acts.push(write(
        "a user appears in an empty table",
        r#"INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at, created_at, updated_at) VALUES ('u2', 'First', 'user2@example.com', 'admin', '', 1, 1, 1)"#,
        &["/v1/users/u2/role", "/v1/users/u2/permissions", "/v1/users/by-email/user2%40example.com"],
    ));
    acts
}
