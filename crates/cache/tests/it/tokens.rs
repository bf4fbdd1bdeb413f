//! What a token carries (P8). Found by a history of `cargo xtask jepsen`: a token was taken to carry more than it does.

use std::time::Duration;

use neverstale_cache::Level;
use neverstale_testkit::{Link, Postgres};
use tokio::time::{Instant, sleep};

use crate::pods::{World, version};

/// Commits wait longer than this; a lease lasts for four fifths of it.
const LEASE: Duration = Duration::from_secs(2);

/// While a lease excepts a change, what else is read rests on the state before it, and so does the token of such an
/// answer. A token that was asked for by itself rests on a fence.
///
/// P8. A token carries what its answer showed. A read at `at-least-as-fresh` shows, on any sidecar, at least what the
/// answer showed that the token came with, and what that answer's own token carried. The token of `GET /v1/position`
/// carries every commit that anybody could have known of when it was asked for; take one to carry a write of your own.
/// (The token of an answer about something else need not: while a lease excepts your change, everything else is still
/// answered from the state before it.) A token of another incarnation makes the read `fully-consistent`. A token that
/// is still ahead after one fence is refused; no read waits for a position that may never come.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_an_answer_carries_what_it_showed_and_one_that_was_asked_for_everything() {
    let world = World::with_lease(LEASE.as_millis() as u32).await;
    let link = Link::to(Postgres::shared().await.unwrap().port()).await.unwrap();
    let pod = world.start(&world.database.url_through(link.port()), None);
    pod.until("it is ready", |pod| pod.readiness.is_ready()).await;
    pod.version("p1").await;
    let writer = world.database.connect().await.unwrap();
    let began = Instant::now();
    let writing = tokio::spawn(async move {
        writer
            .batch_execute("UPDATE person SET version = 1 WHERE id = 'p1'")
            .await
    });
    // Reads of something else renew the lease, which excepts p1 by now, until it is sure to outlive the commit.
    while began.elapsed() < LEASE * 3 / 4 {
        pod.version("p2").await;
        sleep(Duration::from_millis(5)).await;
    }
    // From now on the pod hears nothing, not even that the commit is done.
    link.silence();
    writing.await.unwrap().unwrap();
    let other = pod.cache.hit("/v1/users/p2", Level::FullyConsistent);
    let token = other.expect("the lease covers what it does not except").token;
    let carried = pod.read("/v1/users/p1", Level::AtLeastAsFresh(token)).await.unwrap();
    assert_eq!(version(&carried.entry.body), 0, "p2 says nothing of p1");
    let excepted = pod.cache.hit("/v1/users/p1", Level::FullyConsistent);
    assert!(excepted.is_none(), "p1 itself is not answered from before its change");

    link.restore();
    let token = pod
        .cache
        .position(Instant::now() + Duration::from_secs(5))
        .await
        .unwrap();
    let carried = pod.read("/v1/users/p1", Level::AtLeastAsFresh(token)).await.unwrap();
    assert_eq!(version(&carried.entry.body), 1);
}
