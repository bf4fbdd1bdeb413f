//! What the kubelet is told when a part of the process has ended that never should.

use std::sync::{Arc, OnceLock};

use neverstale_admin::{Admin, AdminParts, AdminSettings};
use neverstale_lifecycle::{CancellationToken, Readiness, Tasks};
use neverstale_telemetry::Metrics;
use neverstale_testkit::Client;
use tokio::task::yield_now;

async fn admin() -> (Client, Tasks, Readiness) {
    let readiness = Readiness::new("start", "starting");
    readiness.set("start", None);
    let tasks = Tasks::new(readiness.clone(), || {});
    let parts = AdminParts {
        shown: Arc::new(OnceLock::new()),
        readiness: readiness.clone(),
        metrics: Arc::new(Metrics::new("test")),
        version: "test",
        settings: AdminSettings {
            listen: "127.0.0.1:0".to_owned(),
            ..AdminSettings::default()
        },
        shut: CancellationToken::new(),
        drain: CancellationToken::new(),
        quit: CancellationToken::new(),
    };
    let handle = Admin::start(parts, &tasks).await.unwrap();
    (Client::port(handle.local_addr.port()), tasks, readiness)
}

#[tokio::test]
async fn a_task_that_has_ended_ends_liveness_and_a_store_that_is_away_does_not() {
    let (mut client, tasks, readiness) = admin().await;
    assert_eq!(client.get("/livez").await.unwrap().status, 200);
    readiness.set("database", Some("the primary has not answered for 1s".to_owned()));
    assert_eq!(client.get("/readyz").await.unwrap().status, 503);
    assert_eq!(client.get("/livez").await.unwrap().status, 200);
    readiness.set("database", None);
    // A connection that is done, or that panics, is nobody's end.
    tasks.spawn_brief("connection", async { panic!("on purpose") });
    tasks.spawn("changefeed", async { panic!("on purpose") });
    while tasks.failures().is_empty() {
        yield_now().await;
    }
    for path in ["/livez", "/readyz"] {
        let answer = client.get(path).await.unwrap();
        assert_eq!(answer.status, 503, "{path}");
        let reasons = &answer.json().unwrap()["reasons"];
        assert_eq!(
            reasons,
            &serde_json::json!([{"key": "changefeed", "text": "task changefeed panicked; restart the process"}]),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_process_that_was_told_to_end_is_live_until_it_has() {
    let (mut client, tasks, _) = admin().await;
    let shutdown = tasks.shutdown();
    tasks.spawn("changefeed", async move { shutdown.cancelled().await });
    assert_eq!(client.get("/livez").await.unwrap().status, 200);
    tasks.shutdown().cancel();
    yield_now().await;
    assert!(tasks.failures().is_empty());
}
