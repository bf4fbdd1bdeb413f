//! Writers that idle, abort, are killed, or die in the middle of their commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use neverstale_testkit::{Application, Sidecar};
use tokio::time::sleep;

use crate::house::{House, Plan, until};

/// Whether reads of a user rest on a lease and L1: a hit that took no fence.
async fn rests_on_its_lease(sidecar: &Sidecar, user: &str) -> anyhow::Result<bool> {
    let mut client = sidecar.api();
    let path = format!("/v1/users/{user}/role");
    let before = sidecar.metric("neverstale_fences_total").await?;
    let mut hits = 0;
    for _ in 0..200 {
        hits += usize::from(client.get(&path).await?.header("cache-status") == Some("neverstale; hit; detail=l1"));
    }
    let fences = sidecar.metric("neverstale_fences_total").await? - before;
    Ok(hits >= 190 && fences < 100.0)
}

#[tokio::test]
async fn an_idle_transaction_hides_its_change_until_it_commits_and_costs_others_nothing() {
    for application in Application::ALL {
        let house = Plan::of(application).lease_ms(60).sidecars(2).open().await.unwrap();
        house.role(0, "u2").await.unwrap();
        let idler = house.database.connect().await.unwrap();
        idler
            .batch_execute("BEGIN; UPDATE \"user\" SET role = 'admin' WHERE id = 'u2'")
            .await
            .unwrap();
        sleep(Duration::from_millis(150)).await;
        for place in 0..2 {
            assert_eq!(house.role(place, "u2").await.unwrap(), "user");
        }
        // It holds its row, not us: others write and are seen.
        house.set_role("u3", "admin").await.unwrap();
        assert_eq!(house.role(1, "u3").await.unwrap(), "admin");
        until("reads rest on the lease", Duration::from_secs(5), async || {
            rests_on_its_lease(&house.sidecars[0], "u4").await
        })
        .await
        .unwrap();
        idler.batch_execute("COMMIT").await.unwrap();
        for place in 0..2 {
            assert_eq!(
                house.role(place, "u2").await.unwrap(),
                "admin",
                "{}",
                application.name()
            );
        }
    }
}

#[tokio::test]
async fn what_is_rolled_back_is_never_seen_and_leaves_no_mark() {
    let house = Plan::of(Application::OpenWebUi012)
        .lease_ms(60)
        .sidecars(2)
        .open()
        .await
        .unwrap();
    for _ in 0..20 {
        house
            .writer
            .batch_execute("BEGIN; UPDATE \"user\" SET role = 'admin' WHERE id = 'u2'; ROLLBACK")
            .await
            .unwrap();
        assert_eq!(house.role(0, "u2").await.unwrap(), "user");
    }
    // A commit that fails at the very end: a deferred constraint after ours has fired.
    house
        .write(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
             CREATE TABLE public.refused (id int);
             CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON public.refused DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.refuse()",
        )
        .await
        .unwrap();
    for _ in 0..5 {
        let refused = house
            .write("UPDATE \"user\" SET role = 'admin' WHERE id = 'u2'; INSERT INTO public.refused VALUES (1)")
            .await;
        assert!(refused.is_err());
        house.writer.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(house.role(1, "u2").await.unwrap(), "user");
    }
    until("reads rest on the lease again", Duration::from_secs(5), async || {
        rests_on_its_lease(&house.sidecars[0], "u2").await
    })
    .await
    .unwrap();
}

/// The process ids of sessions that wait within their commit.
async fn committing(house: &House) -> anyhow::Result<Vec<i32>> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    Ok(house
        .writer
        .query(sql, &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect())
}

/// F5. a writer aborts, is cancelled or dies after announcing its commit: none; its locks go with it, and the others
/// see that by the locks.
#[tokio::test]
async fn a_writer_killed_in_the_middle_of_its_commit_leaves_no_change_and_no_mark() {
    for application in Application::ALL {
        let house = Plan::of(application).lease_ms(400).sidecars(2).open().await.unwrap();
        for place in 0..2 {
            house.role(place, "u2").await.unwrap();
        }
        let victim = house.database.connect().await.unwrap();
        let dying = tokio::spawn(async move {
            victim
                .batch_execute("UPDATE \"user\" SET role = 'admin' WHERE id = 'u2'")
                .await
        });
        until("it is in its commit", Duration::from_secs(5), async || {
            Ok(!committing(&house).await?.is_empty())
        })
        .await
        .unwrap();
        // While it waits, the old value is the true one; both sides of the lease say so.
        assert_eq!(house.role(0, "u2").await.unwrap(), "user");
        for pid in committing(&house).await.unwrap() {
            house
                .writer
                .execute("SELECT pg_terminate_backend($1)", &[&pid])
                .await
                .unwrap();
        }
        assert!(dying.await.unwrap().is_err());
        sleep(Duration::from_millis(50)).await;
        for place in 0..2 {
            assert_eq!(house.role(place, "u2").await.unwrap(), "user");
        }
        until("reads rest on the lease again", Duration::from_secs(5), async || {
            rests_on_its_lease(&house.sidecars[0], "u2").await
        })
        .await
        .unwrap();
        house.set_role("u2", "pending").await.unwrap();
        for place in 0..2 {
            assert_eq!(
                house.role(place, "u2").await.unwrap(),
                "pending",
                "{}",
                application.name()
            );
        }
    }
}

/// P1: what one reader has seen, no later reader misses, while commits are on their way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_sidecar_has_shown_no_other_denies() {
    for lease_ms in [0, 40] {
        let house = Plan::of(Application::OpenWebUi012)
            .lease_ms(lease_ms)
            .open()
            .await
            .unwrap();
        let writer = house.database.connect().await.unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let writing = tokio::spawn({
            let is_over = Arc::clone(&is_over);
            async move {
                let mut version = 0;
                while !is_over.load(Ordering::Relaxed) {
                    version += 1;
                    let sql = format!("UPDATE \"user\" SET name = '{version}' WHERE id = 'u2'");
                    writer.batch_execute(&sql).await.unwrap();
                }
                version
            }
        });
        let mut clients: Vec<_> = house.sidecars.iter().map(Sidecar::api).collect();
        let mut last = -1;
        for _ in 0..200 {
            for client in &mut clients {
                let body = client.get("/v1/users/u2").await.unwrap().json().unwrap();
                let version: i32 = body["name"].as_str().unwrap().parse().unwrap_or(-1);
                assert!(version >= last, "lease {lease_ms} ms: {version} after {last}");
                last = version;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        let written = writing.await.unwrap();
        assert!(written > 5 && last <= written, "{last} of {written}");
    }
}
