//! Groups: members by rows and by list, parents, permissions.

use super::{Act, write};

pub(super) fn groups_by_rows() -> Vec<Act> {
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

pub(super) fn groups_with_parents() -> Vec<Act> {
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

pub(super) fn groups_by_list() -> Vec<Act> {
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
