//! Histories on a real Postgres that refute the protocol without one of its safeguards: those that live in SQL, or need
//! a server to be missed.
//!
//! Each is played twice in a process of its own: whole, when nothing old may be seen, and without its safeguard, when it
//! must be. A test is called like its safeguard. Built with the feature `mutants` only; `cargo xtask prove` runs them, and
//! names a directory in `NEVERSTALE_PROOF` for what they saw.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test reads clocks and its environment, starts writers and prints what it saw"
)]

#[path = "../it/pods.rs"]
#[expect(dead_code, reason = "the other tests need more of it")]
mod pods;

mod committing;
mod incarnations;
mod publishing;

use neverstale_cache::Level;
use neverstale_coherence::safeguard::{self, Safeguard};
use neverstale_testkit::Link;

use crate::pods::{Pod, World};

/// What was seen in a history.
struct Seen {
    /// Reads and writes that it took.
    operations: u32,
    /// What was wrong, if anything was.
    fault: Option<String>,
}

impl Seen {
    /// Compares what a read gave with what the database has.
    fn compared(
        operations: u32,
        read: impl PartialEq + std::fmt::Debug,
        truth: impl PartialEq + std::fmt::Debug,
    ) -> Self {
        let (read, truth) = (format!("{read:?}"), format!("{truth:?}"));
        Self {
            operations,
            fault: (read != truth).then(|| format!("a read gave {read}, the database has {truth}")),
        }
    }
}

/// Plays a history whole and without a safeguard.
async fn refute(safeguard: Safeguard, history: impl AsyncFn() -> Seen) {
    let whole = history().await;
    assert_eq!(whole.fault, None, "with every safeguard in its place");
    safeguard::take_away(&[safeguard]);
    let without = history().await;
    let fault = without
        .fault
        .unwrap_or_else(|| panic!("nobody missed {}", safeguard.name()));
    let told = format!("{} operations\n       {fault}\n", without.operations);
    println!("{}: {told}", safeguard.name());
    if let Ok(directory) = std::env::var("NEVERSTALE_PROOF") {
        std::fs::write(std::path::Path::new(&directory).join(safeguard.name()), told).unwrap();
    }
}

/// Runs a statement that must work.
async fn run(world: &World, sql: &str) {
    world.admin.batch_execute(sql).await.unwrap();
}

/// A pod that can be silenced: nothing reaches it then, and nothing tells it that its connections are gone.
async fn pod_behind_a_link(world: &World) -> (Pod, Link) {
    let url = world.database.url();
    let (_, rest) = url.rsplit_once(':').unwrap();
    let link = Link::to(rest.split('/').next().unwrap().parse().unwrap())
        .await
        .unwrap();
    let pod = world.start(&world.database.url_through(link.port()), None);
    pod.until("it is ready", |pod| pod.readiness.is_ready()).await;
    (pod, link)
}

/// Has the pod hold a lease under which it serves p1 from L1.
async fn lease(pod: &Pod) {
    pod.version("p1").await;
    pod.until("a lease serves a hit", |pod| hit(pod).is_some()).await;
}

/// What the pod says of p1 without asking anybody.
fn hit(pod: &Pod) -> Option<i64> {
    let answer = pod.cache.hit("/v1/users/p1", Level::FullyConsistent)?;
    Some(pods::version(&answer.entry.body))
}
