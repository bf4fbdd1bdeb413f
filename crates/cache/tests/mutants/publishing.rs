//! Safeguards of stage one: what the triggers of the application's tables publish.

use neverstale_cache::Level;
use neverstale_coherence::Safeguard;
use neverstale_testkit::Postgres;

use crate::{Seen, pods::World, refute, run};

/// [16] A row gets another key; whoever asks for the old one must not find it.
#[tokio::test(flavor = "multi_thread")]
async fn old_tags() {
    refute(Safeguard::OldTags, async || {
        let world = World::with_lease(0).await;
        let pod = world.pod().await;
        pod.version("p1").await;
        run(&world, "UPDATE person SET id = 'px' WHERE id = 'p1'").await;
        let answer = pod.read("/v1/users/p1", Level::FullyConsistent).await.unwrap();
        Seen::compared(3, answer.entry.is_found, false)
    })
    .await;
}

/// [6] A value becomes another that is equal to it, and reads differently.
#[tokio::test(flavor = "multi_thread")]
async fn binary_image() {
    refute(Safeguard::BinaryImage, async || {
        let alteration = "ALTER TABLE person ALTER version TYPE numeric; UPDATE person SET version = 1.0;";
        let world = World::altered(Postgres::shared().await.unwrap(), 0, alteration).await;
        let pod = world.pod().await;
        let body = async || {
            let answer = pod.read("/v1/users/p1", Level::FullyConsistent).await.unwrap();
            String::from_utf8(answer.entry.body.to_vec()).unwrap()
        };
        let before = body().await;
        run(&world, "UPDATE person SET version = 1.00 WHERE id = 'p1'").await;
        Seen::compared(3, body().await, before.replace("1.0", "1.00"))
    })
    .await;
}

/// A replica's apply worker, or a restore, writes with the session's triggers off.
#[tokio::test(flavor = "multi_thread")]
async fn enable_always() {
    refute(Safeguard::EnableAlways, async || {
        let replica = "SET session_replication_role = replica; UPDATE person SET version = 1 WHERE id = 'p1'";
        one_write(World::with_lease(0).await, replica, 1).await
    })
    .await;
}

/// [8] A table is emptied, which no row trigger sees.
#[tokio::test(flavor = "multi_thread")]
async fn truncate_published() {
    refute(Safeguard::TruncatePublished, async || {
        let world = World::with_lease(0).await;
        let pod = world.pod().await;
        pod.version("p1").await;
        run(&world, "TRUNCATE person").await;
        let answer = pod.read("/v1/users/p1", Level::FullyConsistent).await.unwrap();
        Seen::compared(3, answer.entry.is_found, false)
    })
    .await;
}

/// [23] A migration renames a column that a tag is made of, and writing goes on.
#[tokio::test(flavor = "multi_thread")]
async fn wide_when_unsure() {
    refute(Safeguard::WideWhenUnsure, async || {
        let migration =
            "ALTER TABLE person RENAME COLUMN team_id TO team; UPDATE person SET version = 1 WHERE id = 'p1'";
        one_write(World::with_lease(0).await, migration, 1).await
    })
    .await;
}

/// A transaction changes more rows than there may be tags.
#[tokio::test(flavor = "multi_thread")]
async fn wide_beyond_cap() {
    refute(Safeguard::WideBeyondCap, async || {
        let world = World::with_lease(0).await;
        run(
            &world,
            "INSERT INTO person SELECT 'q' || n, 0, 't', 0 FROM generate_series(1, 3000) n",
        )
        .await;
        let pod = world.pod().await;
        let all = async || {
            let mut versions = Vec::new();
            for number in 2951..=3000 {
                versions.push(pod.version(&format!("q{number}")).await);
            }
            versions
        };
        all().await;
        run(&world, "UPDATE person SET version = 1").await;
        Seen::compared(102, all().await, vec![1; 50])
    })
    .await;
}

/// Reads p1, writes, and reads it again.
async fn one_write(world: World, sql: &str, truth: i64) -> Seen {
    let pod = world.pod().await;
    pod.version("p1").await;
    run(&world, sql).await;
    Seen::compared(3, pod.version("p1").await, truth)
}
