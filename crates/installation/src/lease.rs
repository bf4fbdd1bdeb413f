//! Raises and lowers the lease in the safe order (PROTOCOL §6) [4].
//!
//! Two numbers: `wait`, which a commit waits, and the lease, which sidecars may rely on; the lease is never above the wait that
//! every commit under way has read. A change that is broken off leaves the wait too long, never the lease.

use std::time::Duration;

use neverstale_coherence::{Safeguard, safeguard::stands};
use tokio_postgres::Client;

use crate::{InstallationError, LEASE_MS_MAX, error::Operation, run};

/// Sets lease and commit wait, in ms; 0 means no commit wait, and a fence for every fully consistent read.
///
/// Raising waits for the commits under way; lowering waits the old lease out. Returns when both numbers are the new one.
///
/// # Errors
/// [`InstallationError::ChangedMeanwhile`] if somebody else changes it at the same time, [`InstallationError::NotInstalled`],
/// [`InstallationError::Suspended`], [`InstallationError::LeaseTooLong`], and what the database answered otherwise.
///
/// # Cancel safety
/// Dropping it is safe for readers; writers may wait longer than the lease needs until it is set again.
pub async fn set_lease(client: &Client, lease_ms: u32) -> Result<(), InstallationError> {
    if lease_ms > LEASE_MS_MAX {
        return Err(InstallationError::LeaseTooLong { lease_ms });
    }
    let before = begin(client).await?;
    if before.suspended {
        return Err(InstallationError::Suspended);
    }
    if lease_ms > before.lease_ms {
        let wait_ms = lease_ms.max(before.wait_ms);
        guarded(
            client,
            before.generation,
            &format!("PERFORM setval('neverstale.wait', {wait_ms});"),
        )
        .await?;
        if stands(Safeguard::DrainBeforeRaise) {
            drain(client, before.lock_class, wait_ms).await?;
        }
        guarded(client, before.generation, &lease_statement(lease_ms)).await?;
    } else if lease_ms < before.lease_ms {
        guarded(client, before.generation, &lease_statement(lease_ms)).await?;
    }
    let longest = before.wait_ms.max(before.lease_ms);
    if lease_ms < longest {
        if stands(Safeguard::OutwaitBeforeLower) {
            wait_out(longest).await;
        }
        guarded(
            client,
            before.generation,
            &format!("PERFORM setval('neverstale.wait', {lease_ms});"),
        )
        .await?;
    }
    Ok(())
}

/// Lowers the lease to nothing and waits it out, leaving the commit wait; from then on every reader asks before it answers.
pub(crate) async fn end_leases(client: &Client, and_also: &str) -> Result<(), InstallationError> {
    let before = begin(client).await?;
    guarded(
        client,
        before.generation,
        &format!("UPDATE neverstale.installation SET lease_ms = 0{and_also};"),
    )
    .await?;
    wait_out(before.wait_ms.max(before.lease_ms)).await;
    Ok(())
}

/// What a change starts from.
struct Before {
    generation: i64,
    lease_ms: u32,
    wait_ms: u32,
    lock_class: i32,
    suspended: bool,
}

/// Announces a change: whoever else is in the middle of one finds the generation moved, and stops.
async fn begin(client: &Client) -> Result<Before, InstallationError> {
    let sql = "UPDATE neverstale.installation SET lease_generation = lease_generation + 1 \
               RETURNING concat_ws(' ', lease_generation, lease_ms, (SELECT last_value FROM neverstale.wait), lock_class, suspended::integer)";
    let answer = run::attempt(client, sql, || Operation::Lease).await;
    let text = match answer {
        Err(InstallationError::Database { source, .. }) if is_absent(&source) => {
            return Err(InstallationError::NotInstalled);
        }
        answer => answer?.ok_or(InstallationError::NotInstalled)?,
    };
    let numbers: Vec<i64> = text.split(' ').filter_map(|number| number.parse().ok()).collect();
    let &[generation, lease_ms, wait_ms, lock_class, suspended] = numbers.as_slice() else {
        return Err(InstallationError::NotInstalled);
    };
    Ok(Before {
        generation,
        lease_ms: lease_ms as u32,
        wait_ms: wait_ms as u32,
        lock_class: lock_class as i32,
        suspended: suspended != 0,
    })
}

fn is_absent(error: &tokio_postgres::Error) -> bool {
    use tokio_postgres::error::SqlState;
    [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME]
        .iter()
        .any(|state| error.code() == Some(state))
}

fn lease_statement(lease_ms: u32) -> String {
    format!("UPDATE neverstale.installation SET lease_ms = {lease_ms};")
}

/// Does one thing under the row lock of the installation, if the change is still ours.
async fn guarded(client: &Client, generation: i64, statement: &str) -> Result<(), InstallationError> {
    let script = format!(
        "DO $neverstale$ BEGIN
  PERFORM FROM neverstale.installation WHERE lease_generation = {generation} FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'object_in_use', MESSAGE = 'the lease is being changed by somebody else';
  END IF;
  {statement}
END $neverstale$"
    );
    match run::attempt(client, &script, || Operation::Lease).await {
        Err(InstallationError::Database { source, .. })
            if source.code() == Some(&tokio_postgres::error::SqlState::OBJECT_IN_USE) =>
        {
            Err(InstallationError::ChangedMeanwhile)
        }
        answer => answer.map(drop),
    }
}

/// Takes the mark exclusively once: everyone who may have read the old wait has then committed. In short attempts, because
/// commits queue behind it.
///
/// Each attempt outlasts the longest wait of those who hold the mark now.
async fn drain(client: &Client, lock_class: i32, wait_ms: u32) -> Result<(), InstallationError> {
    let patience_ms = 250 + u64::from(wait_ms) * 5 / 4;
    let script = format!(
        "BEGIN; SET LOCAL lock_timeout = '{patience_ms}ms'; SELECT pg_catalog.pg_advisory_xact_lock({lock_class}, 0); COMMIT"
    );
    run::attempt(client, &script, || Operation::Drain).await.map(drop)
}

/// A quarter longer than the lease, because clocks are steered by up to 8 % on either side [15].
async fn wait_out(lease_ms: u32) {
    tokio::time::sleep(Duration::from_millis(u64::from(lease_ms)) * 5 / 4).await;
}
