//! Do our clocks go at the rate of the database's, and roughly show its time?
//!
//! Correctness needs neither: leases have a margin of 20 % for clocks that are steered (PROTOCOL §6) [15], and instants
//! are never compared between machines. A clock that is far off shows in tokens that expire early or late.

use std::time::Duration;

use anyhow::Context;
use neverstale_coherence::Moment;
use neverstale_lifecycle::Clock;
use tokio_postgres::Client;

use super::Finding;

/// A rate is told from the noise of round trips after this long.
const SPAN_MIN: Duration = Duration::from_secs(1);
/// A quarter of the lease's margin.
const RATE_PERCENT_MAX: f64 = 5.0;
const DIFFERENCE_MS_MAX: i64 = 1_000;

/// A look at all clocks at once.
pub(super) struct Look {
    clock: Clock,
    moment: Moment,
    wall_ms: i64,
    server_us: i64,
    /// Half the round trip: how far apart the two sides of this look may be.
    doubt: Duration,
}

/// Looks for the first time.
pub(super) async fn start(client: &Client, clock: Clock) -> anyhow::Result<Look> {
    look(client, clock).await
}

/// Looks again, after the other probes, and compares.
pub(super) async fn examine(client: &Client, first: anyhow::Result<Look>) -> Vec<Finding> {
    match compare(client, first).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::unanswered("clock", &error)],
    }
}

async fn compare(client: &Client, first: anyhow::Result<Look>) -> anyhow::Result<Vec<Finding>> {
    let first = first?;
    let passed = first.clock.now().since(first.moment);
    tokio::time::sleep(SPAN_MIN.saturating_sub(passed)).await;
    let second = look(client, first.clock.clone()).await?;
    Ok(vec![difference(&second), rate(&first, &second)])
}

async fn look(client: &Client, clock: Clock) -> anyhow::Result<Look> {
    let before = clock.now();
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let server_us = client
        .query_one(sql, &[])
        .await
        .context("ask for the server's time")?
        .get(0);
    let doubt = clock.now().since(before) / 2;
    let moment = before.plus(doubt);
    let wall_ms = clock.wall_ms() - doubt.as_millis() as i64;
    Ok(Look {
        clock,
        moment,
        wall_ms,
        server_us,
        doubt,
    })
}

fn difference(look: &Look) -> Finding {
    let difference_ms = look.wall_ms - look.server_us / 1_000;
    let what = format!("our wall clock differs from the database's by {difference_ms} ms");
    if difference_ms.abs() > DIFFERENCE_MS_MAX + look.doubt.as_millis() as i64 {
        Finding::warn(
            "clock.difference",
            what,
            "let both machines follow a time service; sessions and keys expire by it",
        )
    } else {
        Finding::ok("clock.difference", what)
    }
}

/// Compares how much time went by on each clock between two looks.
fn rate(first: &Look, second: &Look) -> Finding {
    let server = (second.server_us - first.server_us) as f64 / 1e6;
    let boot = (second.moment.boot.saturating_sub(first.moment.boot)).as_secs_f64();
    let raw = (second.moment.raw.saturating_sub(first.moment.raw)).as_secs_f64();
    let percent = |ours: f64| (ours / server - 1.0).abs() * 100.0;
    let doubt = (first.doubt + second.doubt).as_secs_f64() / server * 100.0;
    let worst = percent(boot).max(percent(raw));
    let what = format!("our clocks go at the database's rate within {worst:.2} % (measured to {doubt:.2} %)");
    if server <= 0.0 || worst > RATE_PERCENT_MAX + doubt {
        let next_step = "look for a stepped or broken clock on either machine; a lease's margin is 20 %";
        Finding::warn("clock.rate", what, next_step)
    } else {
        Finding::ok("clock.rate", what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    fn look(seconds: f64, server_seconds: f64) -> Look {
        let clock = Clock::manual();
        clock.advance(Duration::from_secs_f64(seconds));
        let (moment, wall_ms) = (clock.now(), clock.wall_ms());
        let server_us = (server_seconds * 1e6) as i64;
        Look {
            clock,
            moment,
            wall_ms,
            server_us,
            doubt: Duration::from_micros(50),
        }
    }

    #[test]
    fn a_clock_that_runs_fast_or_is_far_off_is_told() {
        assert_eq!(rate(&look(0.0, 5.0), &look(1.0, 6.0)).level, Grade::Ok);
        assert_eq!(rate(&look(0.0, 5.0), &look(1.1, 6.0)).level, Grade::Warn);
        assert_eq!(rate(&look(0.0, 5.0), &look(1.0, 4.0)).level, Grade::Warn);
        assert_eq!(difference(&look(10.0, 10.2)).level, Grade::Ok);
        assert_eq!(difference(&look(10.0, 12.0)).level, Grade::Warn);
    }
}
