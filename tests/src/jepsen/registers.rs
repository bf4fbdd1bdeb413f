//! The registers: rows whose value says which write made it, and the questions that show them.
//!
//! A value is the text `~register.version.write~`. The version is assigned by the database, as one more than before under the row's lock; the
//! write is the writer's own number. So every answer, of whatever view, says by itself what it shows: it is scanned for such texts, not parsed.

use anyhow::{Context, Result};
use neverstale_testkit::{api_key, group_id, user_id};
use tokio_postgres::Client;

use super::record::Seen;
use crate::dice::Dice;

pub(crate) const USERS: u32 = 16;
pub(crate) const GROUPS: u32 = 4;
const SETTINGS: u32 = 4;
/// How often the question for the position stands among the others.
const POSITIONS: u32 = 6;
const REGISTERS: u16 = (USERS + GROUPS + SETTINGS) as u16;

/// A row whose value is versioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    User(u32),
    Group(u32),
    Setting(u32),
}

impl Row {
    fn of(register: u16) -> Self {
        let number = u32::from(register) + 1;
        if number <= USERS {
            Self::User(number)
        } else if number <= USERS + GROUPS {
            Self::Group(number - USERS)
        } else {
            Self::Setting(number - USERS - GROUPS)
        }
    }

    fn name(self) -> String {
        match self {
            Self::User(number) => format!("user {}", user_id(number)),
            Self::Group(number) => format!("group {}", group_id(number)),
            Self::Setting(number) => format!("setting {}", setting(number)),
        }
    }
}

/// A question, and the registers that its answer shows.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) path: String,
    /// The body of a `POST`; empty for a `GET`.
    pub(crate) body: String,
    pub(crate) shows: Vec<u16>,
    /// Goes to the Unix socket only.
    pub(crate) is_secret: bool,
    /// Asks for the position, and so for a token that carries everything.
    pub(crate) is_fence: bool,
}

/// All registers and all questions about them.
#[derive(Debug, Clone)]
pub(crate) struct Registers {
    pub(crate) questions: Vec<Question>,
}

impl Registers {
    /// Makes the rows of a populated Open WebUI 0.12 registers, and the table in which every transaction notes what it made.
    pub(crate) async fn set_up(client: &Client) -> Result<Self> {
        let mut sql = "CREATE TABLE public.made (write integer, register integer, version integer);".to_owned();
        for register in 0..REGISTERS {
            let value = format!("~{register}.0.0~");
            sql += &match Row::of(register) {
                Row::User(number) => format!("UPDATE \"user\" SET name = '{value}' WHERE id = '{}';", user_id(number)),
                Row::Group(number) => {
                    format!(
                        "UPDATE \"group\" SET name = '{value}' WHERE id = '{}';",
                        group_id(number)
                    )
                }
                Row::Setting(number) => {
                    format!(
                        "INSERT INTO config (key, value, updated_at) VALUES ('{}', to_json('{value}'::text), 1);",
                        setting(number)
                    )
                }
            };
        }
        client.batch_execute(&sql).await.context("make the registers")?;
        let members = client
            .query("SELECT user_id, group_id FROM group_member", &[])
            .await
            .context("read who is a member of what")?;
        let members: Vec<(String, String)> = members.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(Self {
            questions: questions(&members),
        })
    }

    pub(crate) fn names() -> Vec<String> {
        (0..REGISTERS).map(|register| Row::of(register).name()).collect()
    }

    /// Some registers, each once, in the order in which writers lock them.
    pub(crate) fn some(dice: &mut Dice, count: usize) -> Vec<u16> {
        let mut chosen: Vec<u16> = (0..count).map(|_| dice.below(usize::from(REGISTERS)) as u16).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }
}

