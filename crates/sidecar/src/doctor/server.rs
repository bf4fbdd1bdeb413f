//! Is it the primary, is there room, and does anything set our sessions up otherwise than we need?

use anyhow::Context;
use tokio_postgres::Client;

use super::Finding;

/// Connections in use, in percent, from which a failover or a rollout may find no room.
const CROWDED_PERCENT: i64 = 90;

pub(super) async fn examine(client: &Client) -> Vec<Finding> {
    match ask(client).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::unanswered("database.server", &error)],
    }
}

async fn ask(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let row = client
        .query_one(SERVER, &[])
        .await
        .context("ask the server about itself")?;
    let (is_standby, is_read_only, version): (bool, bool, String) = (row.get(0), row.get(1), row.get(2));
    let (used, max): (i64, i64) = (row.get(3), row.get(4));
    let (role, overrides): (String, Vec<String>) = (row.get(5), row.get(6));
    Ok(vec![
        primary(is_standby, is_read_only, &version),
        room(used, max),
        replication_role(&role, &overrides),
    ])
}

/// `pg_db_role_setting` says what roles and databases set for every new session.
const SERVER: &str = "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean, \
    current_setting('server_version'), (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), \
    current_setting('max_connections')::bigint, current_setting('session_replication_role'), \
    ARRAY(SELECT concat_ws(' in ', coalesce(setrole::regrole::text, 'all roles'), coalesce(datname, 'all databases')) \
      FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole LEFT JOIN pg_database ON pg_database.oid = setdatabase \
      WHERE EXISTS (SELECT FROM unnest(setconfig) AS setting WHERE setting LIKE 'session\\_replication\\_role=%' \
        AND setting <> 'session_replication_role=origin'))";

fn primary(is_standby: bool, is_read_only: bool, version: &str) -> Finding {
    if is_standby {
        let what = format!("PostgreSQL {version} is a standby, which can't answer for the primary");
        Finding::fail("database.primary", what, "point DATABASE_URL at the primary")
    } else if is_read_only {
        let what = format!("PostgreSQL {version} starts our transactions read-only");
        Finding::warn(
            "database.primary",
            what,
            "unset default_transaction_read_only for this role: install and prune write",
        )
    } else {
        Finding::ok("database.primary", format!("PostgreSQL {version} is the primary"))
    }
}

fn room(used: i64, max: i64) -> Finding {
    let what = format!("{used} of {max} connections are in use");
    if used * 100 >= max * CROWDED_PERCENT {
        Finding::warn(
            "database.connections",
            what,
            "raise max_connections or lower the pools; each sidecar takes database.fill_connections and two",
        )
    } else {
        Finding::ok("database.connections", what)
    }
}

fn replication_role(ours: &str, overrides: &[String]) -> Finding {
    const CHECK: &str = "database.replica_role";
    if ours != "origin" {
        let what = format!("our sessions run with session_replication_role = {ours}");
        return Finding::warn(
            CHECK,
            what,
            "unset it for this role; our triggers fire all the same, the application's own do not",
        );
    }
    if overrides.is_empty() {
        return Finding::ok(CHECK, "nobody's sessions run with another session_replication_role");
    }
    let who = overrides.join(", ");
    Finding::ok(
        CHECK,
        format!("session_replication_role is set for {who}; our triggers are ENABLE ALWAYS and fire all the same"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn a_standby_fails_and_a_crowd_warns() {
        assert_eq!(primary(true, true, "15").level, Grade::Fail);
        assert_eq!(primary(false, false, "15").level, Grade::Ok);
        assert_eq!((room(90, 100).level, room(89, 100).level), (Grade::Warn, Grade::Ok));
        assert_eq!(replication_role("replica", &[]).level, Grade::Warn);
    }
}
