//! `audit`: compares a running sidecar's answers with Postgres at the same position. It writes nothing.
//!
//! Each path is read through the sidecar first and filled from Postgres afterwards. Where both speak of one position
//! they must agree to the byte; where a commit came in between, the path is tried again. Paths that are compared again and again
//! are answered from cache, and that is what an audit is about.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use neverstale_flavour::{Param, PathPattern, RouteError, Router};
use neverstale_postgres::{Connection, FeedConnection, FillPool, Statements};
use neverstale_wire::Token;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    caller::{Answer, Caller},
    cli, database,
    exit::{Exit, Failure},
    flavour, output,
    settings::Settings,
};

/// How often a path is tried while commits come in between.
const ATTEMPTS: u32 = 8;
/// As many answers that did not match are told one by one.
const FINDINGS_MAX: usize = 100;

/// What comparing one path came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
enum Compared {
    Match,
    Mismatch { reason: String },
    Inconclusive { reason: String },
}

#[derive(Debug, Serialize)]
struct Finding {
    path: String,
    #[serde(flatten)]
    compared: Compared,
}

pub(crate) async fn run(settings: &Settings, asked: &cli::Audit) -> Result<Exit, Failure> {
    let connection = database::connect_within(&settings.database, settings.database.statement_limit()).await?;
    let flavour = flavour::choose(&connection, &settings.database).await?;
    let router = settings
        .router(flavour)
        .map_err(|reason| Failure::usage(anyhow!(reason)))?;
    let paths = if asked.paths.is_empty() {
        draw(&connection, &router, &settings.database.app_schema, asked.users).await?
    } else {
        asked.paths.clone()
    };
    let (_feed, statements) =
        FeedConnection::prepare(connection, router.flavour(), &settings.database.app_schema).await?;
    let auditor = Auditor {
        caller: Caller::new(&asked.sidecar, asked.token_file.as_deref())?,
        pool: FillPool::new(
            database::target(&settings.database)?,
            settings.database.tls_ca_file.clone(),
            settings.database.connect_limit(),
            settings.database.statement_limit(),
            1,
            router.flavour(),
        ),
        statements: Arc::new(statements),
        router,
    };
    let report = auditor.rounds(&paths, asked).await?;
    report.tell(asked.report.json);
    Ok(if report.mismatch > 0 { Exit::Findings } else { Exit::Ok })
}

struct Auditor {
    caller: Caller,
    router: Router,
    statements: Arc<Statements>,
    pool: FillPool,
}

impl Auditor {
    /// Compares every path once, or as long as was asked for.
    async fn rounds(&self, paths: &[String], asked: &cli::Audit) -> Result<Report, Failure> {
        let end = asked.span.map(|span| Instant::now() + span);
        let mut pace = interval(Duration::from_secs(1) / asked.rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report = Report::default();
        let count = if end.is_some() { usize::MAX } else { paths.len() };
        for path in paths.iter().cycle().take(count) {
            pace.tick().await;
            report.add(path, self.compare(path).await?);
            if end.is_some_and(|end| Instant::now() >= end) {
                break;
            }
        }
        Ok(report)
    }

    /// Compares one path, and says whether the answer came from cache.
    async fn compare(&self, path: &str) -> Result<(Compared, bool), Failure> {
        let read = match self.router.route(path) {
            Ok(read) => read,
            Err(error @ (RouteError::Malformed(_) | RouteError::UnknownPath | RouteError::NotInThisSchema)) => {
                return Err(Failure::usage(anyhow!("{path}: {error}")));
            }
        };
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            let answer = self.caller.get(path).await?;
            let filled = self.pool.fill(&self.statements, read.view, &read.params).await?;
            match judge(
                &answer,
                &Token {
                    incarnation: filled.incarnation,
                    position: filled.as_of,
                },
                filled.body.as_deref(),
            ) {
                Compared::Inconclusive { reason: latest } => reason = latest,
                settled => return Ok((settled, answer.is_hit)),
            }
        }
        Ok((Compared::Inconclusive { reason }, false))
    }
}

/// Compares an answer with what Postgres said afterwards, at its position `source`.
fn judge(answer: &Answer, source: &Token, body: Option<&[u8]>) -> Compared {
    let inconclusive = |reason: &str| Compared::Inconclusive {
        reason: reason.to_owned(),
    };
    let mismatch = |reason: &str| Compared::Mismatch {
        reason: reason.to_owned(),
    };
    if !matches!(answer.status, 200 | 404) {
        return inconclusive(&format!("the sidecar answered {}", answer.status));
    }
    let Some(token) = &answer.position else {
        return mismatch("the answer names no position");
    };
    if token.incarnation != source.incarnation {
        return inconclusive("the database's incarnation changed in between");
    }
    if token.position > source.position {
        return mismatch("the answer's position is ahead of the primary");
    }
    if token.position < source.position {
        return inconclusive("commits came in between");
    }
    match (answer.status, body) {
        (404, None) => Compared::Match,
        (200, Some(body)) if body == answer.body.as_ref() => Compared::Match,
        (200, Some(_)) => mismatch("the body is not what Postgres says at the same position"),
        (200, None) => mismatch("Postgres has no such thing at the same position"),
        (_, _) => mismatch("Postgres has such a thing at the same position"),
    }
}

