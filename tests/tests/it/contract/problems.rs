//! Requests that can't be answered get the problem that the contract names.

use std::time::Duration;

use neverstale_testkit::{Application, Postgres, PostgresVersion, Scratch};
use tokio::time::Instant;

use super::expect_problem;
use crate::house::{Plan, role, trusted};

#[tokio::test]
async fn what_is_unknown_malformed_or_too_large_gets_its_problem() {
    for application in Application::ALL {
        let house = Plan::of(application)
            .sidecars(1)
            .with("NEVERSTALE_API__BODY_BYTES_MAX", 2_048)
            .open()
            .await
            .unwrap();
        let mut client = trusted(&house.sidecars[0]);
        let long = "x".repeat(1_100);
        let token = format!("at-least-as-fresh={}", "f".repeat(40));
        let level = "Neverstale-Consistency";
        let limit = "Neverstale-Timeout-Ms";
        let get = |path: &str| ("GET", path.to_owned(), vec![], String::new());
        let get_with = |name: &'static str, value: &str| {
            (
                "GET",
                "/v1/users/u2".to_owned(),
                vec![(name, value.to_owned())],
                String::new(),
            )
        };
        let post = |path: &str, body: &str| ("POST", path.to_owned(), vec![], body.to_owned());
        let cases = [
            // Unknown, or unknown here.
            (get("/"), 404, "not-found"),
            (get("/v1"), 404, "not-found"),
            (get("/v1/users"), 404, "not-found"),
            (get("/v1/users/"), 404, "not-found"),
            (get("/v1/users/u2/nothing"), 404, "not-found"),
            (get("/v2/users/u2"), 404, "not-found"),
            (get("/metrics"), 404, "not-found"),
            (get("/v1/views/nothing/x"), 404, "not-in-this-schema"),
            (get("/v1/views/api-key/sk-1"), 404, "not-in-this-schema"),
            (get("/v1/views/session/u2"), 404, "not-in-this-schema"),
            // Malformed.
            (get_with(level, "eventually"), 400, "malformed"),
            (get_with(level, "at-least-as-fresh=1"), 400, "malformed"),
            (get_with(level, &token), 400, "malformed"),
            (get_with(limit, "0"), 400, "malformed"),
            (get_with(limit, "soon"), 400, "malformed"),
            (get_with(limit, "-1"), 400, "malformed"),
            (get("/v1/users/%00"), 400, "malformed"),
            (get("/v1/users/a%00b/role"), 400, "malformed"),
            (get("/v1/users/%ff"), 400, "malformed"),
            (get("/v1/users/%zz"), 400, "malformed"),
            (get(&format!("/v1/users/{long}")), 400, "malformed"),
            (get(&format!("/v1/config/{long}")), 400, "malformed"),
            (get("/v1/users/u2?verbose=1"), 400, "malformed"),
            (get("/v1/users/u2/settings/rag.top_k?default=ten"), 400, "malformed"),
            (
                get("/v1/users/u2/settings/rag.top_k?default=1&default=2"),
                400,
                "malformed",
            ),
            (
                get("/v1/users/u2/settings/rag.top_k?default=%22%5Cu0000%22"),
                400,
                "malformed",
            ),
            (get("/v1/position?x=1"), 400, "malformed"),
            (get("/v1/events?since=now"), 400, "malformed"),
            (post("/v1/batch", "{"), 400, "malformed"),
            (post("/v1/batch", ""), 400, "malformed"),
            (post("/v1/batch", "[]"), 400, "malformed"),
            (post("/v1/batch", r#"{"reads": []}"#), 400, "malformed"),
            (post("/v1/batch", r#"{"reads": ["v1/users/u2"]}"#), 400, "malformed"),
            (post("/v1/batch", r#"{"reads": [5]}"#), 400, "malformed"),
            (
                post(
                    "/v1/batch",
                    &format!(r#"{{"reads": [{}"/v1/config"]}}"#, "\"\",".repeat(257)),
                ),
                400,
                "malformed",
            ),
            (post("/v1/api-keys/resolve", "{}"), 400, "malformed"),
            (post("/v1/api-keys/resolve", r#"{"api_key": ""}"#), 400, "malformed"),
            (
                post("/v1/api-keys/resolve", r#"{"api_key": "a\u0000"}"#),
                400,
                "malformed",
            ),
            (post("/v1/api-keys/resolve", r#"{"api_key": 7}"#), 400, "malformed"),
            (
                post("/v1/api-keys/resolve", r#"{"api_key": "sk-1", "more": true}"#),
                400,
                "malformed",
            ),
            (post("/v1/sessions/resolve", r#"{"token": null}"#), 400, "malformed"),
            // Too large.
            (post("/v1/batch", &" ".repeat(2_049)), 413, "too-large"),
            (post("/v1/api-keys/resolve", &" ".repeat(2_049)), 413, "too-large"),
            (get(&format!("/v1/users/{}", "x".repeat(9_000))), 414, "too-large"),
            // Another method.
            (post("/v1/users/u2", "{}"), 405, "method-not-allowed"),
            (
                ("DELETE", "/v1/users/u2".to_owned(), vec![], String::new()),
                405,
                "method-not-allowed",
            ),
            (
                ("PUT", "/v1/config".to_owned(), vec![], "{}".to_owned()),
                405,
                "method-not-allowed",
            ),
            (
                ("PATCH", "/v1/users/u2/role".to_owned(), vec![], "{}".to_owned()),
                405,
                "method-not-allowed",
            ),
            (get("/v1/batch"), 405, "method-not-allowed"),
            (get("/v1/api-keys/resolve"), 405, "method-not-allowed"),
            (get("/v1/sessions/resolve"), 405, "method-not-allowed"),
            (post("/v1/position", "{}"), 405, "method-not-allowed"),
            (post("/openapi.json", "{}"), 405, "method-not-allowed"),
        ];
        for ((method, path, headers, body), status, kind) in cases {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = client.send(method, &path, &headers, body.as_bytes()).await;
            let shown = format!(
                "{method} {} {headers:?} {}",
                &path[..path.len().min(80)],
                &body[..body.len().min(80)]
            );
            let answer = answer.unwrap_or_else(|error| panic!("{shown}: {error:#}"));
            expect_problem(&answer, status, kind)
                .unwrap_or_else(|error| panic!("{}: {shown}: {error:#}", application.name()));
            if status == 405 {
                let allowed = match path.as_str() {
                    "/v1/batch" | "/v1/api-keys/resolve" | "/v1/sessions/resolve" => "POST",
                    "/v1/config" => "GET, HEAD, PATCH",
                    _ => "GET, HEAD",
                };
                assert_eq!(answer.header("allow"), Some(allowed), "{shown}");
            }
        }
        // What only one flavour has.
        let grants = client.get("/v1/views/access-grants/model%3Am1").await.unwrap();
        match application {
            Application::OpenWebUi012 => assert_eq!(grants.status, 200),
            _ => expect_problem(&grants, 404, "not-in-this-schema").unwrap(),
        }
        assert_eq!(
            client.get("/v1/users/u2").await.unwrap().status,
            200,
            "the connection or the sidecar has suffered"
        );
    }
}

#[tokio::test]
async fn headers_given_twice_too_large_or_no_http_at_all_are_refused() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await.unwrap();
    let mut client = house.sidecars[0].api();
    let twice = [
        ("Neverstale-Consistency", "minimize-latency"),
        ("Neverstale-Consistency", "fully-consistent"),
    ];
    expect_problem(
        &client.get_with("/v1/users/u2", &twice).await.unwrap(),
        400,
        "malformed",
    )
    .unwrap();
    let large = "x".repeat(40_000);
    let answer = client.get_with("/v1/users/u2", &[("X-Large", &large)]).await.unwrap();
    expect_problem(&answer, 431, "too-large").unwrap();
    let chunked = b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}x\r\n0\r\n\r\n";
    expect_problem(&client.send_raw(chunked, false).await.unwrap(), 400, "malformed").unwrap();
    // Nothing worse than a refusal comes of what is no HTTP.
    let garbage = client.send_raw(b"\x16\x03\x01 garbage\r\n\r\n", false).await;
    assert!(garbage.is_err() || garbage.is_ok_and(|answer| answer.status == 400));
    assert_eq!(house.sidecars[0].get("/v1/users/u2").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(1)
        .with("NEVERSTALE_API__BODY_BYTES_MAX", 2_048)
        .open()
        .await
        .unwrap();
    let mut request = b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..5 {
        request.extend_from_slice(format!("200\r\n{}\r\n", " ".repeat(512)).as_bytes());
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let answer = house.sidecars[0].api().send_raw(&request, false).await.unwrap();
    expect_problem(&answer, 413, "too-large").unwrap();
}

#[tokio::test]
async fn a_token_is_asked_for_over_tcp_when_there_is_a_file_of_them() {
    let scratch = Scratch::new().unwrap();
    let file = scratch.path().join("tokens");
    std::fs::write(&file, "first-token\nsecond-token\n").unwrap();
    let house = Plan::of(Application::Naga0518)
        .sidecars(1)
        .with("NEVERSTALE_API__TOKEN_FILE", file.display())
        .open()
        .await
        .unwrap();
    let mut client = house.sidecars[0].api();
    let secret = "/v1/users/u2/virtual-keys/rag.openai_api_key";
    for path in [
        "/v1/users/u2",
        secret,
        "/v1/position",
        "/v1/nothing",
        "/v1/events",
        "/openapi.json",
    ] {
        let answer = client.get(path).await.unwrap();
        expect_problem(&answer, 401, "unauthorised").unwrap();
        assert!(
            answer.header("www-authenticate").unwrap().starts_with("Bearer"),
            "{path}"
        );
    }
    for wrong in ["Bearer third-token", "Bearer ", "Basic first-token", "first-token"] {
        let answer = client
            .get_with("/v1/users/u2", &[("Authorization", wrong)])
            .await
            .unwrap();
        expect_problem(&answer, 401, "unauthorised").unwrap();
    }
    for right in ["Bearer first-token", "bearer second-token"] {
        let answer = client.get_with(secret, &[("Authorization", right)]).await.unwrap();
        assert_eq!(
            (
                answer.status,
                answer.json().unwrap()["value"].as_str().map(|key| &key[..3])
            ),
            (200, Some("sk-"))
        );
    }
    // The socket's file mode is its guard.
    assert_eq!(trusted(&house.sidecars[0]).get(secret).await.unwrap().status, 200);
    let log = house.sidecars[0].log();
    assert!(
        !log.contains("-token\"") && !log.contains("first-token") && !log.contains("sk-of-user"),
        "a secret is in the log:\n{log}"
    );
}

#[tokio::test]
async fn a_secret_goes_to_the_socket_and_not_to_a_stranger() {
    for (application, path) in [
        (Application::Naga0518, "/v1/users/u2/virtual-keys/rag.openai_api_key"),
        (Application::OpenWebUi06, "/v1/users/u2/virtual-keys/rag.openai_api_key"),
        (
            Application::OpenWebUi012,
            "/v1/users/u2/virtual-keys/rag.openai.api_key",
        ),
    ] {
        let house = Plan::of(application).sidecars(1).open().await.unwrap();
        if application == Application::OpenWebUi012 {
            house
                .write("INSERT INTO config (key, value) VALUES ('rag.openai.api_key', '\"sk-secret\"')")
                .await
                .unwrap();
        }
        let mut stranger = house.sidecars[0].api();
        let mut client = trusted(&house.sidecars[0]);
        // Before it is cached, and after.
        for _ in 0..2 {
            expect_problem(&stranger.get(path).await.unwrap(), 403, "secret-needs-token").unwrap();
            let answer = client.get(path).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.json().unwrap()["value"].as_str().unwrap().starts_with("sk-"));
        }
        for open in [
            "/v1/config",
            "/v1/users/u2/settings",
            "/v1/users/u2/virtual-keys",
            "/v1/users/u1/settings",
        ] {
            let answer = stranger.get(open).await.unwrap();
            assert!(
                answer.status == 200 && !answer.text().contains("sk-"),
                "{open}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn a_silent_postgres_means_504_at_the_deadline_and_503_after_the_limit() {
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[("fsync", "off")])
        .await
        .unwrap();
    let plan = Plan::of(Application::OpenWebUi012).lease_ms(0).sidecars(1);
    let plan = plan
        .with("NEVERSTALE_DATABASE__STATEMENT_TIMEOUT_MS", 700)
        .with("NEVERSTALE_DATABASE__CONNECT_TIMEOUT_MS", 300)
        .with("NEVERSTALE_FEED__STALENESS_BOUND_MS", 60_000)
        .with("NEVERSTALE_API__REQUESTS_IN_FLIGHT_MAX", 2);
    let house = plan.open_on(&postgres).await.unwrap();
    let mut client = house.sidecars[0].api();
    assert_eq!(role(&client.get("/v1/users/u2/role").await.unwrap()).unwrap(), "user");
    postgres.pause().unwrap();
    let began = Instant::now();
    let late = client
        .get_with("/v1/users/u2/role", &[("Neverstale-Timeout-Ms", "100")])
        .await
        .unwrap();
    expect_problem(&late, 504, "deadline-exceeded").unwrap();
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    // While it is not known yet that nobody will be answered, the third that waits is too many.
    let [mut one, mut two] = [house.sidecars[0].api(), house.sidecars[0].api()];
    let wait = [("Neverstale-Timeout-Ms", "500")];
    let third = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.get_with("/v1/users/u3/role", &wait).await
    };
    let (_, _, third) = tokio::join!(
        one.get_with("/v1/users/u4", &wait),
        two.get_with("/v1/users/u5", &wait),
        third
    );
    expect_problem(&third.unwrap(), 429, "too-many-requests").unwrap();
    let patient = [("Neverstale-Timeout-Ms", "20000")];
    let unavailable = client.get_with("/v1/users/u2/role", &patient).await.unwrap();
    expect_problem(&unavailable, 503, "unavailable").unwrap();
    let ready = house.sidecars[0].admin().get("/readyz").await.unwrap();
    assert_eq!(
        ready.status,
        503,
        "a sidecar that can't reach its primary calls itself ready: {}",
        ready.text()
    );
    // A request that allows it goes on within the bound, and is told so; nobody else sees anything.
    let weaker = [("Neverstale-Consistency", "minimize-latency")];
    let answer = client.get_with("/v1/users/u2/role", &weaker).await.unwrap();
    assert_eq!(
        (answer.status, answer.header("neverstale-consistency")),
        (200, Some("minimize-latency"))
    );
    postgres.resume().unwrap();
}
