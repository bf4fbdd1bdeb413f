//! The chapters: what is changed, by which SQL, and where the change must show.

use anyhow::{Context, Result};
use neverstale_testkit::{Answer, api_key, group_id, user_email, user_id};
use serde_json::{Value, json};

use crate::demo::stage::role_register;

/// The story is about these people: so many hundreds, one after the other.
const HUNDREDS_MAX: u32 = 8;

/// One change and where it must show.
pub(super) struct Change {
    pub(super) title: String,
    pub(super) sql: String,
    pub(super) looks: Vec<Look>,
    /// The register that the load's reads are judged by, and its new value.
    pub(super) register: Option<(String, String)>,
}

/// Reads what an answer shows.
type Observe = Box<dyn Fn(&Answer) -> Result<String> + Send + Sync>;

/// One read and what it must show after the change; before, it must show something else.
pub(super) struct Look {
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// Secret-bearing answers are given over the Unix socket only.
    pub(super) is_secret: bool,
    pub(super) observe: Observe,
    pub(super) expected: String,
}

/// The story, told of other people each round.
pub(super) fn chapters(users: u32, round: u32) -> Vec<Change> {
    // Small numbers are popular with the load; neither admins nor pending users (every 50th and 20th) are among these.
    let hundreds = (users / 100).clamp(1, HUNDREDS_MAX);
    let number = |n: u32| (round % hundreds) * 100 + n;
    let (hero, renamed, keeper, member) = (number(2), number(7), number(11), number(13));
    // No member of it is there yet: groups of the population have numbers.
    let group = format!("demo-{round}");
    vec![
        role(hero, "admin"),
        membership_begins(&group, member),
        permission(&group, member, true),
        setting(round),
        role(hero, "pending"),
        permission(&group, member, false),
        key_rotated(keeper, round, round <= hundreds),
        renaming(renamed, round),
        membership_ends(&group, member),
        key_deleted(keeper, round),
        role(hero, "user"),
        email_back(renamed, round),
    ]
}

