//! Autocompletion and titles, bodies that two could read in two ways, validators of lists, and routes that nobody knows.

use neverstale_testkit::{Answer, Application};
use serde_json::{Value, json};

use super::{Doors, actors::actors, world::id_of};

fn bearer(application: Application, name: &str) -> String {
    let actors = actors(application);
    let actor = actors
        .iter()
        .find(|actor| actor.name == name)
        .expect("an actor of that name");
    actor.header.clone().expect("he shows something")
}

async fn post(doors: &Doors, who: &str, path: &str, body: &str) -> Answer {
    let token = bearer(Application::OpenWebUi012, who);
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
    doors
        .client(0)
        .send("POST", path, &headers, body.as_bytes())
        .await
        .unwrap()
}

async fn get(doors: &Doors, who: &str, path: &str, more: &[(&str, &str)]) -> Answer {
    let token = bearer(Application::OpenWebUi012, who);
    let mut headers = vec![("Authorization", token.as_str())];
    headers.extend(more);
    doors.client(0).get_with(path, &headers).await.unwrap()
}

#[tokio::test]
async fn autocompletion_is_answered_as_the_application_does_when_it_is_off() {
    let doors = Doors::open(Application::OpenWebUi012, 1, &[]).await.unwrap();
    let answer = post(
        &doors,
        "super admin",
        "/api/v1/tasks/auto/completions",
        r#"{"model": "ma"}"#,
    )
    .await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (400, r#"{"detail":"Autocompletion generation is disabled"}"#)
    );
    assert_eq!(doors.upstream.take_reached(), []);
    assert_eq!(doors.counted("answered").await.unwrap(), 1);
}

