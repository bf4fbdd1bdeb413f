//! What is asked by `POST`: batches, API keys, sessions.

use anyhow::Result;
use neverstale_testkit::{Application, Client};
use serde_json::{Value, json};

use super::{expect_problem, position, token};
use crate::{
    house::{Plan, trusted},
    question::session_token,
};

#[tokio::test]
async fn a_batch_answers_in_order_at_one_position_with_errors_inside() {
    for application in Application::ALL {
        let house = Plan::of(application).sidecars(1).open().await.unwrap();
        let mut client = trusted(&house.sidecars[0]);
        let reads = json!({"reads": [
            "/v1/users/u2",
            {"path": "/v1/users/u2/settings/no.such.setting", "default": {"a": [1, "ä&?"]}},
            "/v1/users/nobody",
            "/v1/views/nothing/x",
            "/v1/nothing",
            "/v1/users/%zz",
            {"path": "/v1/users/u2/virtual-keys/rag.openai_api_key"},
            "/v1/users/u2/role",
        ]});
        let answer = client.post("/v1/batch", &reads).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json().unwrap();
        assert_eq!(body["position"], token(&answer).unwrap());
        let answers = body["answers"].as_array().unwrap();
        let statuses: Vec<u64> = answers
            .iter()
            .map(|answer| answer["status"].as_u64().unwrap())
            .collect();
        // Open WebUI 0.12 has the key under another name.
        let key = if application == Application::OpenWebUi012 {
            404
        } else {
            200
        };
        assert_eq!(
            statuses,
            [200, 200, 404, 404, 404, 400, key, 200],
            "{}: {body}",
            application.name()
        );
        assert_eq!(answers[1]["body"]["value"], json!({"a": [1, "ä&?"]}));
        let kind = |place: usize| {
            answers[place]["body"]["type"]
                .as_str()
                .unwrap()
                .rsplit(':')
                .next()
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            [2, 3, 4, 5].map(kind),
            ["not-found", "not-in-this-schema", "not-found", "malformed"]
        );
        for path in ["/v1/users/u2", "/v1/users/u2/role"] {
            let alone = client.get(path).await.unwrap().json().unwrap();
            let place = reads["reads"]
                .as_array()
                .unwrap()
                .iter()
                .position(|read| read == path)
                .unwrap();
            assert_eq!(answers[place]["body"], alone, "{path} differs in a batch");
        }
    }
}

