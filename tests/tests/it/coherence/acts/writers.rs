//! Writers of all kinds: replication workers, merges, functions, savepoints, bulk changes, truncation.

use neverstale_testkit::Application;

use super::{Act, write};

pub(super) fn unusual_writers(application: Application) -> Vec<Act> {
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

pub(super) fn bulk(application: Application) -> Vec<Act> {
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

pub(super) fn truncation(application: Application) -> Vec<Act> {
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
