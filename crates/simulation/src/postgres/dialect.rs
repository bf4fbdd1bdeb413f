//! The little SQL that writers and operators speak here, and how a text of several statements is taken apart.

/// A statement beside those of `crates/postgres`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Begin,
    Commit,
    Rollback,
    Set {
        name: String,
        value: String,
    },
    Listen,
    Boot,
    BeginAnew,
    Change(Change),
    Insert {
        id: String,
        version: i64,
        team: String,
    },
    Delete {
        id: String,
    },
    Version {
        id: String,
    },
    Prune {
        keep: usize,
    },
    Pid,
    Terminate {
        pid: i32,
    },
    Triggers {
        enabled: bool,
    },
    /// The inspection of the installation, or something that is not spoken here.
    Else,
}

/// An UPDATE of the application's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) ids: Vec<String>,
    /// Whether the version is counted up.
    pub(super) counts: bool,
    pub(super) team: Option<String>,
    /// Whether the versions are given back.
    pub(super) returning: bool,
}

/// Takes a text apart at semicolons outside of quotes; what is empty is left out.
pub(super) fn statements(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (place, character) in text.char_indices() {
        match character {
            '\'' => quoted = !quoted,
            ';' if !quoted => {
                parts.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

/// Understands one statement.
pub(super) fn understand(sql: &str) -> Said {
    let words: Vec<&str> = sql.split_whitespace().collect();
    match words.as_slice() {
        ["BEGIN", ..] => Said::Begin,
        ["COMMIT"] => Said::Commit,
        ["ROLLBACK"] => Said::Rollback,
        ["SET", "LOCAL", ..] => Said::Set {
            name: "local".to_owned(),
            value: String::new(),
        },
        ["SET", name, "=", value @ ..] => Said::Set {
            name: (*name).to_owned(),
            value: value.join(" ").trim_matches('\'').to_owned(),
        },
        ["LISTEN", "neverstale"] => Said::Listen,
        ["SELECT", "neverstale.boot()"] => Said::Boot,
        ["SELECT", "neverstale.begin_anew()"] => Said::BeginAnew,
        ["SELECT", "pg_backend_pid()"] => Said::Pid,
        ["SELECT", end] if end.starts_with("pg_terminate_backend(") => {
            let pid = end.trim_start_matches("pg_terminate_backend(").trim_end_matches(')');
            Said::Terminate {
                pid: pid.parse().unwrap_or_default(),
            }
        }
        ["SELECT", prune] if prune.starts_with("neverstale.prune(") => Said::Prune {
            keep: prune
                .trim_start_matches("neverstale.prune(")
                .trim_end_matches(')')
                .parse()
                .unwrap_or(1),
        },
        ["ALTER", "TABLE", "person", "DISABLE", "TRIGGER", ..] => Said::Triggers { enabled: false },
        ["ALTER", "TABLE", "person", "ENABLE", "ALWAYS", "TRIGGER", ..] => Said::Triggers { enabled: true },
        ["SELECT", "version", "FROM", "person", "WHERE", "id", "=", id] => Said::Version { id: unquote(id) },
        ["DELETE", "FROM", "person", "WHERE", "id", "=", id] => Said::Delete { id: unquote(id) },
        ["INSERT", "INTO", "person", ..] => insert(sql),
        ["UPDATE", "person", "SET", ..] => change(sql),
        _ => Said::Else,
    }
}

fn insert(sql: &str) -> Said {
    let values = sql
        .split_once("VALUES (")
        .map_or("", |(_, values)| values)
        .trim_end_matches(')');
    let mut values = values.split(',').map(str::trim);
    match (
        values.next(),
        values.next().and_then(|version| version.parse().ok()),
        values.next(),
    ) {
        (Some(id), Some(version), Some(team)) => Said::Insert {
            id: unquote(id),
            version,
            team: unquote(team),
        },
        _ => Said::Else,
    }
}

fn change(sql: &str) -> Said {
    let Some((set, condition)) = sql.split_once(" WHERE id ") else {
        return Said::Else;
    };
    let (condition, returning) = condition
        .split_once(" RETURNING ")
        .map_or((condition, false), |(ids, _)| (ids, true));
    let ids = condition
        .trim_start_matches(['=', 'I', 'N', ' ', '('])
        .trim_end_matches(')');
    Said::Change(Change {
        ids: ids.split(',').map(unquote).collect(),
        counts: set.contains("version = version + 1"),
        team: set.split_once("team_id = ").map(|(_, team)| unquote(team)),
        returning,
    })
}

fn unquote(text: &str) -> String {
    text.trim().trim_matches('\'').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_understood() {
        let sql = "UPDATE person SET version = version + 1, team_id = 't2' WHERE id IN ('p1', 'p2') RETURNING version";
        let change = Change {
            ids: vec!["p1".to_owned(), "p2".to_owned()],
            counts: true,
            team: Some("t2".to_owned()),
            returning: true,
        };
        assert_eq!(understand(sql), Said::Change(change));
        let noise = understand("UPDATE person SET noise = noise + 1 WHERE id = 'p1'");
        assert!(
            matches!(
                noise,
                Said::Change(Change {
                    counts: false,
                    team: None,
                    ..
                })
            ),
            "{noise:?}"
        );
    }

    #[test]
    fn semicolons_in_quotes_part_nothing() {
        assert_eq!(
            statements("SELECT ';'; SET a = 'b;c';"),
            ["SELECT ';'", "SET a = 'b;c'"]
        );
    }
}
