//! Safeguards of stage two, and of whoever changes the lease: what a commit waits for, and who waits for it.

use std::time::Duration;

use neverstale_coherence::Safeguard;
use neverstale_installation::set_lease;
use tokio::time::{Instant, sleep, timeout};

use crate::{Seen, hit, lease, pod_behind_a_link, pods::World, refute, run};

/// [18] Somebody makes constraints immediate in mid-transaction, and goes to lunch; another wants to commit.
#[tokio::test(flavor = "multi_thread")]
async fn second_stage() {
    refute(Safeguard::SecondStage, async || {
        let world = World::with_lease(0).await;
        let idle = world.database.connect().await.unwrap();
        let script = "BEGIN; UPDATE person SET version = 1 WHERE id = 'p1'; SET CONSTRAINTS ALL IMMEDIATE";
        idle.batch_execute(script).await.unwrap();
        let other = world
            .admin
            .batch_execute("UPDATE person SET version = 1 WHERE id = 'p2'");
        let is_held_up = timeout(Duration::from_secs(3), other).await.is_err();
        Seen {
            operations: 2,
            fault: is_held_up.then(|| "a commit waits for a transaction that is idle".to_owned()),
        }
    })
    .await;
}

/// [4] A writer's snapshot is older than the lease.
#[tokio::test(flavor = "multi_thread")]
async fn wait_without_snapshot() {
    refute(Safeguard::WaitWithoutSnapshot, async || {
        let world = World::with_lease(0).await;
        let (pod, link) = pod_behind_a_link(&world).await;
        let writer = world.database.connect().await.unwrap();
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT version FROM person";
        writer.batch_execute(begin).await.unwrap();
        set_lease(&world.admin, 2_000).await.unwrap();
        lease(&pod).await;
        link.silence();
        let commit = "UPDATE person SET version = 7 WHERE id = 'p1'; COMMIT";
        writer.batch_execute(commit).await.unwrap();
        Seen::compared(3, hit(&pod).unwrap_or(7), 7)
    })
    .await;
}

/// [4] A writer has read the old wait, and is still to become visible, when the lease is raised.
#[tokio::test(flavor = "multi_thread")]
async fn drain_before_raise() {
    refute(Safeguard::DrainBeforeRaise, async || {
        let world = World::with_lease(0).await;
        let (pod, link) = pod_behind_a_link(&world).await;
        let (writer, operator, gate) = (
            world.database.connect().await.unwrap(),
            world.database.connect().await.unwrap(),
            world.database.connect().await.unwrap(),
        );
        let order = "SELECT pg_advisory_xact_lock(lock_class, 1) FROM neverstale.installation";
        gate.batch_execute(&format!("BEGIN; {order}")).await.unwrap();
        let writing = tokio::spawn(async move {
            let sql = "UPDATE person SET version = 7 WHERE id = 'p1'";
            writer.batch_execute(sql).await.unwrap();
        });
        waits_for_a_lock(&world).await;
        let raising = tokio::spawn(async move { set_lease(&operator, 2_000).await });
        let until = Instant::now() + Duration::from_millis(500);
        while !raising.is_finished() && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
        let is_raised = raising.is_finished();
        if is_raised {
            lease(&pod).await;
            link.silence();
        }
        gate.batch_execute("COMMIT").await.unwrap();
        writing.await.unwrap();
        let read = if is_raised {
            hit(&pod).unwrap_or(7)
        } else {
            pod.version("p1").await
        };
        raising.await.unwrap().unwrap();
        Seen::compared(3, read, 7)
    })
    .await;
}

async fn waits_for_a_lock(world: &World) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    while world.admin.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        sleep(Duration::from_millis(2)).await;
    }
}

/// [4] A pod holds a long lease when it is lowered, and does not hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn outwait_before_lower() {
    refute(Safeguard::OutwaitBeforeLower, async || {
        let world = World::with_lease(2_000).await;
        let (pod, link) = pod_behind_a_link(&world).await;
        lease(&pod).await;
        link.silence();
        set_lease(&world.admin, 5).await.unwrap();
        run(&world, "UPDATE person SET version = 7 WHERE id = 'p1'").await;
        Seen::compared(3, hit(&pod).unwrap_or(7), 7)
    })
    .await;
}