#[tokio::test]
async fn a_secret_in_a_batch_is_for_the_trusted_alone_and_the_rest_is_for_everybody() {
    let house = Plan::of(Application::Naga0518).sidecars(1).open().await.unwrap();
    let reads = json!({"reads": ["/v1/users/u2", "/v1/users/u2/virtual-keys/rag.openai_api_key"]});
    let statuses = |answer: &Value| [0, 1].map(|place| answer["answers"][place]["status"].as_u64().unwrap());
    let whole = trusted(&house.sidecars[0]).post("/v1/batch", &reads).await.unwrap();
    assert_eq!(statuses(&whole.json().unwrap()), [200, 200], "{}", whole.text());
    assert!(whole.text().contains("sk-"), "{}", whole.text());
    // Once from the database, then from L1, where the trusted caller has left it.
    for _ in 0..3 {
        let answer = house.sidecars[0].api().post("/v1/batch", &reads).await.unwrap();
        let body = answer.json().unwrap();
        assert_eq!(statuses(&body), [200, 403], "{body}");
        assert_eq!(
            body["answers"][1]["body"]["type"],
            "urn:neverstale:problem:secret-needs-token"
        );
        assert!(!answer.text().contains("sk-"), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_a_caller_has_comes_without_its_body_until_it_changes() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await.unwrap();
    let mut client = house.sidecars[0].api();
    let paths = ["/v1/users/u2", "/v1/users/u3/role", "/v1/users/u3/groups"];
    let first = client
        .post("/v1/batch", &json!({ "reads": paths }))
        .await
        .unwrap()
        .json()
        .unwrap();
    let etags = [0, 1, 2].map(|place| first["answers"][place]["etag"].clone());
    let alone = client.get(paths[0]).await.unwrap();
    assert_eq!(etags[0], *alone.header("etag").unwrap(), "as a read by itself");
    let reads: Vec<Value> = paths
        .iter()
        .zip(&etags)
        .map(|(path, etag)| json!({"path": path, "etag": etag}))
        .collect();
    let reads = json!({ "reads": reads });
    let again = client.post("/v1/batch", &reads).await.unwrap().json().unwrap();
    for place in [0, 1, 2] {
        assert_eq!(again["answers"][place], json!({"status": 304, "etag": etags[place]}));
    }
    let writer = house.database.connect().await.unwrap();
    writer
        .batch_execute("UPDATE \"user\" SET name = 'Zoe' WHERE id = 'u2'")
        .await
        .unwrap();
    let changed = client.post("/v1/batch", &reads).await.unwrap().json().unwrap();
    let answers = changed["answers"].as_array().unwrap();
    assert_eq!(
        (&answers[0]["status"], &answers[0]["body"]["name"]),
        (&json!(200), &json!("Zoe"))
    );
    assert_ne!(answers[0]["etag"], etags[0]);
    assert_eq!(answers[1], json!({"status": 304, "etag": etags[1]}));
}

/// P10 at the size of a house: two rows that are always written together are never seen apart.
///
/// P10. A batch is one state. All answers of one batch show the same state of the database, the one its token names,
/// even while writers change several of the rows together. A batch comes to an end under steady writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_change_together_are_never_apart_in_a_batch() {
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(1)
        .lease_ms(20)
        .open()
        .await
        .unwrap();
    let mut client = house.sidecars[0].api();
    let reads = json!({"reads": ["/v1/users/u2", "/v1/users/u3", "/v1/users/by-email/user2%40example.com"]});
    let writer = house.database.connect().await.unwrap();
    let writing = tokio::spawn(async move {
        for round in 0..25 {
            let sql = format!("UPDATE \"user\" SET name = 'round {round}' WHERE id IN ('u2', 'u3')");
            writer.batch_execute(&sql).await.unwrap();
        }
    });
    let (mut batches, mut last) = (0, 0);
    while !writing.is_finished() {
        let answer = client.post("/v1/batch", &reads).await.unwrap();
        let body = answer.json().unwrap();
        let name = |place: usize| body["answers"][place]["body"]["name"].clone();
        if batches > 0 && name(0) != "User 2" {
            assert_eq!(name(0), name(1), "{body}");
        }
        assert_eq!(name(0), name(2), "{body}");
        let now = position(&token(&answer).unwrap()).unwrap();
        assert!(now >= last, "positions go back from {last} to {now}");
        (batches, last) = (batches + 1, now);
    }
    writing.await.unwrap();
    assert!(batches > 10, "only {batches} batches");
}

#[tokio::test]
async fn an_api_key_is_resolved_for_the_trusted_alone() {
    for application in Application::ALL {
        let house = Plan::of(application).sidecars(1).open().await.unwrap();
        let key = neverstale_testkit::api_key(2);
        let question = json!({"api_key": key});
        let mut client = trusted(&house.sidecars[0]);
        let answer = client.post("/v1/api-keys/resolve", &question).await.unwrap();
        assert_eq!(
            (answer.status, &answer.json().unwrap()["user"]["id"]),
            (200, &json!("u2")),
            "{}",
            answer.text()
        );
        assert!(!answer.text().contains(&key), "the key itself is in the answer");
        assert_eq!(answer.json().unwrap()["key"]["expires_at"], Value::Null);
        let unknown = client
            .post("/v1/api-keys/resolve", &json!({"api_key": "sk-nobody"}))
            .await
            .unwrap();
        expect_problem(&unknown, 404, "not-found").unwrap();
        let untrusted = house.sidecars[0]
            .api()
            .post("/v1/api-keys/resolve", &question)
            .await
            .unwrap();
        expect_problem(&untrusted, 403, "secret-needs-token").unwrap();
        let log = house.sidecars[0].log();
        assert!(
            !log.contains(&key) && !log.contains("sk-nobody"),
            "a key is in the log:\n{log}"
        );
        let metrics = house.sidecars[0].metrics().await.unwrap();
        assert!(!metrics.contains("sk-"), "a key is in the metrics");
    }
}

#[tokio::test]
async fn a_session_is_judged_as_the_application_does() {
    for application in Application::ALL {
        let house = Plan::of(application).sidecars(1).with_redis().open().await.unwrap();
        let mut client = house.sidecars[0].api();
        let good = session_token("u2", "stamp-2", Some("t1"));
        let alone = client.get("/v1/users/u2").await.unwrap().json().unwrap();
        let answer = resolve(&mut client, &good).await.unwrap();
        assert_eq!(
            (answer.status, answer.json().unwrap()),
            (200, alone),
            "{}",
            application.name()
        );
        token(&answer).unwrap();

        let mut forged = good.clone();
        forged.replace_range(forged.len() - 4.., "AAAA");
        for bad in [
            forged,
            session_token("nobody", "stamp-2", None),
            "no token".to_owned(),
            "a.b.c".to_owned(),
            format!("{good}."),
        ] {
            expect_problem(&resolve(&mut client, &bad).await.unwrap(), 404, "not-found").unwrap();
        }
        let other_stamp = resolve(&mut client, &session_token("u2", "old", None)).await.unwrap();
        let expected = if application == Application::OpenWebUi012 {
            404
        } else {
            200
        };
        assert_eq!(other_stamp.status, expected, "{}", application.name());

        // The application revokes by its own keys in Redis; NAGA's does not know that.
        let redis = house.redis.as_ref().unwrap();
        redis
            .command(&["SET", "open-webui:auth:token:t1:revoked", "1"])
            .await
            .unwrap();
        let revoked = if application == Application::Naga0518 { 200 } else { 404 };
        assert_eq!(
            resolve(&mut client, &good).await.unwrap().status,
            revoked,
            "{}",
            application.name()
        );
        let other = session_token("u2", "stamp-2", Some("t2"));
        assert_eq!(resolve(&mut client, &other).await.unwrap().status, 200);
        redis
            .command(&["SET", "open-webui:auth:user:u2:revoked_at", "4000000000"])
            .await
            .unwrap();
        assert_eq!(
            resolve(&mut client, &other).await.unwrap().status,
            revoked,
            "{}",
            application.name()
        );
        redis.flush().await.unwrap();

        // What can't be known is not accepted.
        redis.pause().unwrap();
        let unknown = resolve(&mut client, &other).await.unwrap();
        redis.resume().unwrap();
        if application == Application::Naga0518 {
            assert_eq!(unknown.status, 200);
        } else {
            expect_problem(&unknown, 503, "unavailable").unwrap();
        }
    }
}

async fn resolve(client: &mut Client, token: &str) -> Result<neverstale_testkit::Answer> {
    client.post("/v1/sessions/resolve", &json!({"token": token})).await
}