#[tokio::test]
async fn titles_are_made_by_one_model_for_whom_may_use_it_and_for_nobody_else() {
    let doors = Doors::open(Application::OpenWebUi012, 1, &[("TITLE_MODEL", "ma")])
        .await
        .unwrap();
    doors.upstream.will_answer("{}", false);
    let title = "/api/v1/tasks/title/completions";
    let asked = r#"{"stream": false,  "model": "mb", "messages": []}"#;
    let answer = post(&doors, "member of A's group", title, asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let reached = doors.upstream.take_reached();
    assert_eq!(reached[0].body, asked.replace("mb", "ma"), "nothing else is changed");
    let answer = post(&doors, "outsider", title, r#"{"model": "mb"}"#).await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, r#"{"detail":"Title generation is disabled"}"#)
    );
    assert_eq!(doors.upstream.take_reached(), []);

    // In the course of a chat the application makes the title: it is left out for whom may not use the model.
    doors.house.write("INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at)
        VALUES ('all', 'model', 'mb', 'user', '*', 'read', 1)").await.unwrap();
    let chat = r#"{"model": "mb", "background_tasks": {"title_generation": true, "tags_generation": true}}"#;
    for (who, body) in [
        ("member of A's group", chat.to_owned()),
        ("outsider", chat.replacen("true", "false", 1)),
    ] {
        assert_eq!(
            post(&doors, who, "/api/chat/completions", chat).await.status,
            200,
            "{who}"
        );
        assert_eq!(doors.upstream.take_reached()[0].body, body, "{who}");
    }
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused_and_reaches_nobody() {
    let doors = Doors::open(Application::OpenWebUi012, 1, &[]).await.unwrap();
    let chat = "/api/chat/completions";
    assert_eq!(
        post(&doors, "member of A's group", chat, r#"{"model": "ma"}"#)
            .await
            .status,
        200,
        "the test can fail"
    );
    doors.upstream.take_reached();
    for body in [
        r#"{"model": "ma", "model": "mb"}"#,
        r#"{"model": "ma", "\u006dodel": "mb"}"#,
        r#"{"model": "ma", "filter_ids": "fb"}"#,
        r#"{"model": "ma", "filter_ids": {"fb": 1}}"#,
        r#"{"model": "ma"} {"model": "mb"}"#,
        "{\"model\": \"ma\", \"x\": NaN}",
        "model=ma",
    ] {
        let answer = post(&doors, "member of A's group", chat, body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    for (body, path) in [
        (r#"{"model": "ma", "filter_ids": ["fb"]}"#, chat),
        (r#"{"model": "ma", "tool_ids": ["tb"]}"#, chat),
        (
            r#"{"model": "ma", "message_ids": [{"model_id": "mb", "message_id": "x"}]}"#,
            chat,
        ),
        (
            r#"{"model": "mine", "model_item": {"direct": true, "id": "mine", "info": {"meta": {"filterIds": ["fb"]}}}}"#,
            chat,
        ),
        (r#"{"model": "fb"}"#, chat),
        (r#"{"model": "fb.part"}"#, chat),
        (r#"{"model": "ma"}"#, "/api/chat/actions/fb.part"),
        (r#"{"model": "mb"}"#, "/openai/chat/completions"),
        (r#"{"model": "mb"}"#, "/ollama/api/chat/0"),
    ] {
        let answer = post(&doors, "member of A's group", path, body).await;
        assert_eq!(answer.status, 403, "{path} {body}: {}", answer.text());
    }
    let twice = get(&doors, "member of A's group", "/api/v1/models/model?id=ma&id=mb", &[]).await;
    assert_eq!(twice.status, 400);
    assert_eq!(doors.upstream.take_reached(), []);
}

/// What is named in the request is what runs; a chat that is stored could be changed between our look and the application's.
#[tokio::test]
async fn a_chat_is_compacted_with_the_model_that_the_request_names_or_not_at_all() {
    let doors = Doors::open(Application::OpenWebUi012, 1, &[]).await.unwrap();
    let path = "/api/v1/chats/some-chat/compact";
    let member = "member of A's group";
    assert_eq!(post(&doors, member, path, r#"{"model": "ma"}"#).await.status, 200);
    doors.upstream.take_reached();
    for body in [
        "",
        "{}",
        r#"{"model": null}"#,
        r#"{"model": ""}"#,
        r#"{"model": false}"#,
    ] {
        let answer = post(&doors, member, path, body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    assert_eq!(post(&doors, member, path, r#"{"model": "mb"}"#).await.status, 403);
    doors
        .house
        .write("DELETE FROM access_grant WHERE id = 'model-a'")
        .await
        .unwrap();
    assert_eq!(post(&doors, member, path, r#"{"model": "ma"}"#).await.status, 403);
    assert_eq!(doors.upstream.take_reached(), []);
}

#[tokio::test]
async fn a_model_that_is_mentioned_in_a_channel_is_one_that_the_writer_may_use() {
    let doors = Doors::open(Application::OpenWebUi012, 1, &[]).await.unwrap();
    let path = "/api/v1/channels/some-channel/messages/post";
    let member = "member of A's group";
    for content in ["hello", "<@M:ma|A>, are you there?", "<@U:u5|you>", ""] {
        let body = json!({"content": content}).to_string();
        assert_eq!(post(&doors, member, path, &body).await.status, 200, "{content}");
    }
    doors.upstream.take_reached();
    for content in ["<@M:ma|A> and <@M:mb|B>", "<@M:fb.part>", "<@U:x<@M:mb|>", "<@M:mb"] {
        let body = json!({"content": content}).to_string();
        assert_eq!(post(&doors, member, path, &body).await.status, 403, "{content}");
    }
    assert_eq!(doors.upstream.take_reached(), []);
}

#[tokio::test]
async fn routes_that_nobody_knows_are_for_admins_where_others_are_guarded() {
    let doors = Doors::open(Application::OpenWebUi012, 1, &[]).await.unwrap();
    let unknown = "/api/v1/functions/id/fa/everything";
    for (who, path, status) in [
        ("outsider", unknown, 401),
        ("outsider", "/api/v9/keys", 401),
        ("admin B", unknown, 200),
        ("outsider", "/assets/page.js", 200),
        ("outsider", "/api/v1/functions", 200),
    ] {
        doors.upstream.will_answer("[]", false);
        assert_eq!(get(&doors, who, path, &[]).await.status, status, "{who} {path}");
    }
    let doors = Doors::open(Application::OpenWebUi012, 1, &[("UNKNOWN_ROUTES_ALLOWED", "true")])
        .await
        .unwrap();
    assert_eq!(
        get(&doors, "outsider", unknown, &[]).await.status,
        200,
        "as an operator has set it"
    );
}

/// A list is told by what of it is shown: a right that ends changes the answer, though the application's own list stays.
#[tokio::test]
async fn a_validator_does_not_outlive_a_right() {
    let doors = Doors::open(Application::OpenWebUi012, 1, &[]).await.unwrap();
    let (fa, fb) = (id_of("function", "a"), id_of("function", "b"));
    let whole = json!([{"id": fa, "valves": {"key": "secret"}}, {"id": fb, "valves": {"key": "secret"}}]);
    doors.upstream.will_answer(whole.to_string(), true);
    let path = "/api/v1/functions/";
    let first = get(&doors, "member of A's group", path, &[]).await;
    assert_eq!(first.json().unwrap(), json!([{"id": fa, "valves": {"key": "secret"}}]));
    let etag = first.header("etag").unwrap().to_owned();
    assert_ne!(etag, "\"of-the-application\"");
    let condition = [("If-None-Match", etag.as_str())];
    assert_eq!(get(&doors, "member of A's group", path, &condition).await.status, 304);
    doors
        .house
        .write("UPDATE neverstale.access_overlay SET access_control = '{}' WHERE resource_id = 'fa'")
        .await
        .unwrap();
    let after = get(&doors, "member of A's group", path, &condition).await;
    assert_eq!((after.status, after.text().as_str()), (200, "[]"));
    // Nothing is taken from who may see all of it: the application's own bytes.
    let all = get(&doors, "super admin", path, &[]).await;
    assert_eq!(all.text(), whole.to_string());
}

#[tokio::test]
async fn valves_are_hidden_from_who_may_not_read_them() {
    let doors = Doors::open(Application::OpenWebUi012, 1, &[]).await.unwrap();
    let fa = id_of("function", "a");
    doors.upstream.will_answer(
        json!([{"id": fa, "valves": {"key": "secret"}, "name": "F"}]).to_string(),
        false,
    );
    let path = "/api/v1/functions/export?include_valves=true";
    let shown = |answer: Answer| answer.json().unwrap()[0]["valves"].clone();
    assert_eq!(shown(get(&doors, "admin A", path, &[]).await), json!({"key": "secret"}));
    assert_eq!(
        shown(get(&doors, "super admin", path, &[]).await),
        json!({"key": "secret"})
    );
    assert_eq!(shown(get(&doors, "member of A's group", path, &[]).await), Value::Null);
}

/// Without a schema's own list nothing of an answer is shown: better an error than another's keys.
#[tokio::test]
async fn an_answer_that_is_not_the_list_that_it_must_be_is_not_shown() {
    let doors = Doors::open(Application::OpenWebUi012, 1, &[]).await.unwrap();
    for answer in [r#"{"functions": [{"id": "fb"}]}"#, "no json", r#""text""#] {
        doors.upstream.will_answer(answer, false);
        assert_eq!(
            get(&doors, "outsider", "/api/v1/functions/", &[]).await.status,
            503,
            "{answer}"
        );
    }
    doors
        .upstream
        .will_answer(r#"[{"id": 5}, {"name": "no id"}, "fb", null]"#, false);
    assert_eq!(get(&doors, "outsider", "/api/v1/functions/", &[]).await.text(), "[]");
}
