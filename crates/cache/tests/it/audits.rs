//! The auditor: it must find a lie, and must not take what has changed since for one.

use std::sync::Arc;

use neverstale_cache::{Audit, AuditSettings, Auditor, Entry, Level, Source};
use neverstale_flavour::Read;
use neverstale_telemetry::AuditOutcome;

use crate::pods::{Pod, World};

const PATH: &str = "/v1/users/p1";

/// What was answered for `p1`, and the same answer with another value.
async fn served(pod: &Pod) -> (Read, Arc<Entry>, Arc<Entry>) {
    let truth = pod.read(PATH, Level::FullyConsistent).await.unwrap().entry;
    let lie = Entry::new(truth.stamp.clone(), Some(r#"{"version": -1}"#.into()), false);
    (pod.router.route(PATH).unwrap(), truth, Arc::new(lie))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_is_found_and_a_change_is_none() {
    let world = World::with_lease(20).await;
    let pod = world.pod().await;
    let (read, truth, lie) = served(&pod).await;
    assert_eq!(pod.cache.audit(&read, &truth).await, Audit::Match);
    let again = pod.read(PATH, Level::FullyConsistent).await.unwrap();
    assert_eq!(again.source, Source::L1);
    assert_eq!(pod.cache.audit(&read, &lie).await, Audit::Mismatch);
    let absent = Entry::new(truth.stamp.clone(), None, false);
    assert_eq!(pod.cache.audit(&read, &absent).await, Audit::Mismatch);
    world
        .admin
        .batch_execute("UPDATE person SET version = 1 WHERE id = 'p1'")
        .await
        .unwrap();
    // Both were right or wrong once; nobody can tell any more.
    assert_eq!(pod.cache.audit(&read, &truth).await, Audit::Inconclusive);
    assert_eq!(pod.cache.audit(&read, &lie).await, Audit::Inconclusive);
    let counted = |outcome| pod.metrics.audits_total[outcome].get();
    assert_eq!((counted(AuditOutcome::Match), counted(AuditOutcome::Mismatch)), (1, 2));
    assert_eq!(counted(AuditOutcome::Inconclusive), 2);
    assert_eq!(pod.version("p1").await, 1);
}

/// P23. The promise is checked while you use it. Each sidecar asks Postgres again, now and then, for an answer that it
/// has just given from cache, and holds the two against each other at one position, so that it never raises a false
/// alarm. A mismatch must never occur. If one does, it is counted (`neverstale_audits_total`), the log names the
/// positions and tags of both sides but no values, L1 is emptied, and with `audit.unready_on_mismatch` the sidecar
/// leaves the service.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_lied_leaves_the_service_if_it_is_told_to() {
    let world = World::with_lease(20).await;
    for is_told_to in [true, false] {
        let pod = world.pod().await;
        let (read, _, lie) = served(&pod).await;
        let auditor = Arc::new(Auditor::default());
        auditor.offer(&read, &lie, Source::L1);
        let settings = AuditSettings {
            interval_ms: 1,
            unready_on_mismatch: is_told_to,
        };
        let run = Arc::clone(&auditor).run(Arc::clone(&pod.cache), settings, pod.readiness.clone());
        let running = tokio::spawn(run);
        pod.until("the lie is found", |pod| {
            pod.metrics.audits_total[AuditOutcome::Mismatch].get() == 1
        })
        .await;
        // The next sample is judged after the reason would have been set.
        let (read, truth, _) = served(&pod).await;
        auditor.offer(&read, &truth, Source::L1);
        pod.until("the next sample is taken", |_| auditor.wants()).await;
        let reasons = pod.readiness.reasons();
        assert_eq!(
            reasons.iter().any(|(key, _)| *key == "audit"),
            is_told_to,
            "{reasons:?}"
        );
        running.abort();
    }
}
