//! How long a round trip, a fence and a fill take, and what a watched commit costs its writer.
//!
//! Runs only what a sidecar runs; the cost of a commit is calculated from the commit wait, or measured by one commit
//! that changes nothing, when that is asked for.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context;
use neverstale_flavour::{Flavour, Param, View, ViewId};
use neverstale_installation::probe;
use neverstale_lifecycle::Clock;
use neverstale_postgres::{Connection, FeedConnection, FillPool};
use tokio_postgres::Client;

use super::Finding;
use crate::{database, settings::Settings};

/// How often each thing is timed.
const TURNS: usize = 25;
/// A fence is one question about a few catalogs; beyond this many round trips something is in its way.
const FENCE_ROUND_TRIPS_MAX: u32 = 4;

pub(super) async fn examine(
    settings: &Settings,
    flavour: Flavour,
    connection: &Connection,
    measure_commit: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    match writer(
        connection.client(),
        &flavour,
        &settings.database.app_schema,
        measure_commit,
    )
    .await
    {
        Ok(finding) => findings.extend(finding),
        Err(error) => findings.push(Finding::unanswered("cost.commit", &error)),
    }
    match round_trips(settings, Arc::new(flavour)).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::unanswered("time.fence", &error)),
    }
    findings
}

async fn round_trips(settings: &Settings, flavour: Arc<Flavour>) -> anyhow::Result<Vec<Finding>> {
    let limit = settings.database.statement_limit();
    let connection = database::connect_within(&settings.database, limit)
        .await
        .map_err(|failure| failure.error)?;
    let (feed, statements) = FeedConnection::prepare(connection, &flavour, &settings.database.app_schema).await?;
    let one = feed.connection().client().prepare("SELECT 1").await?;
    let (mut ones, mut fences) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ones.push(timed(feed.connection().client().query_one(&one, &[])).await?);
        fences.push(timed(feed.fence()).await?);
    }
    let (one, fence) = (median(ones), median(fences));
    let what = format!("a fence takes {fence:.0?}, SELECT 1 takes {one:.0?}");
    let mut findings = vec![if fence > one * FENCE_ROUND_TRIPS_MAX + Duration::from_micros(200) {
        Finding::warn(
            "time.fence",
            what,
            "look for a busy server or many triggers on the watched tables",
        )
    } else {
        Finding::ok("time.fence", what)
    }];
    if let Some(view) = sample_view(&flavour) {
        let target = database::target(&settings.database).map_err(|failure| failure.error)?;
        let ca_file = settings.database.tls_ca_file.clone();
        let pool = FillPool::new(target, ca_file, settings.database.connect_limit(), limit, 1, &flavour);
        let statements = Arc::new(statements);
        let params = ["neverstale-doctor".to_owned()];
        let mut fills = Vec::new();
        for _ in 0..TURNS {
            fills.push(timed(pool.fill(&statements, view, &params)).await?);
        }
        findings.push(Finding::ok(
            "time.fill",
            format!(
                "a fill of view `{}` takes {:.0?}",
                flavour.view(view).name,
                median(fills)
            ),
        ));
    }
    Ok(findings)
}

/// Finds a view that takes one variable of the path and nothing else, so that any text will do.
fn sample_view(flavour: &Flavour) -> Option<ViewId> {
    let is_simple = |view: &View| matches!(view.params.as_slice(), [Param::Path(_)]) && !view.secret;
    flavour
        .views
        .iter()
        .position(is_simple)
        .map(|index| ViewId(index as u16))
}

async fn writer(
    client: &Client,
    flavour: &Flavour,
    app_schema: &str,
    measure: bool,
) -> anyhow::Result<Option<Finding>> {
    const CHECK: &str = "cost.commit";
    let (Some(wait_ms), Some(lease_ms)) = ({
        let probe = probe(client, flavour, app_schema)
            .await
            .context("read the commit wait")?;
        (probe.wait_ms, probe.lease_ms)
    }) else {
        return Ok(None);
    };
    // The wait is slept in eleven slices of a tenth (PROTOCOL §2) [5].
    let longest_ms = wait_ms * 11 / 10;
    let measured = if measure {
        format!("; one that changed nothing took {:.1?}", empty_commit(client).await?)
    } else {
        String::new()
    };
    let what = format!(
        "a commit of watched rows waits {longest_ms} ms{measured}; in exchange reads need no question for {lease_ms} ms"
    );
    Ok(Some(if wait_ms > 0 && lease_ms == 0 {
        Finding::warn(
            CHECK,
            what,
            "somebody is changing the lease, or stopped half-way: run neverstale lease MS again",
        )
    } else {
        Finding::ok(CHECK, what)
    }))
}

/// Publishes one commit without tags: a row of `seal` carries the deferred trigger, as for any watched commit.
async fn empty_commit(client: &Client) -> anyhow::Result<Duration> {
    let sql = "INSERT INTO neverstale.seal (xid) VALUES (pg_catalog.pg_current_xact_id())";
    let commit = timed(client.batch_execute(sql)).await;
    commit.context("publish a commit that changes nothing (needs the rights of the installer)")
}

/// Times one operation that succeeds.
async fn timed<T, E>(operation: impl Future<Output = Result<T, E>>) -> Result<Duration, E> {
    let clock = Clock::system();
    let start = clock.now();
    operation.await?;
    Ok(clock.now().since(start))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
