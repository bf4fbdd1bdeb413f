//! Writes that are refused for who asks, how, or what the role of the sidecar may: nothing is changed, and no value is told or logged.

use neverstale_testkit::{Application, Client, Sidecar, run};
use serde_json::json;

use super::{TOP_K, patch, value, writable};
use crate::{
    contract::expect_problem,
    house::{Plan, trusted},
};

#[tokio::test]
async fn who_may_not_write_or_names_no_condition_changes_nothing() {
    let house = writable(Application::Naga0518).sidecars(1).open().await.unwrap();
    let body = json!({"path": "rag.openai_api_key", "value": "sk-never-told"}).to_string();
    let send = async |mut client: Client, headers: &[(&str, &str)], body: &str| {
        client
            .send("PATCH", "/v1/config", headers, body.as_bytes())
            .await
            .unwrap()
    };
    let socket = || trusted(&house.sidecars[0]);
    let star = [("If-None-Match", "*")];
    let untrusted = send(house.sidecars[0].api(), &star, &body).await;
    expect_problem(&untrusted, 403, "forbidden").unwrap();
    expect_problem(&send(socket(), &[], &body).await, 428, "precondition-required").unwrap();
    for (headers, body) in [
        (vec![("If-None-Match", "\"x\"")], body.as_str()),
        (vec![("If-None-Match", "*"), ("If-Match", "*")], &body),
        (star.to_vec(), r#"{"path": "a"}"#),
        (star.to_vec(), r#"{"path": "", "value": 1}"#),
        (star.to_vec(), r#"{"path": "a\u0000", "value": 1}"#),
        (star.to_vec(), r#"{"path": "a", "value": "\u0000"}"#),
        (star.to_vec(), r#"{"path": "a", "value": 1, "more": 1}"#),
    ] {
        expect_problem(&send(socket(), &headers, body).await, 400, "malformed").unwrap();
    }
    let made = send(socket(), &star, &body).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let late = send(socket(), &star, &body.replace("never", "ever")).await;
    expect_problem(&late, 412, "precondition-failed").unwrap();
    let log = house.sidecars[0].log();
    assert!(
        !log.contains("never-told") && !log.contains("ever-told"),
        "a value is in the log:\n{log}"
    );
    let metrics = house.sidecars[0].metrics().await.unwrap();
    assert!(
        metrics.contains("neverstale_writes_total{outcome=\"ok\"} 1"),
        "{metrics}"
    );
    let off = Plan::of(Application::Naga0518).sidecars(1).open().await.unwrap();
    let refused = send(trusted(&off.sidecars[0]), &star, &body).await;
    expect_problem(&refused, 403, "forbidden").unwrap();
    assert!(refused.text().contains("api.writes_allowed"), "{}", refused.text());
}

#[tokio::test]
async fn a_role_without_the_right_is_told_the_grant() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(0).open().await.unwrap();
    let role = format!("reader_{}", house.database.name());
    let make = format!("CREATE ROLE \"{role}\" LOGIN");
    house.writer.batch_execute(&make).await.unwrap();
    run(
        &["install", "--reader", &role],
        &[("DATABASE_URL", house.database.url())],
    )
    .await
    .unwrap();
    let mut options = house.options.clone().with("NEVERSTALE_API__WRITES_ALLOWED", true);
    options.database_url = house.database.url().replace("//postgres@", &format!("//{role}@"));
    let sidecar = Sidecar::start(&options).await.unwrap();
    let (_, etag) = value(&sidecar, TOP_K).await;
    let mut client = trusted(&sidecar);
    let refused = patch(&mut client, "/v1/config", ("If-Match", &etag), TOP_K, &json!(5)).await;
    expect_problem(&refused, 403, "forbidden").unwrap();
    let grant = format!("GRANT SELECT, UPDATE, INSERT ON \"public\".\"config\" TO \"{role}\"");
    let detail = refused.json().unwrap()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&grant), "{detail}");
    house.writer.batch_execute(&grant).await.unwrap();
    let made = patch(&mut client, "/v1/config", ("If-Match", &etag), TOP_K, &json!(5)).await;
    assert_eq!(made.status, 200, "{}", made.text());
    drop((client, sidecar));
    let remove = format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\"");
    house.writer.batch_execute(&remove).await.unwrap();
}
