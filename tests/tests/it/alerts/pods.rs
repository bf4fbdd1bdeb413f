//! Pods of one database, each with a fault of its own: one has an answer that nobody announced as changed, one is far from the primary, one sleeps for
//! too long and later gets no more threads. The first is well, until none is there any more.

use std::time::Duration;

use anyhow::Result;
use neverstale_testkit::{Application, Link, Postgres, Sidecar};

use super::{
    traffic::{Traffic, USERS},
    watch::{Watch, of, of_all},
};
use crate::{
    access_page::{HERE, PAGE},
    house::{House, Plan, until},
};

pub(super) const SHOWN: &[&str] = &[
    "NeverstaleAuditMismatch",
    "NeverstaleDown",
    "NeverstaleFencesSlow",
    "NeverstaleLogPruned",
    "NeverstaleNoRelay",
    "NeverstaleTaskFailed",
];

const AUDITED: usize = 1;
const FAR: usize = 2;
const SLEEPER: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// Four sidecars, of which the first is the relay, and the link of the one that is to be far away.
async fn open() -> Result<(House, Link)> {
    let postgres = Postgres::shared().await?;
    let mut house = Plan::of(Application::OpenWebUi012)
        .sidecars(1)
        .with("NEVERSTALE_AUDIT__INTERVAL_MS", 100)
        .with("NEVERSTALE_FEED__LOG_ROWS_KEPT", 40)
        .with("NEVERSTALE_FEED__PRUNE_SECONDS", 1)
        .open_on(postgres)
        .await?;
    until("the first is the relay", PATIENCE, async || {
        Ok(house.sidecars[0].metric("neverstale_relay").await? > 0.0)
    })
    .await?;
    let link = Link::to(postgres.port()).await?;
    for place in 1..4 {
        let mut options = house.options.clone();
        if place == FAR {
            options.database_url = house.database.url_through(link.port());
        }
        house.sidecars.push(Sidecar::start(&options).await?);
    }
    Ok((house, link))
}

/// One sleeps while the others write, and while the relay prunes what it has not seen.
async fn prune_past(house: &House, sleeper: &Sidecar) -> Result<()> {
    sleeper.pause()?;
    let newest: i64 = house
        .writer
        .query_one("SELECT max(position) FROM log", &[])
        .await?
        .get(0);
    until("the log is pruned", PATIENCE, async || {
        house.set_role("u60", "user").await?;
        house.set_role("u60", "admin").await?;
        let pruned = house
            .writer
            .query_one("SELECT pruned_to > $1 FROM pruned", &[&newest])
            .await?;
        Ok(pruned.get(0))
    })
    .await?;
    sleeper.resume()
}

/// Somebody edits our objects (limit L12), so that a change of what one sidecar has in memory is announced by nobody; its auditor is to find out.
async fn change_unannounced(house: &House, audited: &Sidecar) -> Result<()> {
    let id = format!("u{}", USERS + 1);
    let (path, mut client) = (format!("/v1/users/{id}"), audited.api());
    let mut number = 0;
    until("a mismatch is found", PATIENCE, async || {
        client.get(&path).await?;
        number += 1;
        house
            .write(&unannounced(&format!(
                "UPDATE \"user\" SET name = '{number}' WHERE id = '{id}'"
            )))
            .await?;
        // The auditor takes one of all answers now and then: let it be this.
        for _ in 0..20 {
            client.get(&path).await?;
        }
        let metrics = audited.metrics().await?;
        Ok(!metrics.contains("neverstale_audits_total{outcome=\"mismatch\"} 0\n"))
    })
    .await
    .map(drop)
}

/// Changes the users while their triggers' function does nothing, and puts it back before anybody sees.
fn unannounced(change: &str) -> String {
    format!(
        "DO $do$
         DECLARE
           collecting text := pg_get_functiondef('neverstale.collect_user'::regproc);
         BEGIN
           CREATE OR REPLACE FUNCTION neverstale.collect_user() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
           {change};
           EXECUTE collecting;
         END $do$"
    )
}

/// Takes the relay's lock away from its session, and holds it until the client is dropped.
async fn take_the_relays_lock(house: &House) -> Result<tokio_postgres::Client> {
    let thief = house.database.connect().await?;
    let class: i32 = house
        .writer
        .query_one("SELECT lock_class FROM installation", &[])
        .await?
        .get(0);
    let lock = format!("SELECT pg_advisory_lock({class}, 2)");
    // Whoever stands in line is the next; the sidecars only try.
    let (waiting, ending) = tokio::join!(
        thief.batch_execute(&lock),
        until("the relay's session has ended", PATIENCE, async || {
            let sql = "SELECT pg_terminate_backend(held.pid) FROM pg_locks AS held JOIN pg_locks AS wanted USING (locktype, database, classid, objid, objsubid)
                       WHERE held.locktype = 'advisory' AND held.granted AND NOT wanted.granted AND held.objid = 2
                         AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            Ok(house.writer.execute(sql, &[]).await? > 0)
        })
    );
    waiting?;
    ending?;
    Ok(thief)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_wrong_a_long_way_a_long_sleep_a_lock_taken_no_threads_and_nobody_there() {
    let (house, link) = open().await.unwrap();
    let _traffic = Traffic::of(&house);
    let mut watch = Watch::over(&house.sidecars).await.unwrap();

    prune_past(&house, &house.sidecars[SLEEPER]).await.unwrap();
    watch.sees(&[of("NeverstaleLogPruned", SLEEPER)], &[]).await.unwrap();

    // A fence takes 300 ms from now on.
    link.delay(Duration::from_millis(150));
    change_unannounced(&house, &house.sidecars[AUDITED]).await.unwrap();
    let _thief = take_the_relays_lock(&house).await.unwrap();
    let alerts = [
        of("NeverstaleAuditMismatch", AUDITED),
        of("NeverstaleFencesSlow", FAR),
        of_all("NeverstaleNoRelay"),
    ];
    // A read that has to wait for several round trips may miss its deadline of two seconds.
    let company = [of("NeverstaleReadsRefused", FAR)];
    watch.sees(&alerts, &company).await.unwrap();

    let starved = &house.sidecars[SLEEPER];
    starved.deny_threads().unwrap();
    let unanswered = starved.admin().get_with("/access/people?search=a", &[HERE, PAGE]).await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    watch
        .sees(&[of("NeverstaleTaskFailed", SLEEPER)], &company)
        .await
        .unwrap();

    for sidecar in &house.sidecars {
        sidecar.kill_nine().await.unwrap();
    }
    watch.sees(&["NeverstaleDown".to_owned()], &company).await.unwrap();
    watch.has_shown(SHOWN);
}
