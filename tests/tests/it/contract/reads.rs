//! Reads: headers, conditional requests, `HEAD`, levels and tokens; and what each path shows, by snapshot.

use std::{fmt::Write, time::Duration};

use anyhow::{Result, ensure};
use neverstale_testkit::{Answer, Application};
use tokio::time::Instant;

use super::{expect_problem, position, token};
use crate::{
    house::{Plan, role, trusted, until},
    question::{Pool, Question},
};

/// One of each kind that exists, and one that does not.
const POOL: Pool = Pool {
    users: &["u3", "u2", "nobody"],
    emails: &["user2@example.com", "nobody@example.com"],
    groups: &["g4", "nothing"],
    settings: &["rag.top_k", "rag.openai_api_key"],
    keys: &["sk-00000000000000000000000000000002", "sk-nobody"],
    functions: &["nothing"],
    models: &["nothing"],
    tools: &["nothing"],
    resources: &["model:nothing"],
    stamps: &["stamp-3", "stamp-2"],
};

#[tokio::test]
async fn every_read_of_every_flavour_answers_as_written() {
    for application in Application::ALL {
        every_read(application).await.unwrap();
    }
}

async fn every_read(application: Application) -> Result<()> {
    let house = Plan::of(application).lease_ms(0).sidecars(1).open().await?;
    let mut client = trusted(&house.sidecars[0]);
    let mut shown = String::new();
    for question in POOL.questions(&house.straight.flavour) {
        let answer = question.ask(&mut client).await?;
        question.judge(&house.straight.flavour, &house.truth(&question).await?, &answer)?;
        describe(&mut shown, &question, &answer)?;
        // Nobody has no session: a refusal of the endpoint, not an answer of the cache.
        if matches!(question, Question::Session { .. }) && answer.status == 404 {
            expect_problem(&answer, 404, "not-found")?;
            continue;
        }
        expect_read(&answer)?;
        let again = question.ask(&mut client).await?;
        ensure!(
            again.header("cache-status") == Some("neverstale; hit; detail=l1"),
            "{question}: {:?}",
            again.headers
        );
        ensure!(
            again.body == answer.body && again.header("etag") == answer.header("etag"),
            "{question} differs from itself"
        );
        if let Question::Get(path) = &question {
            let etag = answer.header("etag").unwrap_or_default();
            let known = client.get_with(path, &[("If-None-Match", etag)]).await?;
            let expected = if answer.status == 200 { 304 } else { 404 };
            ensure!(known.status == expected, "{path} with its own ETag: {}", known.status);
            ensure!(
                expected != 304 || (known.body.is_empty() && known.header("etag") == Some(etag)),
                "{path}: {known:?}"
            );
            token(&known)?;
            let other = client.get_with(path, &[("If-None-Match", "\"another\"")]).await?;
            ensure!(
                other.status == answer.status,
                "{path} with another ETag: {}",
                other.status
            );
            let head = client.send("HEAD", path, &[], &[]).await?;
            ensure!(
                head.status == answer.status && head.body.is_empty(),
                "HEAD {path}: {}",
                head.status
            );
            for name in ["content-length", "content-type", "etag", "neverstale-consistency"] {
                ensure!(
                    head.header(name) == answer.header(name),
                    "HEAD {path} has another {name}: {:?}",
                    head.headers
                );
            }
        }
    }
    insta::assert_snapshot!(format!("reads_of_{}", application.name()), shown);
    Ok(())
}

fn describe(shown: &mut String, question: &Question, answer: &Answer) -> Result<()> {
    let body = answer.text();
    writeln!(
        shown,
        "{question}\n  {} {}\n  {body}",
        answer.status,
        answer.header("content-type").unwrap_or_default()
    )?;
    Ok(())
}

