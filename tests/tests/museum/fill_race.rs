//! The fill race: a value that was read before a write is kept after it.
//!
//! FusionCache #613 and #625, the loader of any in-process cache, and the fifth of NAGA's stale paths.

use std::sync::Arc;

use neverstale_testkit::{Application, Link};
use tokio::task::yield_now;

use crate::{
    house::{House, port, read_role},
    naive::get_or_set::GetOrSet,
    pod::Pod,
};

#[tokio::test]
async fn a_naive_cache_keeps_what_was_read_before_the_write() {
    let house = House::open(Application::OpenWebUi012, 0).await;
    let (link, client) = house.over_a_link().await;
    let cache = Arc::new(GetOrSet::default());
    link.keep_answers();
    let reader = tokio::spawn({
        let cache = Arc::clone(&cache);
        async move { cache.get_or_set("u2", read_role(&client, "u2")).await }
    });
    link.answer_kept().await;
    house.set_role("u2", "admin").await;
    cache.remove("u2");
    link.restore();
    reader.await.unwrap();
    let served = cache.get("u2");
    assert_eq!(
        (served.as_deref(), house.role("u2").await.as_str()),
        (Some("user"), "admin")
    );
}

/// P15. What was joined is judged. Reads of one key share one question to Postgres, but a read takes another's answer
/// only if it is good enough for its own level and its own beginning.
#[tokio::test]
async fn ours_keeps_it_too_and_serves_it_to_nobody() {
    for lease_ms in [0, 50] {
        let house = House::open(Application::OpenWebUi012, lease_ms).await;
        let link = Link::to(port(house.database.url())).await.unwrap();
        let pod = Pod::start(&house, &house.database.url_through(link.port()), None).await;
        link.keep_answers();
        let early = spawn_read(&pod);
        link.answer_kept().await;
        house.set_role("u2", "admin").await;
        // It arrives after the commit and joins the fill that began before.
        let late = spawn_read(&pod);
        let fences = fences(&pod);
        while fences == self::fences(&pod) {
            yield_now().await;
        }
        yield_now().await;
        link.restore();
        let early = early.await.unwrap();
        assert!(
            early == "user" || early == "admin",
            "it began before the write: {early}"
        );
        assert_eq!(late.await.unwrap(), "admin", "lease {lease_ms} ms");
        assert_eq!(pod.role("u2").await, "admin", "and from memory");
    }
}

fn spawn_read(pod: &Arc<Pod>) -> tokio::task::JoinHandle<String> {
    let pod = Arc::clone(pod);
    tokio::spawn(async move { pod.role("u2").await })
}

fn fences(pod: &Pod) -> u64 {
    pod.metrics.fences_total[neverstale_telemetry::FenceOutcome::Ok].get()
}
