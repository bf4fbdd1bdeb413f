//! The primary is restarted, crashed, paused, replaced by its standby, filled with connections, and its wall clock is stepped.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use neverstale_testkit::Postgres;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::{Nemesis, linger};
use crate::{dice::Dice, jepsen::stage::SIDECARS};

const PATIENCE: Duration = Duration::from_secs(20);
/// Never reached; it only bounds a loop.
const CROWD_MAX: usize = 200;

pub(super) async fn restart(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let primary = nemesis.stage.primary();
    if dice.one_in(3) {
        return kill_backend(nemesis, dice).await;
    }
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

/// A crash that the postmaster survives: its start is the old one, and so is all else but what is not logged.
async fn kill_backend(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let primary = nemesis.stage.primary();
    let admin = nemesis.stage.admin().await?;
    let backends = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let pids: Vec<i32> = admin.query(backends, &[]).await?.iter().map(|row| row.get(0)).collect();
    ensure!(!pids.is_empty(), "nobody is there");
    primary.kill_backend(dice.pick(&pids))?;
    linger(dice, 200, 500).await;
    Ok("a backend of the primary killed, which ended all others".to_owned())
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
    let replaced = replace(nemesis, dice, &old, standby).await;
    if replaced.is_err() {
        go_on_with(nemesis, &old).await?;
    }
    replaced
}

async fn replace(nemesis: &Nemesis, dice: &mut Dice, old: &Postgres, standby: Postgres) -> Result<String> {
    let stage = &nemesis.stage;
    let admin = stage.admin().await?;
    admin
        .batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        .await?;
    admin.batch_execute("SELECT pg_reload_conf()").await?;
    drop(admin);
    follows(nemesis).await?;
    // Meanwhile somebody is led to the standby, as by a name that answers with the wrong address: it must not take it for the primary.
    let astray = dice.below(SIDECARS);
    let link = &stage.places[astray].postgres_link;
    link.lead_to(standby.port());
    link.reset();
    let ms = linger(dice, 200, 1_500).await;
    for link in stage.postgres_links() {
        link.cut();
    }
    // A writer whose session was ended while it waited for the standby has shown what the standby may not have yet.
    follows(nemesis).await?;
    old.kill_nine().await?;
    standby.promote().await.context("promote the standby")?;
    stage.follow(standby);
    for link in stage.postgres_links() {
        link.restore();
    }
    let astray = astray + 1;
    Ok(format!(
        "the standby, {ms} ms in step and meanwhile taken for the primary by sidecar {astray}, is the primary now"
    ))
}

/// Waits until the standby has everything that the primary has.
async fn follows(nemesis: &Nemesis) -> Result<()> {
    let admin = nemesis.stage.admin().await?;
    let began = Instant::now();
    let follows =
        "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND flush_lsn >= pg_current_wal_lsn()";
    while admin.query_one(follows, &[]).await?.get::<_, i64>(0) == 0 {
        ensure!(began.elapsed() < PATIENCE, "the standby does not follow");
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Another fault came between: the old primary stays, and waits for no standby, or no commit would ever end.
async fn go_on_with(nemesis: &Nemesis, old: &Postgres) -> Result<()> {
    let stage = &nemesis.stage;
    if !old.is_running() {
        old.start_again().await?;
    }
    for link in stage.postgres_links() {
        link.lead_to(old.port());
        link.restore();
    }
    let began = Instant::now();
    loop {
        let forgotten = async {
            let admin = stage.admin().await?;
            admin
                .batch_execute("ALTER SYSTEM RESET synchronous_standby_names")
                .await?;
            admin.batch_execute("SELECT pg_reload_conf()").await?;
            anyhow::Ok(())
        };
        match forgotten.await {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() > PATIENCE => return Err(error).context("forget the standby"),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
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
    let seconds = dice.pick(&[1, 3, 40, -1, -2]);
    let ahead = nemesis.stage.wall_clock.step(seconds)?;
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
