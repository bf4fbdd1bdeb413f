//! Two admins, A (u2) and B (u3): each owns one thing of every type and a group, and has granted all of it to the group to read.

use anyhow::Result;
use neverstale_testkit::{Application, api_key};

use crate::house::House;

/// The owners, and how what is theirs is marked: `fa` is A's function.
pub(super) const OWNERS: [(&str, &str); 2] = [("a", "u2"), ("b", "u3")];

/// The id of what is somebody's. Prompts before 0.12 go by their command.
pub(super) fn id_of(kind: &str, owner: &str) -> String {
    match kind {
        "function" => format!("f{owner}"),
        "tool" => format!("t{owner}"),
        "model" => format!("m{owner}"),
        "prompt" => format!("p{owner}"),
        "knowledge" => format!("k{owner}"),
        "pipeline" => format!("l{owner}"),
        "group" => format!("team-{owner}"),
        "user" => OWNERS
            .iter()
            .find(|(mark, _)| *mark == owner)
            .expect("an owner")
            .1
            .to_owned(),
        other => unreachable!("type {other}"),
    }
}

/// Whether grants are rows, as from 0.8 on.
pub(super) fn has_grant_rows(application: Application) -> bool {
    application == Application::OpenWebUi012
}

/// Writes the world.
pub(super) async fn build(house: &House, application: Application) -> Result<()> {
    let is_naga = application == Application::Naga0518;
    let mut sql = vec![
        "DELETE FROM \"user\" WHERE id NOT IN ('u1','u2','u3','u4','u5','u6','u7','u8')".to_owned(),
        "UPDATE \"user\" SET role = CASE WHEN id IN ('u1','u2','u3') THEN 'admin' WHEN id = 'u7' THEN 'pending' ELSE 'user' END".to_owned(),
        match application {
            Application::Naga0518 => format!("UPDATE \"user\" SET api_key = NULL WHERE api_key = '{}'", api_key(8)),
            _ => format!("DELETE FROM api_key WHERE key = '{}'", api_key(8)),
        },
        "DELETE FROM \"group\"".to_owned(),
    ];
    if !is_naga {
        sql.insert(0, "DELETE FROM group_member".to_owned());
    }
    for (mark, owner) in OWNERS {
        let group = id_of("group", mark);
        let member = if mark == "a" { "u4" } else { "u5" };
        sql.push(group_sql(&group, owner, member, is_naga));
        let control = format!(
            r#"{{"read": {{"group_ids": ["{group}"], "user_ids": []}}, "write": {{"group_ids": [], "user_ids": []}}}}"#
        );
        for kind in ["function", "tool", "model", "prompt", "knowledge"] {
            let id = id_of(kind, mark);
            let (columns, values) = row(kind, &id, application);
            let (by, whose) = if is_naga && matches!(kind, "function" | "tool" | "model") {
                (", created_by", format!(", '{owner}@example.com'"))
            } else {
                ("", String::new())
            };
            let (access, given) = if has_grant_rows(application) || kind == "function" {
                ("", String::new())
            } else {
                (", access_control", format!(", '{control}'"))
            };
            sql.push(format!(
                "INSERT INTO \"{kind}\" (user_id{columns}{by}{access}) VALUES ('{owner}'{values}{whose}{given})"
            ));
            if has_grant_rows(application) && kind != "function" {
                sql.push(format!(
                    "INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at)
                     VALUES ('{kind}-{mark}', '{kind}', '{id}', 'group', '{group}', 'read', 1)"
                ));
            }
        }
        for (kind, id) in [
            ("function", id_of("function", mark)),
            ("pipeline", format!("0:{}", id_of("pipeline", mark))),
        ] {
            let pipelines_owner = if kind == "pipeline" {
                format!("'{owner}'")
            } else {
                "NULL".to_owned()
            };
            sql.push(format!(
                "INSERT INTO neverstale.access_overlay (resource_type, resource_id, owner_id, access_control, version)
                 VALUES ('{kind}', '{id}', {pipelines_owner}, '{control}', 1)
                 ON CONFLICT (resource_type, resource_id) DO UPDATE SET owner_id = EXCLUDED.owner_id, access_control = EXCLUDED.access_control"
            ));
        }
    }
    house.write(&sql.join(";\n")).await
}

fn group_sql(group: &str, owner: &str, member: &str, is_naga: bool) -> String {
    if is_naga {
        return format!(
            "INSERT INTO \"group\" (id, user_id, created_by, name, description, user_ids, created_at, updated_at)
             VALUES ('{group}', '{owner}', '{owner}@example.com', '{group}', '', '[\"{member}\"]', 1, 1)"
        );
    }
    format!(
        "INSERT INTO \"group\" (id, user_id, name, description, created_at, updated_at) VALUES ('{group}', '{owner}', '{group}', '', 1, 1);
         INSERT INTO group_member (id, group_id, user_id, created_at, updated_at) VALUES ('{group}', '{group}', '{member}', 1, 1)"
    )
}

/// Columns and values besides owner and access.
fn row(kind: &str, id: &str, application: Application) -> (&'static str, String) {
    match kind {
        "function" => (
            ", id, name, type, content, meta, valves, is_active, is_global, created_at, updated_at",
            format!(", '{id}', 'F', 'pipe', 'code', '{{}}', '{{}}', true, false, 1, 1"),
        ),
        "tool" => (
            ", id, name, content, specs, meta, created_at, updated_at",
            format!(", '{id}', 'T', 'code', '[]', '{{}}', 1, 1"),
        ),
        "model" => (
            ", id, name, params, meta, is_active, created_at, updated_at",
            format!(", '{id}', 'M', '{{}}', '{{}}', true, 1, 1"),
        ),
        "prompt" if application == Application::OpenWebUi012 => (
            ", id, command, name, content, is_active, created_at, updated_at",
            format!(", '{id}', '{id}', 'P', 'text', true, 1, 1"),
        ),
        "prompt" => (
            ", command, title, content, timestamp",
            format!(", '/{id}', 'P', 'text', 1"),
        ),
        "knowledge" => (", id, name, created_at, updated_at", format!(", '{id}', 'K', 1, 1")),
        other => unreachable!("type {other}"),
    }
}
