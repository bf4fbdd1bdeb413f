//! Is Redis there, near, writable, and will it make room when it is full?

use std::time::Duration;

use neverstale_redis::{ProbeReport, RedisSettings, probe};

use super::Finding;

const CHECK: &str = "redis";

pub(super) async fn examine(settings: &RedisSettings) -> Finding {
    if settings.url.is_none() {
        return Finding::ok(
            CHECK,
            "no Redis is set: the sidecar runs on L1 alone and listens to Postgres itself",
        );
    }
    match probe(settings).await {
        Ok(report) => judge(&report, Duration::from_millis(settings.budget_ms)),
        Err(error) => {
            let what = format!("{:#}", anyhow::Error::from(error));
            Finding::warn(
                CHECK,
                what,
                "reads stay correct and miss L2; check the address and the network",
            )
        }
    }
}

fn judge(report: &ProbeReport, budget: Duration) -> Finding {
    let ProbeReport {
        target,
        kind,
        round_trip,
        version,
        role,
        eviction_policy,
        ..
    } = report;
    let what =
        format!("{target} ({kind}, version {version}) answers in {round_trip:.0?} and evicts by {eviction_policy}");
    if role != "master" {
        return Finding::warn(
            CHECK,
            format!("{what}, but is a {role}"),
            "point redis.url at the primary: L2 writes",
        );
    }
    if *round_trip * 2 > budget {
        return Finding::warn(
            CHECK,
            what,
            format!(
                "raise redis.budget_ms above {}, or move Redis nearer",
                budget.as_millis()
            ),
        );
    }
    match (eviction_policy.as_str(), report.memory_bytes_max) {
        ("noeviction", Some(bytes)) => {
            let next_step =
                "set maxmemory-policy volatile-lru (all our keys expire), or give the sidecars a Redis of their own";
            Finding::warn(
                CHECK,
                format!("{what}: at its {bytes} bytes it refuses writes, the application's too"),
                next_step,
            )
        }
        (policy, Some(_)) if policy.starts_with("allkeys") => {
            let next_step = "the application's own keys may be evicted too, sessions among them; volatile-lru keeps those without expiry";
            Finding::warn(CHECK, what, next_step)
        }
        _ => Finding::ok(CHECK, what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    fn report(policy: &str, memory_bytes_max: Option<u64>, role: &str, round_trip_ms: u64) -> ProbeReport {
        ProbeReport {
            target: "redis:6379".into(),
            kind: "one host",
            round_trip: Duration::from_millis(round_trip_ms),
            version: "7.0".into(),
            role: role.into(),
            memory_bytes_max,
            eviction_policy: policy.into(),
        }
    }

    #[test]
    fn what_loses_keys_or_writes_is_told() {
        let budget = Duration::from_millis(5);
        let level = |report: &ProbeReport| judge(report, budget).level;
        assert_eq!(level(&report("volatile-lru", Some(1), "master", 0)), Grade::Ok);
        assert_eq!(level(&report("noeviction", None, "master", 0)), Grade::Ok);
        assert_eq!(level(&report("noeviction", Some(1), "master", 0)), Grade::Warn);
        assert_eq!(level(&report("allkeys-lru", Some(1), "master", 0)), Grade::Warn);
        assert_eq!(level(&report("volatile-lru", None, "slave", 0)), Grade::Warn);
        assert_eq!(level(&report("volatile-lru", None, "master", 4)), Grade::Warn);
    }
}
