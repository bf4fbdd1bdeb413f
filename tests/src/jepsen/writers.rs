//! Writers: plain SQL and a pool, one register or several in a transaction, now and then rolled back.
//!
//! Every transaction notes in the table `made`, itself, what it made: so the database tells in the end which writes were committed, also those
//! whose writers never heard. Reads of what was rolled back are lies, and the numbers in the values show them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};
use tokio_postgres::{
    Client, Error,
    error::{DbError, Severity},
};

use super::{
    record::{Clock, Heard, Write},
    registers::{Registers, write_sql},
    stage::Stage,
};
use crate::dice::Dice;

/// What has not been acknowledged by then is given up, and may still come.
const PATIENCE: Duration = Duration::from_secs(15);
/// Registers of one transaction.
const REGISTERS_MAX: u64 = 4;
const ROLLBACK_ONE_IN: usize = 12;

/// How a writer comes to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// Keeps one.
    Own,
    /// Takes one from the pool for each transaction.
    Pooled,
}

/// How a transaction ends, if nothing happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Commit,
    Rollback,
}

/// What all writers share.
pub(crate) struct Writers {
    pub(crate) stage: Arc<Stage>,
    pub(crate) clock: Clock,
    pub(crate) is_over: AtomicBool,
    pub(crate) committed: AtomicU32,
    /// Between two transactions of a writer.
    pub(crate) pace: Duration,
    next: AtomicU32,
    pool: Mutex<Vec<Client>>,
    log: Mutex<Vec<Write>>,
}

impl Writers {
    pub(crate) fn new(stage: Arc<Stage>, clock: Clock, pace: Duration) -> Self {
        Self {
            stage,
            clock,
            is_over: AtomicBool::new(false),
            committed: AtomicU32::new(0),
            pace,
            next: AtomicU32::new(1),
            pool: Mutex::default(),
            log: Mutex::default(),
        }
    }

    /// Writes until it is over.
    pub(crate) async fn write(self: Arc<Self>, process: u16, session: Session, mut dice: Dice) {
        let mut own = None;
        while !self.is_over.load(Ordering::Relaxed) {
            let client = match session {
                Session::Own => match own.take() {
                    Some(client) => Ok(client),
                    None => self.stage.writer().await,
                },
                Session::Pooled => {
                    let idle = self.pool.lock().expect("no holder panics").pop();
                    match idle {
                        Some(client) => Ok(client),
                        None => self.stage.pooled_writer().await,
                    }
                }
            };
            if let Ok(client) = client {
                let ending = if dice.one_in(ROLLBACK_ONE_IN) {
                    Ending::Rollback
                } else {
                    Ending::Commit
                };
                let count = if dice.one_in(2) {
                    1
                } else {
                    dice.between(2, REGISTERS_MAX)
                };
                let registers = Registers::some(&mut dice, count as usize);
                let heard = self
                    .transaction(process, &client, &registers, Duration::ZERO, ending)
                    .await;
                if heard != Heard::Nothing {
                    match session {
                        Session::Own => own = Some(client),
                        Session::Pooled => self.pool.lock().expect("no holder panics").push(client),
                    }
                }
            }
            sleep(self.pace.mul_f64(dice.between(20, 180) as f64 / 100.0)).await;
        }
    }

    /// One transaction, recorded; it idles before its end.
    pub(crate) async fn transaction(
        &self,
        process: u16,
        client: &Client,
        registers: &[u16],
        idle: Duration,
        ending: Ending,
    ) -> Heard {
        let _held = self.stage.gate.read().await;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let statements: Vec<String> = registers.iter().map(|register| write_sql(*register, id)).collect();
        let start = self.clock.now();
        let ended = timeout(PATIENCE, execute(client, &statements, idle, ending)).await;
        let end = self.clock.now();
        let heard = match ended {
            Ok(Ok(())) if ending == Ending::Commit => Heard::Committed,
            Ok(Ok(())) => Heard::RolledBack,
            Ok(Err(error)) if is_refusal(&error) => match timeout(PATIENCE, client.batch_execute("ROLLBACK")).await {
                Ok(Ok(())) => Heard::RolledBack,
                _ => Heard::Nothing,
            },
            _ => Heard::Nothing,
        };
        self.committed
            .fetch_add(u32::from(heard == Heard::Committed), Ordering::Relaxed);
        self.log.lock().expect("no holder panics").push(Write {
            id,
            process,
            heard,
            start,
            end,
            made: Vec::new(),
        });
        heard
    }

    /// All writes, with what the database says that they made.
    pub(crate) async fn take(&self) -> Result<Vec<Write>> {
        let rows = self
            .stage
            .admin()
            .await?
            .query("SELECT write, register, version FROM public.made", &[])
            .await
            .context("read what was made")?;
        let mut writes = std::mem::take(&mut *self.log.lock().expect("no holder panics"));
        writes.sort_unstable_by_key(|write| write.id);
        for row in rows {
            let (id, register, version): (i32, i32, i32) = (row.get(0), row.get(1), row.get(2));
            let place = writes.binary_search_by_key(&(id as u32), |write| write.id);
            let place = place.ok().context("find the write that a row was made by")?;
            writes[place].made.push((register as u16, version as u32));
        }
        Ok(writes)
    }
}

async fn execute(client: &Client, statements: &[String], idle: Duration, ending: Ending) -> Result<(), Error> {
    let rolls_back = ending == Ending::Rollback;
    if let ([one], true, false) = (statements, idle.is_zero(), rolls_back) {
        // Autocommit.
        return client.execute(one, &[]).await.map(drop);
    }
    client
        .batch_execute(&format!("BEGIN; {}", statements.join("; ")))
        .await?;
    if !idle.is_zero() {
        sleep(idle).await;
    }
    client
        .batch_execute(if rolls_back { "ROLLBACK" } else { "COMMIT" })
        .await
}

/// Whether the server says that the transaction is undone; a session that ended says nothing of the kind.
fn is_refusal(error: &Error) -> bool {
    error.as_db_error().and_then(DbError::parsed_severity) == Some(Severity::Error)
}