/// Draws users at random and gives the paths of all views that need nothing but a user's id.
async fn draw(connection: &Connection, router: &Router, app_schema: &str, users: u32) -> Result<Vec<String>, Failure> {
    let flavour = router.flavour();
    let is_users = |params: &[Param]| {
        matches!(params, [Param::Path(name), ..] if name == "id")
            && params
                .iter()
                .all(|param| !matches!(param, Param::Path(name) if name != "id"))
    };
    let views = flavour
        .views
        .iter()
        .filter(|view| !view.secret && is_users(&view.params));
    let patterns = views.filter_map(|view| view.path.as_ref()).map(PathPattern::as_str);
    let patterns: Vec<&str> = patterns.filter(|path| path.starts_with("/v1/users/{id}")).collect();
    if patterns.is_empty() || flavour.table("user").is_none() {
        return Err(Failure::usage(anyhow!(
            "flavour {} has no users to draw; name the paths to compare",
            flavour.name
        )));
    }
    let sql = format!(
        "SELECT id::text FROM \"{}\".\"user\" ORDER BY random() LIMIT $1",
        app_schema.replace('"', "\"\"")
    );
    let rows = connection
        .client()
        .query(&sql, &[&i64::from(users)])
        .await
        .context("draw users")?;
    let path = |id: &str| {
        patterns
            .iter()
            .map(move |pattern| pattern.replace("{id}", &encoded(id)))
            .collect::<Vec<_>>()
    };
    Ok(rows.iter().flat_map(|row| path(row.get(0))).collect())
}

fn encoded(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    segment
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// What an audit came to.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Answers that were what Postgres says.
    r#match: u64,
    /// Answers that were not: the only acceptable value is 0.
    mismatch: u64,
    /// Answers of which nobody can say, because commits came in between each time.
    inconclusive: u64,
    /// Answers from cache, of those that could be judged.
    from_cache: u64,
    /// The first of those that did not match.
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, path: &str, (compared, is_hit): (Compared, bool)) {
        *match compared {
            Compared::Match => &mut self.r#match,
            Compared::Mismatch { .. } => &mut self.mismatch,
            Compared::Inconclusive { .. } => &mut self.inconclusive,
        } += 1;
        self.from_cache += u64::from(is_hit);
        if compared != Compared::Match && self.findings.len() < FINDINGS_MAX {
            let path = path.to_owned();
            self.findings.push(Finding { path, compared });
        }
    }

    fn tell(&self, as_json: bool) {
        if as_json {
            return output::json(self);
        }
        for Finding { path, compared } in &self.findings {
            match compared {
                Compared::Match => {}
                Compared::Mismatch { reason } => output::result(&format!("MISMATCH      {path}: {reason}")),
                Compared::Inconclusive { reason } => output::result(&format!("inconclusive  {path}: {reason}")),
            }
        }
        let Self {
            r#match: matches,
            mismatch,
            inconclusive,
            from_cache,
            ..
        } = self;
        output::result(&format!(
            "{matches} match, {mismatch} mismatch, {inconclusive} inconclusive; {from_cache} from cache"
        ));
        if *mismatch == 0 && *matches > 0 {
            let bound = 300.0 / *matches as f64;
            output::result(&format!(
                "with 95 % confidence fewer than {bound:.2} % of such answers are stale"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use neverstale_coherence::{Incarnation, Position};

    use super::*;

    fn token(incarnation: u8, position: u64) -> Token {
        Token {
            incarnation: Incarnation([incarnation; 16]),
            position: Position(position),
        }
    }

    fn answer(status: u16, position: u64) -> Answer {
        Answer {
            status,
            position: Some(token(1, position)),
            is_hit: true,
            body: "new".into(),
        }
    }

    #[test]
    fn only_answers_of_one_position_are_judged() {
        let judged = |answer: &Answer, source: Token, body| judge(answer, &source, body);
        assert_eq!(judged(&answer(200, 5), token(1, 5), Some(b"new")), Compared::Match);
        assert_eq!(judged(&answer(404, 5), token(1, 5), None), Compared::Match);
        let mismatches = [
            judged(&answer(200, 5), token(1, 5), Some(b"old")),
            judged(&answer(200, 5), token(1, 5), None),
            judged(&answer(404, 5), token(1, 5), Some(b"new")),
            judged(&answer(200, 6), token(1, 5), Some(b"new")),
        ];
        assert!(
            mismatches
                .iter()
                .all(|compared| matches!(compared, Compared::Mismatch { .. }))
        );
        let open = [
            judged(&answer(200, 4), token(1, 5), Some(b"old")),
            judged(&answer(200, 5), token(2, 5), Some(b"old")),
            judged(&answer(503, 5), token(1, 5), Some(b"old")),
        ];
        assert!(
            open.iter()
                .all(|compared| matches!(compared, Compared::Inconclusive { .. }))
        );
    }
}
