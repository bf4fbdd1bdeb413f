//! The schema changes under everybody: triggers go and come back, tables are altered and rewritten, the log is pruned.

use anyhow::{Context, Result, ensure};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::{Nemesis, linger};
use crate::{dice::Dice, jepsen::stage::LEASE};

const TABLES: [&str; 3] = ["\"user\"", "\"group\"", "config"];
const INSTALL_ATTEMPTS: usize = 5;

/// Drops or disables triggers. Writes go on, and nothing of them is published; reads must notice and ask. Then `install` repairs, or whoever
/// disabled them enables them again by hand.
///
/// A change by DDL may stay unseen for as long as a lease that was granted before it (docs/CONSISTENCY.md, L4), so the writers wait that long.
pub(super) async fn break_triggers(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let admin = nemesis.stage.admin().await?;
    let table = dice.pick(&TABLES);
    let find = format!(
        "SELECT tgname::text FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal AND tgname LIKE '%neverstale%' ORDER BY 1"
    );
    let names: Vec<String> = admin.query(&find, &[]).await?.iter().map(|row| row.get(0)).collect();
    ensure!(!names.is_empty(), "{table} has no trigger of ours");
    let is_dropped = dice.one_in(2);
    let what = if is_dropped {
        let name = dice.pick(&names);
        without_leases(nemesis, &admin, &format!("DROP TRIGGER {name} ON {table}")).await?;
        format!("{name} dropped from {table}")
    } else {
        without_leases(nemesis, &admin, &format!("ALTER TABLE {table} DISABLE TRIGGER USER")).await?;
        format!("all triggers of {table} disabled")
    };
    let ms = linger(dice, 100, 1_500).await;
    if !is_dropped && dice.one_in(2) {
        let enable = |name: &String| format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}");
        let enabled = admin
            .batch_execute(&names.iter().map(enable).collect::<Vec<_>>().join("; "))
            .await;
        if enabled.is_ok() {
            return Ok(format!("{what} for {ms} ms, then enabled by hand"));
        }
    }
    repair(nemesis, dice).await?;
    Ok(format!("{what} for {ms} ms, then repaired"))
}

/// Changes the schema while nobody writes, and until no lease from before is left.
async fn without_leases(nemesis: &Nemesis, admin: &Client, sql: &str) -> Result<()> {
    let _alone = nemesis.stage.gate.write().await;
    admin.batch_execute(sql).await?;
    sleep(LEASE * 2).await;
    Ok(())
}

/// Installs; another fault may come between, and an operator would try again.
async fn repair(nemesis: &Nemesis, dice: &mut Dice) -> Result<()> {
    for _ in 0..INSTALL_ATTEMPTS {
        if nemesis.stage.install().await.is_ok() {
            return Ok(());
        }
        linger(dice, 50, 200).await;
    }
    nemesis.stage.install().await.context("repair the triggers")
}

/// What an operator or a migration does that changes no watched value.
pub(super) async fn change_schema(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let admin = nemesis.stage.admin().await?;
    let table = dice.pick(&TABLES);
    let (what, sql) = match dice.below(5) {
        0 => (
            "an unwatched column came and went",
            vec![
                format!("ALTER TABLE {table} ADD COLUMN jepsen text DEFAULT 'x'"),
                format!("ALTER TABLE {table} DROP COLUMN jepsen"),
            ],
        ),
        1 => ("rewritten (VACUUM FULL)", vec![format!("VACUUM FULL {table}")]),
        2 => (
            "an index came and went",
            vec![
                format!("CREATE INDEX CONCURRENTLY jepsen ON {table} (updated_at)"),
                "DROP INDEX jepsen".to_owned(),
            ],
        ),
        3 => (
            "a trigger of somebody else came and went",
            vec![
                format!(
                    "CREATE TRIGGER jepsen BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
                ),
                format!("DROP TRIGGER jepsen ON {table}"),
            ],
        ),
        _ => ("analysed", vec![format!("ANALYZE {table}")]),
    };
    for statement in sql {
        admin.batch_execute(&statement).await?;
        linger(dice, 50, 300).await;
    }
    Ok(format!("{table}: {what}"))
}

/// The lease is raised, lowered and given up while everybody reads and writes.
pub(super) async fn change_lease(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let mut leases = Vec::new();
    for _ in 0..dice.between(1, 3) {
        let lease_ms = dice.pick(&[0, 10, 30, LEASE.as_millis()]);
        nemesis.stage.set_lease(lease_ms).await?;
        leases.push(format!("{lease_ms} ms"));
        linger(dice, 100, 500).await;
    }
    Ok(format!("the lease became {}", leases.join(", then ")))
}

pub(super) async fn prune(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let keep = dice.below(3);
    let admin = nemesis.stage.admin().await?;
    let sql = format!("SELECT neverstale.prune({keep})");
    let pruned: i64 = admin.query_one(&sql, &[]).await?.get(0);
    Ok(format!("{pruned} rows of the log pruned, {keep} kept"))
}
