//! Users: roles, addresses, deletion and return.

use neverstale_testkit::Application;

use super::{Act, KEY_2, KEY_3, write};

pub(super) fn roles() -> Vec<Act> {
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

pub(super) fn users(application: Application) -> Vec<Act> {
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
