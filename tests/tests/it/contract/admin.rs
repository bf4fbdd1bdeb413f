//! The `admin` listener and the published contract.

use std::time::Duration;

use neverstale_testkit::{Application, run};
use serde_json::{Value, json};

use crate::house::{Plan, until};

#[tokio::test]
async fn the_admin_listener_shows_health_metrics_and_status() {
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(1)
        .with_redis()
        .open()
        .await
        .unwrap();
    let sidecar = &house.sidecars[0];
    sidecar.get("/v1/users/u2").await.unwrap();
    let mut admin = sidecar.admin();
    for path in ["/startupz", "/readyz", "/livez"] {
        assert_eq!(admin.get(path).await.unwrap().status, 200, "{path}");
        assert_eq!(
            admin.send("HEAD", path, &[], &[]).await.unwrap().status,
            200,
            "HEAD {path}"
        );
    }
    let metrics = admin.get("/metrics").await.unwrap();
    assert!(
        metrics.header("content-type").unwrap().starts_with("text/plain"),
        "{:?}",
        metrics.headers
    );
    for name in [
        "neverstale_reads_total",
        "neverstale_fences_total",
        "neverstale_audits_total",
        "neverstale_l2_requests_total",
    ] {
        assert!(metrics.text().contains(name), "{name} is missing");
    }
    let status = admin.get("/status").await.unwrap().json().unwrap();
    assert_eq!(
        (&status["ready"], &status["installation"]["flavour"]),
        (&Value::Bool(true), &Value::from("openwebui-0.12")),
        "{status}"
    );
    let page = admin.get("/").await.unwrap();
    assert!(page.status == 200 && page.header("content-type").unwrap().starts_with("text/html"));
    assert_eq!(admin.get("/nothing").await.unwrap().status, 404);
    let wrong = admin.send("POST", "/readyz", &[], &[]).await.unwrap();
    assert_eq!(wrong.status, 405);
    // Reads are not for everybody who may see the health.
    assert_eq!(admin.get("/v1/users/u2").await.unwrap().status, 404);
}

#[tokio::test]
async fn the_status_tells_of_the_installation_as_it_is() {
    let house = Plan::of(Application::OpenWebUi012)
        .lease_ms(70)
        .sidecars(1)
        .open()
        .await
        .unwrap();
    let sidecar = &house.sidecars[0];
    let url = house.database.url();
    let status = async || sidecar.admin().get("/status").await?.json();
    let told = async |lease_ms: u64, suspended: bool, intact: bool| {
        let what = format!("a lease of {lease_ms} ms, suspended {suspended}, intact {intact}");
        until(&what, Duration::from_secs(5), async || {
            let installation = &status().await?["installation"];
            let (lease_ms, suspended, intact) = (json!(lease_ms), json!(suspended), json!(intact));
            Ok(installation["lease_ms"] == lease_ms
                && installation["suspended"] == suspended
                && installation["intact"] == intact)
        })
        .await
        .unwrap();
    };
    let tags = status().await.unwrap()["feed"]["tags"].as_u64().unwrap();
    house.set_role("u2", "admin").await.unwrap();
    sidecar.get("/v1/users/u2/role").await.unwrap();
    let tags_after = status().await.unwrap()["feed"]["tags"].as_u64().unwrap();
    assert!(tags_after > tags, "{tags_after} tags, {tags} before a commit");
    told(70, false, true).await;
    run(&["lease", "30"], &[("DATABASE_URL", url)]).await.unwrap();
    told(30, false, true).await;
    run(&["suspend"], &[("DATABASE_URL", url)]).await.unwrap();
    told(0, true, false).await;
    run(&["resume"], &[("DATABASE_URL", url)]).await.unwrap();
    told(30, false, true).await;
}

#[tokio::test]
async fn the_published_contract_names_every_endpoint() {
    for application in Application::ALL {
        let house = Plan::of(application).sidecars(1).open().await.unwrap();
        let mut client = house.sidecars[0].api();
        let answer = client.get("/openapi.json").await.unwrap();
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("application/json"))
        );
        let etag = answer.header("etag").unwrap().to_owned();
        assert_eq!(
            client
                .get_with("/openapi.json", &[("If-None-Match", &etag)])
                .await
                .unwrap()
                .status,
            304
        );
        let document = answer.json().unwrap();
        assert!(
            document["openapi"].as_str().unwrap().starts_with("3.1"),
            "{}",
            document["openapi"]
        );
        let paths = document["paths"].as_object().unwrap();
        for (path, method) in [
            ("/v1/users/{id}", "get"),
            ("/v1/users/by-email/{email}", "get"),
            ("/v1/users/{id}/role", "get"),
            ("/v1/users/{id}/groups", "get"),
            ("/v1/users/{id}/permissions", "get"),
            ("/v1/users/{id}/settings", "get"),
            ("/v1/users/{id}/settings/{path}", "get"),
            ("/v1/users/{id}/virtual-keys", "get"),
            ("/v1/users/{id}/virtual-keys/{path}", "get"),
            ("/v1/api-keys/resolve", "post"),
            ("/v1/sessions/resolve", "post"),
            ("/v1/config", "get"),
            ("/v1/config/{path}", "get"),
            ("/v1/batch", "post"),
            ("/v1/views/{view}/{key}", "get"),
            ("/v1/position", "get"),
            ("/v1/events", "get"),
        ] {
            // A variable that takes the rest may be written otherwise than in prose.
            let found = paths
                .iter()
                .find(|(name, _)| name.as_str() == path || name.replace("...", "") == path);
            assert!(
                found.is_some_and(|(_, methods)| methods.get(method).is_some()),
                "{method} {path} is not published: {:?}",
                paths.keys()
            );
        }
    }
}
