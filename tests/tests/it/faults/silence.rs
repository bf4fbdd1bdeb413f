//! A primary that hangs and a network that swallows bytes: nothing is closed, and nothing is answered.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use neverstale_testkit::{Application, Link, Postgres, PostgresVersion, Sidecar};
use tokio::time::{Instant, sleep};

use super::recovered;
use crate::house::{House, Plan, role, until};

/// What a refusal may take that waits for nobody; far below the patience and the deadline.
const AT_ONCE: Duration = Duration::from_millis(300);

/// A house whose one sidecar reaches its primary over a link.
async fn over_a_link(postgres: &Postgres, settings: &[(&str, u64)]) -> (House, Link) {
    let plan = Plan::of(Application::OpenWebUi012).sidecars(0);
    let plan = settings.iter().fold(plan, |plan, (name, value)| plan.with(name, value));
    let mut house = plan.open_on(postgres).await.unwrap();
    let link = Link::to(postgres.port()).await.unwrap();
    house.options.database_url = house.database.url_through(link.port());
    house.sidecars.push(Sidecar::start(&house.options).await.unwrap());
    (house, link)
}

/// Reads at every level that needs the primary: each is refused with the problem that the contract names, at once.
async fn refuses_at_once(sidecar: &Sidecar) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Within its bound of staleness, and asked for by nobody before: it needs a fill.
    let unknown = format!("/v1/users/nobody-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    for (path, level) in [
        ("/v1/users/u2/role", "fully-consistent"),
        (&unknown, "minimize-latency"),
        ("/v1/position", "fully-consistent"),
    ] {
        let began = Instant::now();
        let headers = [("Neverstale-Consistency", level)];
        let answer = sidecar.api().get_with(path, &headers).await.unwrap();
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert_eq!(
            answer.json().unwrap()["type"],
            "urn:neverstale:problem:unavailable",
            "{path}"
        );
        assert!(answer.header("retry-after").is_some(), "{path}: {:?}", answer.headers);
        assert!(began.elapsed() < AT_ONCE, "{path}: refused after {:?}", began.elapsed());
    }
}

/// F10. the primary is out of reach for the sidecar: reads rest on the lease while it lasts and then fail with 503,
/// after `feed.fence_patience_ms` where the primary hangs or the network swallows bytes, and at once while that is
/// known; `minimize-latency` goes on within its bound.
#[tokio::test]
async fn a_primary_that_hangs_is_known_to_hang_before_any_read_misses_its_deadline() {
    let settings = [("fsync", "off")];
    let postgres = Postgres::start(PostgresVersion::from_environment(), &settings)
        .await
        .unwrap();
    let (house, link) = over_a_link(&postgres, &[]).await;
    let sidecar = &house.sidecars[0];
    let mut known = "user";
    for (fault, lasting_ms, next) in [
        ("a stopped server", 200, "admin"),
        ("a silent network", 200, "pending"),
        ("a stopped server for long", 4_000, "user"),
        ("a silent network for long", 4_000, "admin"),
    ] {
        assert_eq!(house.role(0, "u2").await.unwrap(), known, "{fault}");
        let is_server = fault.contains("server");
        if is_server {
            postgres.pause().unwrap();
        } else {
            link.silence();
        }
        let began = Instant::now();
        let refused = loop {
            let answer = sidecar.get("/v1/users/u2/role").await.unwrap();
            if answer.status != 200 {
                break answer;
            }
            assert_eq!(role(&answer).unwrap(), known, "{fault}");
            assert!(
                began.elapsed() < Duration::from_secs(1),
                "a lease goes on without {fault}"
            );
        };
        assert_eq!(refused.status, 503, "{fault}: {}", refused.text());
        assert!(refused.header("retry-after").is_some(), "{fault}");
        refuses_at_once(sidecar).await;
        let readiness = sidecar.admin().get("/readyz").await.unwrap();
        assert_eq!(readiness.status, 503);
        assert!(readiness.text().contains("has not answered"), "{}", readiness.text());
        assert_eq!(sidecar.admin().get("/livez").await.unwrap().status, 200);
        sleep(Duration::from_millis(lasting_ms)).await;
        refuses_at_once(sidecar).await;

        if is_server {
            postgres.resume().unwrap();
        } else {
            link.restore();
        }
        let ended = Instant::now();
        house.set_role("u2", next).await.unwrap();
        recovered(sidecar, "u2", next, ended).await.unwrap();
        sidecar.ready(Duration::from_secs(3)).await.unwrap();
        known = next;
    }
}

/// A primary that is slow all the time is waited for, however short the patience.
#[tokio::test]
async fn a_slow_primary_is_waited_for() {
    let postgres = Postgres::shared().await.unwrap();
    let (house, link) = over_a_link(postgres, &[("NEVERSTALE_FEED__FENCE_PATIENCE_MS", 80)]).await;
    let sidecar = &house.sidecars[0];
    sidecar.get("/v1/users/u2/role").await.unwrap();
    // A fence takes 120 ms from now on: longer than the patience, and longer than any lease.
    link.delay(Duration::from_millis(60));
    until("a fence was slow", Duration::from_secs(5), async || {
        let began = Instant::now();
        let answer = sidecar.get("/v1/users/u2/role").await?;
        Ok(answer.status == 200 && began.elapsed() > Duration::from_millis(110))
    })
    .await
    .unwrap();
    for number in 0..8 {
        let next = format!("role-{number}");
        house.set_role("u2", &next).await.unwrap();
        assert_eq!(house.role(0, "u2").await.unwrap(), next);
        assert_eq!(sidecar.admin().get("/readyz").await.unwrap().status, 200);
    }
}