fn role(user: u32, role: &str) -> Change {
    let id = user_id(user);
    Change {
        title: format!("{id} becomes {role}"),
        sql: format!(r#"UPDATE "user" SET role = '{role}' WHERE id = '{id}'"#),
        looks: ["/role", ""]
            .map(|rest| look(format!("/v1/users/{id}{rest}"), role, |body| text(&body["role"])))
            .into(),
        register: Some((role_register(&id), role.to_owned())),
    }
}

fn membership_begins(group: &str, user: u32) -> Change {
    let id = user_id(user);
    let sql = format!(
        r#"INSERT INTO "group" (id, user_id, name, description, data, meta, permissions, created_at, updated_at)
           SELECT '{group}', 'u1', 'Demo', '', '{{}}', '{{}}', permissions, 1, 1 FROM "group" WHERE id = '{}';
           INSERT INTO group_member (id, group_id, user_id, created_at, updated_at) VALUES ('{group}-{id}', '{group}', '{id}', 1, 1)"#,
        group_id(1)
    );
    Change {
        title: format!("{id} joins group {group}"),
        sql,
        looks: vec![is_member(group, &id, true)],
        register: None,
    }
}

fn membership_ends(group: &str, user: u32) -> Change {
    let id = user_id(user);
    let sql = format!(r#"DELETE FROM "group" WHERE id = '{group}'"#);
    Change {
        title: format!("group {group} is deleted"),
        sql,
        looks: vec![is_member(group, &id, false)],
        register: None,
    }
}

fn is_member(group: &str, user: &str, expected: bool) -> Look {
    let group = group.to_owned();
    look(format!("/v1/users/{user}/groups"), &expected.to_string(), move |body| {
        let groups = body.as_array().context("read a list of groups")?;
        Ok(groups.iter().any(|one| one["id"] == group.as_str()).to_string())
    })
}

fn permission(group: &str, user: u32, allowed: bool) -> Change {
    let id = user_id(user);
    let word = if allowed { "allows" } else { "forbids" };
    // The population's groups and the defaults all forbid it, so this group alone decides.
    let sql = format!(
        r#"UPDATE "group" SET permissions = jsonb_set(permissions::jsonb, '{{workspace,prompts}}', '{allowed}')::json WHERE id = '{group}'"#
    );
    let looks = vec![look(
        format!("/v1/users/{id}/permissions"),
        &allowed.to_string(),
        |body| {
            Ok(body
                .pointer("/workspace/prompts")
                .context("read the permission workspace.prompts")?
                .to_string())
        },
    )];
    Change {
        title: format!("group {group} {word} workspace.prompts"),
        sql,
        looks,
        register: None,
    }
}

fn setting(round: u32) -> Change {
    let name = format!("Open WebUI, round {round}");
    let sql = format!(r"UPDATE config SET value = to_json('{name}'::text) WHERE key = 'webui.name'");
    let looks = vec![look("/v1/config/webui.name".to_owned(), &name, |body| {
        text(body.get("value").unwrap_or(body))
    })];
    Change {
        title: format!("setting webui.name = “{name}”"),
        sql,
        looks,
        register: None,
    }
}

fn rotated_key(user: u32, round: u32) -> String {
    format!("{}-{round}", api_key(user))
}

fn key_rotated(user: u32, round: u32, is_first: bool) -> Change {
    let (id, new) = (user_id(user), rotated_key(user, round));
    let sql = format!(
        "INSERT INTO api_key (id, user_id, key, created_at, updated_at) VALUES ('k{user}', '{id}', '{new}', 1, 1)
         ON CONFLICT (id) DO UPDATE SET key = excluded.key"
    );
    let mut looks = vec![resolves(&new, &id)];
    // A later round finds the key deleted by an earlier one, and makes a new one.
    if is_first {
        looks.push(resolves(&api_key(user), "nobody"));
    }
    let word = if is_first { "is rotated" } else { "is created" };
    Change {
        title: format!("API key of {id} {word}"),
        sql,
        looks,
        register: None,
    }
}

fn key_deleted(user: u32, round: u32) -> Change {
    let (id, key) = (user_id(user), rotated_key(user, round));
    let sql = format!("DELETE FROM api_key WHERE id = 'k{user}'");
    Change {
        title: format!("API key of {id} is deleted"),
        sql,
        looks: vec![resolves(&key, "nobody")],
        register: None,
    }
}

fn resolves(key: &str, expected: &str) -> Look {
    Look {
        path: "/v1/api-keys/resolve".to_owned(),
        body: Some(json!({ "api_key": key })),
        is_secret: true,
        observe: Box::new(|answer| match answer.status {
            404 => Ok("nobody".to_owned()),
            _ => text(&answer.json()?["user"]["id"]),
        }),
        expected: expected.to_owned(),
    }
}

fn renaming(user: u32, round: u32) -> Change {
    let (id, old, new) = (
        user_id(user),
        user_email(user),
        format!("renamed-{round}-{}", user_email(user)),
    );
    let sql = format!(r#"UPDATE "user" SET email = '{new}' WHERE id = '{id}'"#);
    let looks = vec![email_of(&new, &id), email_of(&old, "nobody")];
    Change {
        title: format!("{id} has a new e-mail address"),
        sql,
        looks,
        register: None,
    }
}

fn email_back(user: u32, round: u32) -> Change {
    let (id, old, new) = (
        user_id(user),
        user_email(user),
        format!("renamed-{round}-{}", user_email(user)),
    );
    let sql = format!(r#"UPDATE "user" SET email = '{old}' WHERE id = '{id}'"#);
    let looks = vec![email_of(&old, &id), email_of(&new, "nobody")];
    Change {
        title: format!("{id} has the old e-mail address again"),
        sql,
        looks,
        register: None,
    }
}

fn email_of(email: &str, expected: &str) -> Look {
    Look {
        path: format!("/v1/users/by-email/{email}"),
        body: None,
        is_secret: false,
        observe: Box::new(|answer| match answer.status {
            404 => Ok("nobody".to_owned()),
            _ => text(&answer.json()?["id"]),
        }),
        expected: expected.to_owned(),
    }
}

fn look(path: String, expected: &str, observe: impl Fn(&Value) -> Result<String> + Send + Sync + 'static) -> Look {
    Look {
        path,
        body: None,
        is_secret: false,
        observe: Box::new(move |answer| {
            anyhow::ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
            observe(&answer.json()?)
        }),
        expected: expected.to_owned(),
    }
}

fn text(value: &Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("read a text from {value}"))
}
