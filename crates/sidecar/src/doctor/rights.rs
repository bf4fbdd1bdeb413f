//! May we install, may we read, and is what was installed whole?

use anyhow::Context;
use neverstale_flavour::Flavour;
use neverstale_installation::{Probe, Problem, Verdict, probe, unreadable as unreadable_columns, verify};
use tokio_postgres::Client;

use super::Finding;

pub(super) async fn examine(client: &Client, flavour: &Flavour, app_schema: &str) -> Vec<Finding> {
    let probed = probe(client, flavour, app_schema)
        .await
        .context("probe the installation");
    let probe = match probed {
        Ok(probe) => probe,
        Err(error) => return vec![Finding::unanswered("rights.install", &error)],
    };
    let mut findings = vec![may_install(&probe), row_security(&probe), noise(&probe)];
    match unreadable(client, flavour, app_schema).await {
        Ok(missing) => findings.push(may_read(&missing)),
        Err(error) => findings.push(Finding::unanswered("rights.read", &error)),
    }
    match verify(client, flavour, app_schema).await {
        Ok(verdict) => findings.extend(whole(&verdict)),
        Err(error) => findings.push(Finding::unanswered("installation", &error.into())),
    }
    findings
}

fn may_install(probe: &Probe) -> Finding {
    const CHECK: &str = "rights.install";
    let foreign: Vec<&str> = probe
        .tables
        .iter()
        .filter(|table| !table.owned)
        .map(|table| table.name.as_str())
        .collect();
    let may_make_schema = probe.owns_schema.unwrap_or(probe.may_create_schema);
    if foreign.is_empty() && may_make_schema {
        return Finding::ok(CHECK, "this role may install: it has the rights of the tables' owner");
    }
    let lacks = if foreign.is_empty() {
        "it may not make objects in schema neverstale".to_owned()
    } else {
        format!("it does not own {}", foreign.join(", "))
    };
    let what = format!("this role may not install: {lacks}");
    Finding::warn(
        CHECK,
        what,
        "run install, suspend and resume as the tables' owner; serving needs less",
    )
}

fn row_security(probe: &Probe) -> Finding {
    let with: Vec<&str> = probe
        .tables
        .iter()
        .filter(|table| table.row_security)
        .map(|table| table.name.as_str())
        .collect();
    if with.is_empty() {
        return Finding::ok("rights.row_security", "no watched table has row security");
    }
    let what = format!("row security is on for {}", with.join(", "));
    Finding::warn(
        "rights.row_security",
        what,
        "connect as the tables' owner or a role with BYPASSRLS: others get errors instead of fewer rows",
    )
}

fn noise(probe: &Probe) -> Finding {
    let tables = probe.tables.iter().filter(|table| !table.before_update.is_empty());
    let with: Vec<String> = tables
        .map(|table| format!("{} ({})", table.name, table.before_update.join(", ")))
        .collect();
    if with.is_empty() {
        return Finding::ok(
            "triggers.noise",
            "updates of unwatched columns cost nothing: our triggers name their columns",
        );
    }
    let what = format!(
        "other BEFORE UPDATE triggers may change watched columns: {}",
        with.join("; ")
    );
    Finding::warn(
        "triggers.noise",
        what,
        "nothing, if updates are fast enough: ours then compares the rows at every update of these tables",
    )
}

/// Lists what a sidecar must read and this role may not.
async fn unreadable(client: &Client, flavour: &Flavour, app_schema: &str) -> anyhow::Result<Vec<String>> {
    let rows = client
        .query(UNREADABLE, &[])
        .await
        .context("ask which tables may be read")?;
    let columns = unreadable_columns(client, flavour, app_schema)
        .await
        .context("ask which columns may be read")?;
    let ours = rows.iter().map(|row| row.get(0));
    Ok(ours.chain(columns.into_iter().map(|finding| finding.object)).collect())
}

const UNREADABLE: &str = "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = 'neverstale' AND c.relkind IN ('r', 'S') \
      AND c.relname IN ('tag', 'log', 'pruned', 'boot', 'installation', 'intent') \
      AND NOT (has_schema_privilege(n.oid, 'USAGE') AND CASE c.relkind \
        WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_any_column_privilege(c.oid, 'SELECT') END)";

fn may_read(missing: &[String]) -> Finding {
    if missing.is_empty() {
        return Finding::ok("rights.read", "this role may read all that a sidecar reads");
    }
    let what = format!("this role may not read {}", missing.join(", "));
    Finding::fail(
        "rights.read",
        what,
        "run neverstale install --reader ROLE as the tables' owner",
    )
}

/// Says whether this role may change what the flavour's writes change.
pub(super) async fn of_writes(client: &Client, flavour: &Flavour, app_schema: &str) -> Finding {
    const CHECK: &str = "rights.write";
    let wanted = |write: &neverstale_flavour::Write| {
        let rights = if write.insert.is_some() {
            "UPDATE, INSERT"
        } else {
            "UPDATE"
        };
        (write.table.clone(), rights)
    };
    let (tables, rights): (Vec<String>, Vec<&str>) = flavour.writes.iter().map(wanted).unzip();
    let asked = client.query(UNWRITABLE, &[&app_schema, &tables, &rights]).await;
    let missing: Vec<String> = match asked.context("ask which tables may be written") {
        Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
        Err(error) => return Finding::unanswered(CHECK, &error),
    };
    if missing.is_empty() {
        return Finding::ok(CHECK, "this role may make the writes that api.writes_allowed allows");
    }
    let grants: Vec<String> = missing
        .iter()
        .map(|what| format!("GRANT SELECT, {what} TO …"))
        .collect();
    Finding::warn(
        CHECK,
        "this role lacks rights for writes, which api.writes_allowed allows".to_owned(),
        format!("as the tables' owner: {}", grants.join("; ")),
    )
}

/// Each right is held by itself: `has_table_privilege` is true of a list if any of it is.
const UNWRITABLE: &str = "SELECT DISTINCT wanted.rights || ' ON ' || c.oid::regclass \
    FROM unnest($2::text[], $3::text[]) AS wanted (relation, rights) \
    JOIN pg_catalog.pg_namespace n ON n.nspname = $1 \
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.relation \
    WHERE NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'UPDATE') \
      AND (wanted.rights NOT LIKE '%INSERT%' OR has_table_privilege(c.oid, 'INSERT')))";

fn whole(verdict: &Verdict) -> Vec<Finding> {
    const CHECK: &str = "installation";
    if verdict.is_green() {
        return vec![Finding::ok(
            CHECK,
            "every trigger, function and table of ours is there and of this version",
        )];
    }
    let finding = |finding: &neverstale_installation::Finding| {
        let (what, next_step) = (finding.problem.statement(), finding.problem.next_step());
        let what = if finding.object.is_empty() {
            what.to_owned()
        } else {
            format!("{}: {what}", finding.object)
        };
        // A suspended installation is what the operator asked for.
        if finding.problem == Problem::Suspended {
            Finding::warn(CHECK, what, next_step)
        } else {
            Finding::fail(CHECK, what, next_step)
        }
    };
    verdict.findings.iter().map(finding).collect()
}
