//! `doctor`: examines a deployment and says what to do about each finding.
//!
//! Each probe is a file of its own and gives findings; none of them changes anything, but for one empty commit when it
//! is asked for. A probe that can't be made is a finding too, so that one fault does not hide the others.

mod clock;
mod door;
mod pooler;
mod redis;
mod rights;
mod server;
mod timing;

use std::fmt;

use neverstale_flavour::SessionRules;
use neverstale_lifecycle::Clock;
use neverstale_postgres::Connection;
use serde::Serialize;

use crate::{
    cli, database,
    exit::{Exit, Failure},
    flavour, output,
    settings::Settings,
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grade {
    /// As it should be.
    Ok,
    /// It works with less.
    Warn,
    /// A promise can't be kept, or nothing can be served.
    Fail,
}

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    level: Grade,
    check: &'static str,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self {
            level: Grade::Ok,
            check,
            what: what.into(),
            next_step: None,
        }
    }

    fn warn(check: &'static str, what: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self {
            level: Grade::Warn,
            check,
            what: what.into(),
            next_step: Some(next_step.into()),
        }
    }

    fn fail(check: &'static str, what: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self {
            level: Grade::Fail,
            check,
            what: what.into(),
            next_step: Some(next_step.into()),
        }
    }

    /// A probe whose own question failed.
    fn unanswered(check: &'static str, error: &anyhow::Error) -> Self {
        Self::fail(
            check,
            format!("{error:#}"),
            "mend what the error names, then run neverstale doctor again",
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Grade::Ok => "ok  ",
            Grade::Warn => "warn",
            Grade::Fail => "FAIL",
        };
        write!(f, "{level}  {:<22} {}", self.check, self.what)?;
        match &self.next_step {
            Some(next_step) => write!(f, "\n      {:<22} -> {next_step}", ""),
            None => Ok(()),
        }
    }
}

/// Examines everything and tells; the exit code is 3 if a promise can't be kept, 4 without a database.
pub(crate) async fn run(settings: &Settings, asked: &cli::Doctor) -> Result<Exit, Failure> {
    let mut findings = Vec::new();
    let connected = database::connect(&settings.database).await;
    let is_reachable = connected.is_ok();
    let mut sessions = None;
    match connected {
        Ok(connection) => {
            let target = database::target(&settings.database)?;
            findings.push(Finding::ok("database.connection", format!("{target} answers")));
            sessions = Box::pin(examine_database(settings, asked, &connection, &mut findings)).await;
        }
        Err(failure) if failure.exit == Exit::Usage => return Err(failure),
        Err(failure) => findings.push(Finding::fail(
            "database.connection",
            format!("{:#}", failure.error),
            "check the address, the network in between and the password",
        )),
    }
    findings.push(redis::examine(&settings.redis).await);
    findings.extend(door::examine(settings, sessions.as_ref()).await);
    tell(&findings, asked.report.json);
    Ok(match worst(&findings) {
        _ if !is_reachable => Exit::Unavailable,
        Grade::Fail => Exit::Findings,
        Grade::Ok | Grade::Warn => Exit::Ok,
    })
}

/// Gives how the application signs sessions, which its schema tells.
async fn examine_database(
    settings: &Settings,
    asked: &cli::Doctor,
    connection: &Connection,
    findings: &mut Vec<Finding>,
) -> Option<SessionRules> {
    let mut sessions = None;
    let client = connection.client();
    let watch = clock::start(client, Clock::system()).await;
    findings.extend(server::examine(client).await);
    findings.extend(pooler::examine(&settings.database, client).await);
    match flavour::choose(connection, &settings.database).await {
        Ok(flavour) => {
            findings.push(Finding::ok(
                "schema.flavour",
                format!("{} ({})", flavour.name, flavour.description),
            ));
            findings.extend(rights::examine(client, &flavour, &settings.database.app_schema).await);
            if settings.api.writes_allowed {
                findings.push(rights::of_writes(client, &flavour, &settings.database.app_schema).await);
            }
            sessions.clone_from(&flavour.session);
            findings.extend(timing::examine(settings, flavour, connection, asked.measure_commit).await);
        }
        Err(failure) => findings.push(Finding::fail(
            "schema.flavour",
            format!("{:#}", failure.error),
            "name the flavour with --schema, or write your own file",
        )),
    }
    findings.extend(clock::examine(client, watch).await);
    sessions
}

fn worst(findings: &[Finding]) -> Grade {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Grade::Ok)
}

fn tell(findings: &[Finding], as_json: bool) {
    if as_json {
        output::json(&serde_json::json!({"worst": worst(findings), "findings": findings}));
        return;
    }
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let sum = format!(
        "{} ok, {} to look at, {} to mend",
        count(Grade::Ok),
        count(Grade::Warn),
        count(Grade::Fail)
    );
    output::result(&format!("{}\n\n{sum}", lines.join("\n")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_its_level_and_the_next_step() {
        let text = Finding::warn("redis.eviction", "noeviction", "set maxmemory-policy allkeys-lru").to_string();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("warn") && text.ends_with("-> set maxmemory-policy allkeys-lru"));
        assert!(!Finding::ok("x", "y").to_string().contains("->"));
    }

    #[test]
    fn the_worst_finding_decides() {
        let findings = [
            Finding::ok("a", ""),
            Finding::fail("b", "", ""),
            Finding::warn("c", "", ""),
        ];
        assert_eq!(worst(&findings), Grade::Fail);
        assert_eq!(worst(&[]), Grade::Ok);
    }
}
