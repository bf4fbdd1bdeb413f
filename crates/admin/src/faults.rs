//! What is wrong, in words for a person: what it is, what it means, the next step, and the page of the runbook.
//!
//! Looks at a finished status and at counters and decides nothing; what it names is told elsewhere too, by probes, metrics and logs.

use neverstale_changefeed::Standing;
use neverstale_telemetry::{BroadcastDirection, BroadcastOutcome, Metrics};
use neverstale_wire::Status;
use serde::Serialize;

/// The primary is polled every second: whoever has not heard of it for so long will refuse soon, if he does not already.
const LAG_MS_MAX: u64 = 10_000;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// A stable word.
    pub(crate) key: String,
    severity: Severity,
    /// What is wrong, with its cause where that is known.
    what: String,
    /// What it means for readers.
    meaning: &'static str,
    /// What to do first.
    next_step: &'static str,
    /// The page of `docs/runbook`.
    runbook: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// Reads are refused, or a promise is broken.
    Critical,
    /// It goes on with less.
    Warning,
}

use Severity::{Critical, Warning};

/// Lists what is wrong, the worst first.
pub(crate) fn find(status: &Status, standing: Option<&Standing>, metrics: &Metrics) -> Vec<Fault> {
    let is_bypass = matches!(standing, Some(Standing::Bypass { .. }));
    let mut faults: Vec<Fault> = status
        .reasons
        .iter()
        .map(|reason| of_reason(&reason.key, &reason.text, is_bypass, status.installation.suspended))
        .collect();
    if status.audit.stale > 0 {
        faults.push(fault(
            "stale",
            Critical,
            format!("The auditor found {} stale answers.", status.audit.stale),
            "An answer from memory was not what Postgres says at the same position. It is our fault until shown otherwise.",
            "Run `neverstale lease 0`, keep this sidecar's log, and report it.",
            Some("NeverstaleAuditMismatch"),
        ));
    }
    if status.feed.lag_ms > LAG_MS_MAX && !is_bypass {
        faults.push(fault(
            "lag",
            Critical,
            format!("The primary has not answered for {} s.", status.feed.lag_ms / 1_000),
            "Reads that promise to be fresh are refused once the lease is over.",
            "Bring the way to the primary back; `neverstale doctor` looks at rights, poolers, clocks and the way.",
            Some("NeverstaleLagging"),
        ));
    }
    if let Some(l2) = &status.l2
        && (!l2.connected || l2.breaker != "closed")
    {
        let what = if l2.connected {
            "Redis is left alone: it failed or was late too often."
        } else {
            "Redis is not connected."
        };
        faults.push(fault(
            "redis",
            Warning,
            what.to_owned(),
            "Answers come from memory and Postgres, and are as right. A pod that starts finds no warm values.",
            "Bring Redis back; it is tried again within a second. `neverstale doctor` says what it finds.",
            Some("NeverstaleRedisLeftAlone"),
        ));
    }
    let forged = metrics.broadcasts_total[BroadcastDirection::Received][BroadcastOutcome::Unauthentic].get();
    if forged > 0 {
        faults.push(fault(
            "broadcasts",
            Warning,
            format!("{forged} broadcasts were sealed with none of our keys."),
            "They were thrown away; news come by the bell and the poll instead.",
            "Compare redis.key_file of all pods; two installations on one Redis need a redis.key_prefix each.",
            Some("NeverstaleBroadcastsForged"),
        ));
    }
    faults.sort_by_key(|fault| fault.severity != Critical);
    faults
}