/// One statement that gives a register its next version and notes it.
pub(crate) fn write_sql(register: u16, write: u32) -> String {
    let next = |column: &str| format!("split_part({column}, '.', 2)::integer");
    let value = |column: &str| format!("'~{register}.' || ({} + 1) || '.{write}~'", next(column));
    let update = match Row::of(register) {
        Row::User(number) => format!(
            "UPDATE \"user\" SET name = {} WHERE id = '{}' RETURNING {} AS version",
            value("name"),
            user_id(number),
            next("name")
        ),
        Row::Group(number) => format!(
            "UPDATE \"group\" SET name = {} WHERE id = '{}' RETURNING {} AS version",
            value("name"),
            group_id(number),
            next("name")
        ),
        Row::Setting(number) => format!(
            "UPDATE config SET value = to_json({}) WHERE key = '{}' RETURNING {} AS version",
            value("(value #>> '{}')"),
            setting(number),
            next("(value #>> '{}')")
        ),
    };
    format!(
        "WITH updated AS ({update}) INSERT INTO public.made (write, register, version) SELECT {write}, {register}, version FROM updated"
    )
}

/// Finds what an answer shows: every `~register.version.write~` in it.
pub(crate) fn scan(body: &[u8], seen: &mut Vec<Seen>) {
    let mut rest = body;
    while let Some(start) = rest.iter().position(|byte| *byte == b'~') {
        rest = &rest[start + 1..];
        let (register, after) = number(rest);
        let (version, after) = number(after);
        let (write, after) = number(after);
        seen.push(Seen {
            register: register as u16,
            version,
            write,
        });
        rest = after;
    }
}

/// Reads digits and the one byte that ends them.
fn number(bytes: &[u8]) -> (u32, &[u8]) {
    let mut value: u32 = 0;
    for (place, byte) in bytes.iter().enumerate() {
        if !byte.is_ascii_digit() {
            return (value, &bytes[place + 1..]);
        }
        value = value.wrapping_mul(10).wrapping_add(u32::from(byte - b'0'));
    }
    (value, &[])
}

fn setting(number: u32) -> String {
    format!("jepsen.{number}")
}

fn user(number: u32) -> u16 {
    (number - 1) as u16
}

fn questions(members: &[(String, String)]) -> Vec<Question> {
    let get = |path: String, shows: Vec<u16>| Question {
        path,
        body: String::new(),
        shows,
        is_secret: false,
        is_fence: false,
    };
    let group = |number: u32| (USERS + number - 1) as u16;
    let mut all = Vec::new();
    for number in 1..=USERS {
        let id = user_id(number);
        all.push(get(format!("/v1/users/{id}"), vec![user(number)]));
        all.push(get(
            format!("/v1/users/by-email/user{number}%40example.com"),
            vec![user(number)],
        ));
        let is_member = |place: &u32| members.contains(&(id.clone(), group_id(*place)));
        let groups = (1..=GROUPS).filter(is_member).map(group).collect();
        all.push(get(format!("/v1/users/{id}/groups"), groups));
        all.push(Question {
            path: "/v1/api-keys/resolve".to_owned(),
            body: format!("{{\"api_key\": \"{}\"}}", api_key(number)),
            shows: vec![user(number)],
            is_secret: true,
            is_fence: false,
        });
    }
    for number in 1..=GROUPS {
        all.push(get(
            format!("/v1/views/group/{}", group_id(number)),
            vec![group(number)],
        ));
    }
    let setting_register = |number: u32| (USERS + GROUPS + number - 1) as u16;
    for number in 1..=SETTINGS {
        all.push(get(
            format!("/v1/config/{}", setting(number)),
            vec![setting_register(number)],
        ));
    }
    all.push(get(
        "/v1/config".to_owned(),
        (1..=SETTINGS).map(setting_register).collect(),
    ));
    for _ in 0..POSITIONS {
        all.push(Question {
            is_fence: true,
            ..get("/v1/position".to_owned(), Vec::new())
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_it_shows_wherever_it_stands() {
        let mut seen = Vec::new();
        scan(
            br#"{"name" : "~12.7.93~", "x": [{"name":"~3.0.0~"}], "cut": "~4.1"#,
            &mut seen,
        );
        let seen: Vec<_> = seen
            .iter()
            .map(|seen| (seen.register, seen.version, seen.write))
            .collect();
        assert_eq!(seen, [(12, 7, 93), (3, 0, 0), (4, 1, 0)]);
    }

    #[test]
    fn every_register_is_shown_by_some_question() {
        let questions = questions(&[("u1".to_owned(), "g2".to_owned())]);
        for register in 0..REGISTERS {
            assert!(
                questions.iter().any(|question| question.shows.contains(&register)),
                "{register}"
            );
        }
    }
}
