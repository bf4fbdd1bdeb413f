//! Safeguards of whose positions these are: triggers that changed, numbers that went back.

use std::time::Duration;

use neverstale_coherence::Safeguard;
use tokio::time::{Instant, sleep};

use crate::{Seen, hit, lease, pod_behind_a_link, pods::World, refute, run};

/// [8] Another table takes the place of a watched one.
#[tokio::test(flavor = "multi_thread")]
async fn trigger_epoch() {
    refute(Safeguard::TriggerEpoch, async || {
        let world = World::with_lease(0).await;
        let pod = world.pod().await;
        pod.version("p1").await;
        let swap = "CREATE TABLE fresh (LIKE person INCLUDING ALL); INSERT INTO fresh SELECT id, 99, team_id, 0 FROM person; \
            BEGIN; ALTER TABLE person RENAME TO old; ALTER TABLE fresh RENAME TO person; COMMIT";
        run(&world, swap).await;
        Seen::compared(3, pod.version("p1").await, 99)
    })
    .await;
}

/// [2] The sequence was set back, and the log pruned, so that nothing collides.
#[tokio::test(flavor = "multi_thread")]
async fn new_position() {
    refute(Safeguard::NewPosition, async || {
        let world = World::with_lease(0).await;
        let pod = world.pod().await;
        write_versions(&world, 5).await;
        pod.version("p1").await;
        run(
            &world,
            "SELECT neverstale.prune(1); SELECT setval('neverstale.position', 2)",
        )
        .await;
        let written = world
            .admin
            .batch_execute("UPDATE person SET version = 6 WHERE id = 'p1'")
            .await;
        Seen::compared(8, pod.version("p1").await, if written.is_ok() { 6 } else { 5 })
    })
    .await;
}

/// [2] Log and sequence went back below what a pod has applied.
#[tokio::test(flavor = "multi_thread")]
async fn regressed_position() {
    refute(Safeguard::RegressedPosition, positions_that_come_again).await;
}

/// [2] The same, noticed, but the database keeps its incarnation.
#[tokio::test(flavor = "multi_thread")]
async fn begin_anew() {
    refute(Safeguard::BeginAnew, positions_that_come_again).await;
}

async fn positions_that_come_again() -> Seen {
    let world = World::with_lease(0).await;
    let pod = world.pod().await;
    write_versions(&world, 10).await;
    pod.version("p1").await;
    run(
        &world,
        "DELETE FROM neverstale.log; SELECT setval('neverstale.position', 3)",
    )
    .await;
    // A read of anything takes the fence that can notice it.
    pod.version("p2").await;
    run(&world, "UPDATE person SET version = 11 WHERE id = 'p1'").await;
    Seen::compared(13, pod.version("p1").await, 11)
}

/// [2] The intents begin again below what is settled: every fence believes that nobody waits.
#[tokio::test(flavor = "multi_thread")]
async fn regressed_intent() {
    refute(Safeguard::RegressedIntent, async || {
        let world = World::with_lease(50).await;
        for _ in 0..3 {
            run(&world, "UPDATE person SET version = version + 1 WHERE id = 'p2'").await;
        }
        neverstale_installation::set_lease(&world.admin, 2_000).await.unwrap();
        let (pod, link) = pod_behind_a_link(&world).await;
        lease(&pod).await;
        run(&world, "ALTER SEQUENCE neverstale.intent RESTART WITH 2").await;
        let writer = world.database.connect().await.unwrap();
        let began = Instant::now();
        let writing = tokio::spawn(async move {
            let sql = "UPDATE person SET version = 7 WHERE id = 'p1'";
            writer.batch_execute(sql).await.unwrap();
        });
        let mut reads = 1;
        while began.elapsed() < Duration::from_millis(1_800) {
            pod.version("p1").await;
            reads += 1;
            sleep(Duration::from_millis(5)).await;
        }
        link.silence();
        writing.await.unwrap();
        Seen::compared(reads + 4, hit(&pod).unwrap_or(7), 7)
    })
    .await;
}

/// Writes `p1` that many times.
async fn write_versions(world: &World, last: u32) {
    for version in 1..=last {
        let sql = format!("UPDATE person SET version = {version} WHERE id = 'p1'");
        run(world, &sql).await;
    }
}
