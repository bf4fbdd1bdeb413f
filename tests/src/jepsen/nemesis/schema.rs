//! The schema changes under everybody: triggers go and come back, tables are altered and rewritten, the log is pruned.

use anyhow::{Context, Result, ensure};
use tokio::time::sleep;

use super::{Nemesis, linger};
use crate::{dice::Dice, jepsen::stage::LEASE};

const TABLES: [&str; 3] = ["\"user\"", "\"group\"", "config"];
const INSTALL_ATTEMPTS: usize = 5;

/// Drops or disables triggers. Writes go on, and nothing of them is published; reads must notice and ask. Then `install` repairs.
///
/// A change by DDL may stay unseen for as long as a lease that was granted before it (docs/CONSISTENCY.md, L4), so the writers wait that long.
pub(super) async fn break_triggers(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let admin = nemesis.stage.admin().await?;
    let table = dice.pick(&TABLES);
    let what = {
        let _alone = nemesis.stage.gate.write().await;
        let what = if dice.one_in(2) {
            let find = format!(
                "SELECT tgname::text FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal AND tgname LIKE '%neverstale%' ORDER BY 1"
            );
            let names: Vec<String> = admin.query(&find, &[]).await?.iter().map(|row| row.get(0)).collect();
            ensure!(!names.is_empty(), "{table} has no trigger of ours");
            let name = dice.pick(&names);
            admin.batch_execute(&format!("DROP TRIGGER {name} ON {table}")).await?;
            format!("{name} dropped from {table}")
        } else {
            admin
                .batch_execute(&format!("ALTER TABLE {table} DISABLE TRIGGER USER"))
                .await?;
            format!("all triggers of {table} disabled")
        };
        sleep(LEASE * 2).await;
        what
    };
    let ms = linger(dice, 300, 1_500).await;
    let mut installed = nemesis.stage.install().await;
    for _ in 0..INSTALL_ATTEMPTS {
        if installed.is_ok() {
            break;
        }
        linger(dice, 50, 200).await;
        installed = nemesis.stage.install().await;
    }
    installed.context("repair the triggers")?;
    Ok(format!("{what} for {ms} ms, then repaired"))
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

pub(super) async fn prune(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let keep = dice.below(3);
    let admin = nemesis.stage.admin().await?;
    let sql = format!("SELECT neverstale.prune({keep})");
    let pruned: i64 = admin.query_one(&sql, &[]).await?.get(0);
    Ok(format!("{pruned} rows of the log pruned, {keep} kept"))
}
