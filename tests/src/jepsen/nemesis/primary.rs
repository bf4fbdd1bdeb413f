//! The primary is restarted, crashed, paused, replaced by its standby, filled with connections, and its wall clock is stepped.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::{Nemesis, linger};
use crate::dice::Dice;

const PATIENCE: Duration = Duration::from_secs(20);
/// Never reached; it only bounds a loop.
const CROWD_MAX: usize = 200;

pub(super) async fn restart(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let primary = nemesis.stage.primary();
    let how = match dice.below(3) {
        0 => {
            primary.stop().await?;
            "stopped in order"
        }
        1 => {
            primary.crash().await?;
            "crashed"
        }
        _ => {
            primary.kill_nine().await?;
            "killed"
        }
    };
    let ms = linger(dice, 0, 500).await;
    primary.start_again().await?;
    Ok(format!("the primary {how}, down for {ms} ms and its start"))
}

/// Replication is synchronous while the standby follows, so that what was acknowledged is on it; then nobody reaches the old primary any more, it
/// dies, and the standby is promoted: a failover with fencing, as docs/CONSISTENCY.md (L5, L7) asks of operators.
pub(super) async fn fail_over(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let stage = &nemesis.stage;
    let old = stage.primary();
    let following = std::sync::Arc::clone(&old);
    let runtime = Handle::current();
    // The base backup is a program that is waited for.
    let standby = tokio::task::spawn_blocking(move || runtime.block_on(following.standby())).await??;
    let admin = stage.admin().await?;
    admin
        .batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        .await?;
    admin.batch_execute("SELECT pg_reload_conf()").await?;
    let began = Instant::now();
    let follows =
        "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND flush_lsn >= pg_current_wal_lsn()";
    while admin.query_one(follows, &[]).await?.get::<_, i64>(0) == 0 {
        ensure!(began.elapsed() < PATIENCE, "the standby does not follow");
        sleep(Duration::from_millis(5)).await;
    }
    drop(admin);
    let ms = linger(dice, 200, 1_500).await;
    for link in stage.postgres_links() {
        link.cut();
    }
    let promoted = async {
        old.kill_nine().await?;
        standby.promote().await
    }
    .await;
    if let Err(error) = promoted {
        for link in stage.postgres_links() {
            link.restore();
        }
        return Err(error).context("promote the standby");
    }
    stage.follow(standby);
    for link in stage.postgres_links() {
        link.restore();
    }
    Ok(format!("the standby, {ms} ms in step, is the primary now"))
}

pub(super) async fn pause(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let primary = nemesis.stage.primary();
    primary.pause()?;
    let ms = linger(dice, 60, 1_000).await;
    primary.resume()?;
    Ok(format!("the primary stopped for {ms} ms"))
}

/// The clock by which `pg_sleep`, and so the commit wait, goes. A step back holds up the commits that wait, so those are short.
pub(super) async fn step_clock(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let clock = nemesis
        .stage
        .wall_clock
        .as_ref()
        .context("libfaketime is not installed")?;
    let seconds = dice.pick(&[1, 3, 40, -1, -2]);
    let ahead = clock.step(seconds)?;
    // Wakes every latch, which cuts a sleep short that has its end behind it.
    nemesis
        .stage
        .admin()
        .await?
        .batch_execute("SELECT pg_reload_conf()")
        .await?;
    linger(dice, 300, 800).await;
    Ok(format!("the wall clock stepped by {seconds:+} s, now {ahead:+} s"))
}

pub(super) async fn fill_connections(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let mut crowd = Vec::new();
    while crowd.len() < CROWD_MAX {
        match nemesis.stage.admin().await {
            Ok(client) => crowd.push(client),
            Err(_) => break,
        }
    }
    let ms = linger(dice, 200, 1_200).await;
    Ok(format!("{} connections too many for {ms} ms", crowd.len()))
}
