//! The stream of events: what it tells, how it goes on where it was, and how it says that it can't.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{Application, EventLines, Sidecar};
use serde_json::Value;
use tokio::time::timeout;

use super::{expect_problem, token};
use crate::house::{House, Plan};

#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

/// The next event that is no sign of life.
async fn next(lines: &mut EventLines) -> Result<Event> {
    loop {
        let event = any(lines).await?;
        if event.name != "heartbeat" {
            return Ok(event);
        }
    }
}

async fn any(lines: &mut EventLines) -> Result<Event> {
    let (mut name, mut id, mut data) = (String::new(), String::new(), Value::Null);
    loop {
        let line = timeout(Duration::from_secs(10), lines.next())
            .await
            .context("no event came")??;
        let line = line.context("the stream ended")?;
        if line.is_empty() && !name.is_empty() {
            return Ok(Event { name, id, data });
        }
        match line.split_once(": ") {
            Some(("event", text)) => text.clone_into(&mut name),
            Some(("id", text)) => text.clone_into(&mut id),
            Some(("data", text)) => data = serde_json::from_str(text)?,
            _ => ensure!(line.is_empty() || line.starts_with(':'), "a strange line: {line}"),
        }
    }
}

/// P21. Events tell what they miss. The stream of `GET /v1/events` names every watched commit once and in order; where
/// it can't, it says `gap` or `incarnation` instead of leaving something out.
#[tokio::test]
async fn every_watched_commit_is_told_once_in_order_and_a_caller_goes_on_where_it_was() {
    for application in Application::ALL {
        let house = Plan::of(application).sidecars(1).open().await.unwrap();
        let client = house.sidecars[0].api();
        let mut events = client.events("/v1/events", &[]).await.unwrap();
        let first = any(&mut events).await.unwrap();
        assert_eq!(first.name, "heartbeat", "{first:?}");
        let mut told = Vec::new();
        for (user, role) in [("u2", "admin"), ("u3", "admin"), ("u2", "user")] {
            house.set_role(user, role).await.unwrap();
            let event = next(&mut events).await.unwrap();
            assert_eq!(
                (event.name.as_str(), event.data["position"].as_str()),
                ("invalidation", Some(event.id.as_str())),
                "{event:?}"
            );
            let tags = event.data["tags"].as_array().unwrap();
            assert!(tags.contains(&Value::from(format!("user.id:{user}"))), "{tags:?}");
            told.push(event.id);
        }
        assert!(
            told.is_sorted() || told.windows(2).all(|pair| pair[0] != pair[1]),
            "{told:?}"
        );
        drop(events);
        // While nobody listened.
        house.set_role("u3", "user").await.unwrap();
        let path = format!("/v1/events?since={}", told[0]);
        let mut resumed = client.events(&path, &[]).await.unwrap();
        for expected in &told[1..] {
            assert_eq!(next(&mut resumed).await.unwrap().id, *expected);
        }
        assert!(
            next(&mut resumed).await.unwrap().data["tags"]
                .as_array()
                .unwrap()
                .contains(&Value::from("user.id:u3"))
        );
        // What a browser sends when it comes back counts before the query.
        let mut resumed = client.events(&path, &[("Last-Event-ID", &told[1])]).await.unwrap();
        assert_eq!(next(&mut resumed).await.unwrap().id, told[2]);
    }
}

#[tokio::test]
async fn where_the_log_no_longer_reaches_back_there_is_a_gap() {
    let mut house = Plan::of(Application::OpenWebUi012).sidecars(0).open().await.unwrap();
    let write = async |house: &House| {
        house
            .write("UPDATE \"user\" SET name = name || '.' WHERE id = 'u2'")
            .await
            .unwrap()
    };
    for _ in 0..3 {
        write(&house).await;
    }
    house.write("SELECT neverstale.prune(1)").await.unwrap();
    house.sidecars.push(Sidecar::start(&house.options).await.unwrap());
    let client = house.sidecars[0].api();
    let known = token(&house.sidecars[0].get("/v1/users/u2").await.unwrap()).unwrap();
    let (incarnation, _) = known.split_once('-').unwrap();
    let pruned = format!("{incarnation}-1");
    let of_another = format!("{}-5", "0".repeat(32));
    for since in [pruned, of_another] {
        let mut events = client.events(&format!("/v1/events?since={since}"), &[]).await.unwrap();
        let event = next(&mut events).await.unwrap();
        assert!(
            ["gap", "incarnation"].contains(&event.name.as_str()),
            "{since}: {event:?}"
        );
        // From here on it is complete.
        write(&house).await;
        assert_eq!(next(&mut events).await.unwrap().name, "invalidation");
    }
}

#[tokio::test]
async fn more_followers_than_the_limit_are_refused() {
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(1)
        .with("NEVERSTALE_API__EVENT_SUBSCRIBERS_MAX", 1)
        .open()
        .await
        .unwrap();
    let client = house.sidecars[0].api();
    let first = client.events("/v1/events", &[]).await.unwrap();
    expect_problem(
        &house.sidecars[0].get("/v1/events").await.unwrap(),
        429,
        "too-many-requests",
    )
    .unwrap();
    drop(first);
    crate::house::until("the place is free again", Duration::from_secs(5), async || {
        Ok(client.events("/v1/events", &[]).await.is_ok())
    })
    .await
    .unwrap();
}
