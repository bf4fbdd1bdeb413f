//! Performs steps: one transaction each, with a short wait for locks, tried again with growing pauses.
//!
//! A waiting lock request makes everyone behind it wait, too; so each attempt gives up soon and lets the queue pass.

use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use neverstale_lifecycle::Backoff;

use crate::{InstallationError, error::Operation, plan::Step};

/// How often a step is tried before it is given up.
const ATTEMPTS_MAX: u32 = 20;

/// First pause between attempts.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Performs one step.
pub(crate) async fn perform(client: &Client, step: &Step, lock_timeout: Duration) -> Result<(), InstallationError> {
    let script = step.to_sql(Some(lock_timeout.as_millis().max(1)));
    let operation = || Operation::Step(step.title.clone());
    attempt(client, &script, operation).await.map(drop)
}

/// Runs a script that is a transaction, again and again while it fails for want of a lock, and gives the first column of its last row.
///
/// # Cancel safety
/// Dropping it may leave the connection inside a failed transaction; nothing of that transaction is kept.
pub(crate) async fn attempt(
    client: &Client,
    script: &str,
    operation: impl Fn() -> Operation,
) -> Result<Option<String>, InstallationError> {
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    for attempts in 1.. {
        let source = match client.simple_query(script).await {
            Ok(answer) => return Ok(last_value(&answer)),
            Err(source) => source,
        };
        if client.is_closed() {
            return Err(operation().failed(source));
        }
        client
            .batch_execute("ROLLBACK")
            .await
            .map_err(|source| operation().failed(source))?;
        let is_lock = source.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
            || source.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED);
        if !is_lock {
            return Err(operation().failed(source));
        }
        if attempts == ATTEMPTS_MAX {
            return Err(InstallationError::Locked {
                operation: operation(),
                attempts,
                source,
            });
        }
        tracing::debug!(step = %operation(), attempts, "no lock, trying again");
        tokio::time::sleep(backoff.next_delay()).await;
    }
    unreachable!("the loop above has no other end")
}

/// Removes all but the newest `keep` positions, at least one, and gives how many it removed. Sidecars that are further behind
/// start anew (PROTOCOL §4); `keep` is to be larger than what one can miss while it reconnects.
///
/// # Errors
/// What the database answered; [`InstallationError::Rights`] if the role was not granted it.
///
/// # Cancel safety
/// Dropping it is safe; whether it pruned is then unknown.
pub async fn prune(client: &Client, keep: u64) -> Result<u64, InstallationError> {
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let answer = client.simple_query(&format!("SELECT neverstale.prune({keep})")).await;
    let answer = answer.map_err(|source| Operation::Prune.failed(source))?;
    Ok(last_value(&answer)
        .and_then(|removed| removed.parse().ok())
        .unwrap_or_default())
}

fn last_value(answer: &[SimpleQueryMessage]) -> Option<String> {
    answer.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}
