//! Sessions of writers idle, roll back, and are ended by the administrator.

use std::time::Duration;

use anyhow::Result;

use super::{Nemesis, linger};
use crate::{
    dice::Dice,
    jepsen::{record::Heard, registers::Registers, writers::Ending},
};

/// Changes are made and stay uncommitted for a while; nobody may see them, and who wants the same rows waits.
pub(super) async fn idle(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let client = nemesis.stage.writer().await?;
    let registers = Registers::some(dice, 3);
    let ms = dice.between(200, 1_500);
    let ending = if dice.one_in(3) {
        Ending::Rollback
    } else {
        Ending::Commit
    };
    let idle = Duration::from_millis(ms);
    let heard = nemesis
        .writers
        .transaction(nemesis.process, &client, &registers, idle, ending)
        .await;
    let heard = match heard {
        Heard::Committed => "committed",
        Heard::RolledBack => "rolled back",
        Heard::Nothing => "never heard",
    };
    Ok(format!(
        "{} registers in a transaction that idled for {ms} ms, then {heard}",
        registers.len()
    ))
}

pub(super) async fn roll_back(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let client = nemesis.stage.writer().await?;
    let count = dice.between(3, 10);
    for _ in 0..count {
        let registers = Registers::some(dice, 3);
        let idle = Duration::from_millis(dice.between(0, 30));
        nemesis
            .writers
            .transaction(nemesis.process, &client, &registers, idle, Ending::Rollback)
            .await;
    }
    Ok(format!("{count} transactions rolled back"))
}

/// Of the sidecars, of the writers, or of both; some of them are in the middle of their commit.
pub(super) async fn end_sessions(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let (whose, condition) = dice.pick(&[
        ("the sidecars'", "application_name LIKE 'neverstale%'"),
        ("the writers'", "application_name NOT LIKE 'neverstale%'"),
        ("committing writers'", "wait_event = 'PgSleep'"),
        ("all", "true"),
    ]);
    let admin = nemesis.stage.admin().await?;
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
    );
    let ended: i64 = admin.query_one(&sql, &[]).await?.get(0);
    linger(dice, 50, 200).await;
    Ok(format!("{whose} sessions ended ({ended})"))
}