/// Explains a reason against being ready.
fn of_reason(key: &str, text: &str, is_bypass: bool, is_suspended: bool) -> Fault {
    let (severity, meaning, next_step, runbook) = match key {
        "installation" if is_suspended => (
            Warning,
            "Somebody has suspended the installation for a migration: every read is asked of Postgres, right and slow.",
            "Run `neverstale resume` when the migration is done.",
            Some("NeverstaleNotCached"),
        ),
        "installation" => (
            if is_bypass { Warning } else { Critical },
            "The triggers can't be relied on: every read is asked of Postgres, right and slow.",
            "Run `neverstale verify`, then `neverstale install` as the owner of the tables.",
            Some("NeverstaleNotCached"),
        ),
        "schema" => (
            Critical,
            "Nothing is served: it is not known which application this database belongs to.",
            "Let the application make its tables, or name the flavour by database.schema; `neverstale doctor` says what it finds.",
            Some("NeverstaleReadsRefused"),
        ),
        "database" => (
            Critical,
            "The primary does not answer: what no lease and no weaker level covers is refused.",
            "Bring the way to the primary back; nothing has to be restarted. `neverstale doctor` looks for the cause.",
            Some("NeverstaleReadsRefused"),
        ),
        "audit" => (
            Critical,
            "audit.unready_on_mismatch takes this sidecar out of service after a stale answer.",
            "Keep the log, report it, and restart this sidecar.",
            Some("NeverstaleAuditMismatch"),
        ),
        "start" => (Warning, "It has just begun.", "Wait for a moment.", None),
        "shutdown" => (
            Warning,
            "It was told to end: open requests are finished, new ones go elsewhere.",
            "Nothing to do.",
            None,
        ),
        _ => (
            Critical,
            "A part of the process has ended that never should.",
            "Keep the log and restart this sidecar; liveness asks the kubelet to do it.",
            Some("NeverstaleTaskFailed"),
        ),
    };
    fault(key, severity, format!("{key}: {text}"), meaning, next_step, runbook)
}

fn fault(
    key: &str,
    severity: Severity,
    what: String,
    meaning: &'static str,
    next_step: &'static str,
    runbook: Option<&'static str>,
) -> Fault {
    Fault {
        key: key.to_owned(),
        severity,
        what,
        meaning,
        next_step,
        runbook,
    }
}

#[cfg(test)]
mod tests {
    use neverstale_wire::status::{AuditStatus, L2Status, StatusReason};

    use super::*;

    fn found(status: &Status) -> Vec<(String, Severity)> {
        let faults = find(status, None, &Metrics::new("test"));
        faults.into_iter().map(|fault| (fault.key, fault.severity)).collect()
    }

    #[test]
    fn a_sidecar_that_is_well_has_no_faults() {
        let l2 = L2Status {
            connected: true,
            breaker: "closed".to_owned(),
            ..L2Status::default()
        };
        assert_eq!(found(&Status::default()), []);
        assert_eq!(
            found(&Status {
                l2: Some(l2),
                ..Status::default()
            }),
            []
        );
    }

    #[test]
    fn the_worst_comes_first() {
        let reason = |key: &str| StatusReason {
            key: key.to_owned(),
            text: "text".to_owned(),
        };
        let status = Status {
            reasons: vec![reason("start"), reason("changefeed")],
            l2: Some(L2Status::default()),
            audit: AuditStatus { compared: 9, stale: 1 },
            ..Status::default()
        };
        let keys: Vec<_> = found(&status).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["changefeed", "stale", "start", "redis"]);
    }

    #[test]
    fn a_fault_names_a_page_of_the_runbook_that_is_there() {
        let runbook = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbook");
        let metrics = Metrics::new("test");
        metrics.broadcasts_total[BroadcastDirection::Received][BroadcastOutcome::Unauthentic].inc();
        let keys = [
            "installation",
            "schema",
            "database",
            "audit",
            "start",
            "shutdown",
            "relay",
        ];
        let mut faults: Vec<_> = keys.iter().map(|key| of_reason(key, "text", false, false)).collect();
        faults.push(of_reason("installation", "text", true, true));
        let mut status = Status {
            l2: Some(L2Status::default()),
            audit: AuditStatus { compared: 9, stale: 1 },
            ..Status::default()
        };
        status.feed.lag_ms = LAG_MS_MAX + 1;
        faults.extend(find(&status, None, &metrics));
        let pages: Vec<_> = faults.iter().filter_map(|fault| fault.runbook).collect();
        assert!(pages.len() >= 9, "{pages:?}");
        for page in pages {
            assert!(runbook.join(format!("{page}.md")).exists(), "{page}");
        }
    }
}