/// What every answer of the cache bears.
fn expect_read(answer: &Answer) -> Result<()> {
    token(answer)?;
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    ensure!(
        length == Some(answer.body.len()),
        "Content-Length: {:?}",
        answer.headers
    );
    ensure!(
        answer.header("neverstale-consistency") == Some("fully-consistent"),
        "{:?}",
        answer.headers
    );
    let status = answer.header("cache-status").unwrap_or_default();
    ensure!(
        [
            "neverstale; fwd=miss",
            "neverstale; hit; detail=l1",
            "neverstale; hit; detail=l2"
        ]
        .contains(&status),
        "Cache-Status: {status}"
    );
    let etag = answer.header("etag").unwrap_or_default();
    ensure!(
        etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'),
        "no strong ETag: {etag}"
    );
    match answer.status {
        200 => ensure!(
            answer.header("content-type") == Some("application/json"),
            "{:?}",
            answer.headers
        ),
        _ => expect_problem(answer, 404, "not-found")?,
    }
    Ok(())
}

#[tokio::test]
async fn each_level_is_kept_and_named() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(2).open().await.unwrap();
    let [mut one, mut two] = [0, 1].map(|place| house.sidecars[place].api());
    let path = "/v1/users/u2/role";
    let mut kept = async |level: &str| {
        let answer = two.get_with(path, &[("Neverstale-Consistency", level)]).await.unwrap();
        assert_eq!(answer.status, 200, "{level}: {}", answer.text());
        (
            answer.header("neverstale-consistency").unwrap().to_owned(),
            role(&answer).unwrap(),
        )
    };
    assert_eq!(kept("fully-consistent").await.0, "fully-consistent");
    assert_eq!(kept("minimize-latency").await.0, "minimize-latency");
    assert_eq!(
        kept("fully-consistent; fallback=minimize-latency").await.0,
        "fully-consistent"
    );
    // A caller's own write goes along with its token, to another sidecar.
    house.set_role("u2", "admin").await.unwrap();
    let seen = one.get(path).await.unwrap();
    assert_eq!(role(&seen).unwrap(), "admin");
    let level = format!("at-least-as-fresh={}", token(&seen).unwrap());
    assert_eq!(kept(&level).await, ("at-least-as-fresh".to_owned(), "admin".to_owned()));
    // A token of another incarnation says nothing here, so the read is a fully consistent one.
    let level = format!("at-least-as-fresh={}-1", "0".repeat(32));
    assert_eq!(kept(&level).await, ("fully-consistent".to_owned(), "admin".to_owned()));
}

#[tokio::test]
async fn a_token_that_lies_ahead_is_refused_and_not_waited_for() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await.unwrap();
    let mut client = house.sidecars[0].api();
    let known = token(&client.get("/v1/users/u2").await.unwrap()).unwrap();
    let ahead = format!(
        "at-least-as-fresh={}-{:x}",
        known.split_once('-').unwrap().0,
        position(&known).unwrap() + 1_000
    );
    let began = Instant::now();
    let refused = client
        .get_with("/v1/users/u2", &[("Neverstale-Consistency", &ahead)])
        .await
        .unwrap();
    expect_problem(&refused, 503, "unavailable").unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_position_is_a_fence_and_grows_with_every_commit() {
    let house = Plan::of(Application::Naga0518).sidecars(1).open().await.unwrap();
    let mut client = house.sidecars[0].api();
    let mut last = 0;
    for name in ["one", "two", "three"] {
        house
            .write(&format!("UPDATE \"user\" SET name = '{name}' WHERE id = 'u2'"))
            .await
            .unwrap();
        let answer = client.get("/v1/position").await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json().unwrap()["position"], token(&answer).unwrap());
        let now = position(&token(&answer).unwrap()).unwrap();
        assert!(now > last, "{now} after {last}");
        last = now;
    }
}

#[tokio::test]
async fn an_answer_in_l2_is_a_hit_for_a_sidecar_that_never_read_it() {
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(2)
        .with_redis()
        .open()
        .await
        .unwrap();
    let [mut one, mut two] = [0, 1].map(|place| house.sidecars[place].api());
    let mut number = 2;
    // Values reach Redis behind the answer, so each attempt is about a user that the second sidecar has never read.
    until("an answer comes from L2", Duration::from_secs(10), async || {
        number += 1;
        let path = format!("/v1/users/u{number}");
        one.get(&path).await?;
        tokio::time::sleep(Duration::from_millis(30)).await;
        let answer = two.get(&path).await?;
        Ok(answer.header("cache-status") == Some("neverstale; hit; detail=l2"))
    })
    .await
    .unwrap();
}
