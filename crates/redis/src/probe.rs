//! Examines a Redis for `doctor`: is it there, how far away, and will it keep what we put there?
//!
//! Uses a connection of its own and waits for it, so that the first error is the one that is told.

use std::{collections::HashMap, time::Duration};

use fred::{clients::Client, interfaces::ClientLike};
use tokio::time::Instant;

use crate::{
    client::{build, builder},
    error::RedisError,
    settings::RedisSettings,
};

const PATIENCE: Duration = Duration::from_secs(5);
const PINGS: usize = 9;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// Where, without credentials.
    pub target: String,
    /// `one host`, `unix socket`, `sentinel` or `cluster`.
    pub kind: &'static str,
    /// The median round trip of a few pings.
    pub round_trip: Duration,
    /// The version of the server (of a Cluster: of one node).
    pub version: String,
    /// `master` or `slave`: writes need the former.
    pub role: String,
    /// What the server may use; none means no limit of its own.
    pub memory_bytes_max: Option<u64>,
    /// What the server does at its limit: `noeviction` refuses writes, also the application's.
    pub eviction_policy: String,
}

/// Connects to the Redis of the settings and examines it, in at most five seconds.
///
/// # Errors
/// Why it can't be used, with the cause.
pub async fn probe(settings: &RedisSettings) -> Result<ProbeReport, RedisError> {
    let (target, mut builder) = builder(settings)?;
    // One attempt: the doctor tells of a failure instead of waiting it out.
    builder.with_connection_config(|connection| connection.unresponsive.max_timeout = None);
    let client = build(&builder, &target)?;
    let name = target.to_string();
    let examined = tokio::time::timeout(PATIENCE, examine(&client)).await;
    // A Redis that hangs may not even let us go.
    let _ = tokio::time::timeout(PATIENCE, client.quit()).await;
    let Ok(answer) = examined else {
        return Err(RedisError::Silent {
            target: name,
            waited_ms: PATIENCE.as_millis() as u64,
        });
    };
    let (round_trip, info) = answer.map_err(|source| RedisError::Ask {
        target: name.clone(),
        source,
    })?;
    let info = parse_info(&info);
    let text = |field: &str| {
        info.get(field)
            .map_or_else(|| "unknown".to_owned(), ToString::to_string)
    };
    Ok(ProbeReport {
        target: name,
        kind: target.kind(),
        round_trip,
        version: text("redis_version"),
        role: text("role"),
        memory_bytes_max: info
            .get("maxmemory")
            .and_then(|bytes| bytes.parse().ok())
            .filter(|&bytes| bytes > 0),
        eviction_policy: text("maxmemory_policy"),
    })
}

async fn examine(client: &Client) -> Result<(Duration, String), fred::error::Error> {
    client.init().await?;
    let info: String = client.info(None).await?;
    let mut round_trips = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let start = Instant::now();
        client.ping::<()>(None).await?;
        round_trips.push(start.elapsed());
    }
    round_trips.sort_unstable();
    Ok((round_trips[PINGS / 2], info))
}

fn parse_info(text: &str) -> HashMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .collect()
}
