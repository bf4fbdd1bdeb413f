//! What Envoy is told about a request is what the door would do with it, as far as that can be done without passing it on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{Application, Client, free_port};
use serde_json::Value;

use super::{
    actors::{Actor, actors},
    expected::is_allowed,
    grpc::{Asker, Mesh, Told, raw_request, request},
    requests::routes,
};
use crate::question::session_token;

const CHAT: &str = "/api/chat/completions";

fn actor(name: &str) -> Actor {
    let actors = actors(Application::OpenWebUi012);
    actors
        .into_iter()
        .find(|actor| actor.name == name)
        .expect("an actor of that name")
}

/// Asks about a request of somebody.
async fn ask(asker: &mut Asker, who: &str, method: &str, path: &str, body: Option<&str>) -> Told {
    let credential = actor(who).header;
    let headers: Vec<(&str, &str)> = credential
        .iter()
        .map(|value| ("authorization", value.as_str()))
        .collect();
    asker.ask(request(method, path, &headers, body)).await.unwrap()
}

async fn matrix(mesh: &Mesh) -> Result<usize> {
    let application = Application::OpenWebUi012;
    let (mut asker, mut asked) = (mesh.asker().await?, 0);
    for actor in &actors(application) {
        let headers: Vec<_> = actor
            .header
            .iter()
            .map(|value| ("authorization", value.as_str()))
            .collect();
        for route in routes(application.name())?.iter().filter(|route| route.is_guarded()) {
            for owner in ["a", "b"] {
                let what = format!("{} on {} of {owner}", actor.name, route.on());
                let about = route.ask(owner);
                let (method, mut headers) = (about.method.as_str(), headers.clone());
                let method = if method == "WEBSOCKET" {
                    headers.extend([("connection", "Upgrade"), ("upgrade", "websocket")]);
                    "GET"
                } else {
                    method
                };
                let body = (!matches!(method, "GET" | "HEAD")).then(|| about.body.to_string());
                let told = asker
                    .ask(request(method, &about.target, &headers, body.as_deref()))
                    .await?;
                asked += 1;
                let (is_list, sees_all) = (route.rule.get("list").is_some(), actor.user == Some("u1"));
                let may_pass = is_allowed(application, route, actor, owner) && (!is_list || sees_all);
                ensure!(
                    told.status.is_none() == may_pass,
                    "{what}: must{} pass: {told:?}",
                    if may_pass { "" } else { " not" }
                );
                if may_pass {
                    continue;
                }
                let (status, detail) = (told.status, told.json()?["detail"].clone());
                ensure!(
                    matches!(status, Some(401 | 403)) && detail.is_string(),
                    "{what}: {told:?}"
                );
                let is_named = detail
                    .as_str()
                    .is_some_and(|detail| detail.contains("ext_authz.unchanged_allowed"));
                ensure!(
                    is_named == (is_list && is_allowed(application, route, actor, owner)),
                    "{what}: {told:?}"
                );
            }
        }
    }
    Ok(asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_is_told_what_the_rules_say_and_nothing_else() {
    let plain = [
        ("INGRESS__GUARD__AUTOCOMPLETION_OFF", "false"),
        ("INGRESS__GUARD__TITLE_MODEL", ""),
    ];
    let mesh = Mesh::open(&plain).await.unwrap();
    assert!(matrix(&mesh).await.unwrap() > 3_000);
    assert!(mesh.counted("allowed").await.unwrap() > 300 && mesh.counted("unchanged").await.unwrap() > 10);
    let log = mesh.sidecar().log();
    assert!(
        log.contains("a request is not allowed") && !log.contains("Bearer"),
        "{log}"
    );
}

/// The same request, refused by the door and by what Envoy is told, with the same words.
#[tokio::test]
async fn what_is_ambiguous_is_refused_with_the_words_of_the_door() {
    let port = free_port().unwrap();
    let mesh = Mesh::open(&[("INGRESS__LISTEN", &format!("127.0.0.1:{port}"))])
        .await
        .unwrap();
    let (mut asker, long) = (mesh.asker().await.unwrap(), format!("/{}", "a".repeat(9_000)));
    let mut seen = std::collections::BTreeSet::new();
    for (method, path, more) in [
        ("GET", "/api//v1/users/", &[][..]),
        ("GET", "/static/../api/v1/users/", &[]),
        ("GET", "/static/%2e%2e/api/v1/users/", &[]),
        ("GET", "/static%2fapi", &[]),
        ("GET", "/static%252fapi", &[]),
        ("GET", "/api/v1;x=1/users/", &[]),
        ("GET", "/api/v1/users%00", &[]),
        ("GET", &long, &[]),
        ("TRACE", "/api/v1/users/", &[]),
        ("GET", "/api/config", &[("connection", "close, authorization")]),
        (
            "GET",
            "/api/config",
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
        ),
        ("GET", "/api/v1/users/", &[]),
    ] {
        let told = asker.ask(raw_request(method, path, more)).await.unwrap();
        let mut client = Client::port(port);
        let answer = client.send(method, path, more, b"").await.unwrap();
        assert_eq!(told.status, Some(answer.status), "{method} {path} {more:?}: {told:?}");
        assert_eq!(told.body, answer.text(), "{method} {path}");
        for name in ["content-type", "cache-control", "allow"] {
            assert_eq!(told.header(name), answer.header(name), "{method} {path}: {name}");
        }
        seen.insert(answer.status);
    }
    assert_eq!(seen, [400, 401, 405, 414].into());
}

/// What Envoy makes of headers is one header or two: where that matters, it is neither.
#[tokio::test]
async fn what_envoy_may_have_joined_is_not_believed() {
    let mesh = Mesh::open(&[]).await.unwrap();
    let mut asker = mesh.asker().await.unwrap();
    let good = actor("super admin").header.unwrap();
    let token = good.trim_start_matches("Bearer ");
    let path = "/api/v1/users/u2";
    let cookie = |text: &str| text.replace("GOOD", token);
    for (name, value, status) in [
        ("authorization", good.clone(), None),
        ("authorization", format!("{good},Bearer x"), Some(400)),
        ("cookie", cookie("theme=dark; token=GOOD"), None),
        ("cookie", cookie("recent=a,b; token=GOOD"), None),
        ("cookie", cookie("token=GOOD; recent=a,token=x"), Some(400)),
        ("cookie", cookie("token=x,token=GOOD"), Some(400)),
        ("x-api-key", "sk-a,sk-b".to_owned(), Some(400)),
        ("content-length", "1,1".to_owned(), Some(400)),
        ("host", "other.example".to_owned(), Some(400)),
        ("transfer-encoding", "gzip, chunked".to_owned(), Some(400)),
    ] {
        let told = asker.ask(request("GET", path, &[(name, &value)], None)).await.unwrap();
        assert_eq!(told.status, status, "{name}: {value}: {told:?}");
    }
    let both = [
        ("content-length", "0"),
        ("transfer-encoding", "chunked"),
        ("authorization", &*good),
    ];
    assert_eq!(
        asker.ask(request("GET", path, &both, None)).await.unwrap().status,
        Some(400)
    );
    let mut fragment = request("GET", "/api/v1/users/u2#/../x", &[("authorization", &good)], None);
    assert_eq!(asker.ask(fragment.clone()).await.unwrap().status, Some(400));
    fragment.path = String::new();
    assert_eq!(asker.ask(fragment).await.unwrap().status, Some(400));
}

#[tokio::test]
async fn a_body_is_judged_only_if_all_of_it_is_there() {
    let mesh = Mesh::open(&[("INGRESS__JUDGED_BYTES_MAX", "2048")]).await.unwrap();
    let mut asker = mesh.asker().await.unwrap();
    let credential = actor("member of A's group").header.unwrap();
    let headers = [("authorization", credential.as_str())];
    let whole = request("POST", CHAT, &headers, Some(r#"{"model": "ma"}"#));
    assert_eq!(asker.ask(whole.clone()).await.unwrap().status, None);
    let mut text = whole.clone();
    text.body = String::from_utf8(std::mem::take(&mut text.raw_body)).unwrap();
    assert_eq!(asker.ask(text).await.unwrap().status, None, "as text");
    let other = request("POST", CHAT, &headers, Some(r#"{"model": "mb"}"#));
    assert_eq!(asker.ask(other).await.unwrap().status, Some(403));

    let mut partial = whole.clone();
    partial
        .headers
        .insert("x-envoy-auth-partial-body".into(), "true".into());
    let mut absent = whole.clone();
    absent.raw_body.clear();
    let mut shorter = whole.clone();
    shorter.headers.insert("content-length".into(), "9000".into());
    let mut unknown = whole.clone();
    unknown.headers.remove("content-length");
    unknown.headers.remove("x-envoy-auth-partial-body");
    let mut silent = unknown.clone();
    (silent.protocol, silent.raw_body) = ("HTTP/2".into(), Vec::new());
    silent
        .headers
        .insert("x-envoy-auth-partial-body".into(), "false".into());
    for in_part in [partial, absent, shorter, unknown, silent] {
        let told = asker.ask(in_part).await.unwrap();
        assert_eq!(told.status, Some(503), "{told:?}");
        let detail = told.json().unwrap()["detail"].to_string();
        assert!(
            detail.contains("with_request_body") && detail.contains("max_request_bytes: 2048"),
            "{detail}"
        );
    }
    assert_eq!(mesh.counted("no-body").await.unwrap(), 5);
    let large = format!(r#"{{"model": "ma", "x": "{}"}}"#, "x".repeat(2_048));
    assert_eq!(
        asker
            .ask(request("POST", CHAT, &headers, Some(&large)))
            .await
            .unwrap()
            .status,
        Some(413)
    );
    let huge = "x".repeat(400 * 1024);
    assert!(
        asker.ask(request("POST", CHAT, &headers, Some(&huge))).await.is_err(),
        "a message over the limit is no answer"
    );
}

/// What the guard answers itself is a finished answer, whatever its status.
#[tokio::test]
async fn envoy_is_given_finished_answers() {
    let mesh = Mesh::open(&[("INGRESS__GUARD__TITLE_MODEL", "ma")]).await.unwrap();
    let mut asker = mesh.asker().await.unwrap();
    let path = "/api/v1/tasks/auto/completions";
    let told = ask(&mut asker, "super admin", "POST", path, Some(r#"{"model": "ma"}"#)).await;
    assert_eq!(
        (told.status, told.body.as_str()),
        (Some(400), r#"{"detail":"Autocompletion generation is disabled"}"#)
    );
    let title = "/api/v1/tasks/title/completions";
    let told = ask(&mut asker, "outsider", "POST", title, Some(r#"{"model": "mb"}"#)).await;
    assert_eq!(
        (told.status, told.body.as_str()),
        (Some(200), r#"{"detail":"Title generation is disabled"}"#)
    );
    assert_eq!(told.header("content-type"), Some("application/json"));
    assert_eq!(mesh.counted("answered").await.unwrap(), 2);
}

/// What the door would change passes as it is where an operator says so, and is judged as it is.
#[tokio::test]
async fn what_the_door_would_change_is_refused_unless_an_operator_lets_it_be() {
    let title = "/api/v1/tasks/title/completions";
    let (mine, other) = (r#"{"model": "ma"}"#, r#"{"model": "mb"}"#);
    for (is_allowed, expected) in [("false", Some(403)), ("true", None)] {
        let mesh = Mesh::open(&[
            ("INGRESS__GUARD__TITLE_MODEL", "ma"),
            ("EXT_AUTHZ__UNCHANGED_ALLOWED", is_allowed),
        ])
        .await
        .unwrap();
        let mut asker = mesh.asker().await.unwrap();
        let member = "member of A's group";
        assert_eq!(
            ask(&mut asker, member, "GET", "/api/v1/functions/", None).await.status,
            expected
        );
        assert_eq!(
            ask(&mut asker, "super admin", "GET", "/api/v1/functions/", None)
                .await
                .status,
            None
        );
        // A title of the model that makes titles needs no change.
        assert_eq!(ask(&mut asker, member, "POST", title, Some(mine)).await.status, None);
        // Of another one it would be changed; let be, it is asked whether the caller may use that one.
        assert_eq!(
            ask(&mut asker, member, "POST", title, Some(other)).await.status,
            Some(403)
        );
        let chat = r#"{"model": "mb", "background_tasks": {"title_generation": true}}"#;
        assert_eq!(
            ask(&mut asker, "member of B's group", "POST", CHAT, Some(chat))
                .await
                .status,
            expected
        );
    }
}

#[tokio::test]
async fn the_application_gets_the_headers_that_the_door_would_leave() {
    let mesh = Mesh::open(&[]).await.unwrap();
    let mut asker = mesh.asker().await.unwrap();
    let (good, old) = (actor("admin A").header.unwrap(), session_token("u1", "old", None));
    let cookie = format!("theme=dark; token={old}");
    let spoofed = [
        ("x-openwebui-user-email", "admin@example.com"),
        ("x_forwarded_email", "admin@example.com"),
        ("x-forwarded-for", "192.0.2.7"),
        ("cookie", &cookie),
    ];
    // Headers that name users are taken off whether Envoy tells of them or not: its filter may hide them from us.
    let always = asker
        .ask(request("GET", "/api/config", &[], None))
        .await
        .unwrap()
        .removed;
    assert!(always.contains(&"x-openwebui-user-email".to_owned()), "{always:?}");
    let besides = |told: &Told| -> Vec<String> {
        let removed = told.removed.iter();
        removed.filter(|name| !always.contains(name)).cloned().collect()
    };
    let told = asker.ask(request("GET", "/api/config", &spoofed, None)).await.unwrap();
    assert!(always.iter().all(|name| told.removed.contains(name)), "{told:?}");
    assert_eq!(besides(&told), ["x_forwarded_email"], "{told:?}");
    assert_eq!(
        told.header("cookie"),
        Some("theme=dark"),
        "a worthless credential is taken off: {told:?}"
    );
    assert!(told.header("x-request-id").is_some_and(|id| id.len() == 32), "{told:?}");

    let with_good = [
        ("authorization", good.as_str()),
        ("cookie", &cookie),
        ("x-request-id", "mine"),
        ("x-api-key", "sk-x"),
    ];
    let told = asker
        .ask(request("GET", "/api/config", &with_good, None))
        .await
        .unwrap();
    assert_eq!(besides(&told), ["x-api-key"]);
    assert_eq!(told.headers, [("cookie".to_owned(), "theme=dark".to_owned())]);
    let alone = [("cookie", format!("token={old}"))];
    let alone: Vec<(&str, &str)> = alone.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let told = asker.ask(request("GET", "/api/config", &alone, None)).await.unwrap();
    assert_eq!(besides(&told), ["cookie"]);

    let mesh = Mesh::open(&[("EXT_AUTHZ__IDENTITY_HEADERS_TRUSTED", "true")])
        .await
        .unwrap();
    let told = mesh
        .asker()
        .await
        .unwrap()
        .ask(request("GET", "/api/config", &spoofed, None))
        .await
        .unwrap();
    assert!(told.removed.is_empty(), "{told:?}");
}

/// A right that ends by plain SQL has ended for the next question.
#[tokio::test]
async fn the_first_question_after_a_right_has_ended_is_answered_no() {
    let mesh = Mesh::open(&[]).await.unwrap();
    let mut asker = mesh.asker().await.unwrap();
    let rights = [
        (
            "DELETE FROM access_grant WHERE id = 'model-a'",
            "INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at)
             VALUES ('model-a', 'model', 'ma', 'group', 'team-a', 'read', 1)",
        ),
        (
            "DELETE FROM group_member WHERE group_id = 'team-a'",
            "INSERT INTO group_member (id, group_id, user_id, created_at, updated_at) VALUES ('team-a', 'team-a', 'u4', 1, 1)",
        ),
        (
            "UPDATE \"user\" SET role = 'pending' WHERE id = 'u4'",
            "UPDATE \"user\" SET role = 'user' WHERE id = 'u4'",
        ),
        (
            "UPDATE auth SET active = false WHERE id = 'u4'",
            "UPDATE auth SET active = true WHERE id = 'u4'",
        ),
    ];
    for number in 0..120 {
        let (ends, begins) = rights[number % rights.len()];
        let about = Some(r#"{"model": "ma"}"#);
        let before = ask(&mut asker, "member of A's group", "POST", CHAT, about).await;
        assert_eq!(before.status, None, "try {number}, before {ends}: {before:?}");
        mesh.doors.house.write(ends).await.unwrap();
        let after = ask(&mut asker, "member of A's group", "POST", CHAT, about).await;
        assert!(
            matches!(after.status, Some(401 | 403)),
            "try {number}, after {ends}: {after:?}"
        );
        mesh.doors.house.write(begins).await.unwrap();
    }
}

/// Without the safeguard: where nothing is asked, everything passes.
#[tokio::test]
async fn whoever_only_observes_lets_pass_and_writes_down() {
    let mesh = Mesh::open(&[("INGRESS__GUARD__MODE", "observe")]).await.unwrap();
    let mut asker = mesh.asker().await.unwrap();
    let told = ask(&mut asker, "outsider", "DELETE", "/api/v1/functions/id/fa/delete", None).await;
    assert_eq!(told.status, None);
    let problem = |value: &Value| value["detail"].as_str().map(str::to_owned);
    let told = ask(&mut asker, "outsider", "GET", "/api//v1", None).await;
    assert_eq!(
        told.status,
        Some(400),
        "what could be read in two ways is no decision: {told:?}"
    );
    assert!(problem(&told.json().unwrap()).is_some());
    crate::house::until("it is written down", Duration::from_secs(5), async || {
        Ok(mesh.sidecar().log().contains("DELETE /api/v1/functions/id/{id}/delete"))
    })
    .await
    .context("in observe mode")
    .unwrap();
}
