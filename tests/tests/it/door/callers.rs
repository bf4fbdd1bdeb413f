//! Who asks is known, from facts that are never stale; and where it can't be known, what needs a decision is shut.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use neverstale_testkit::{Answer, Client, Postgres, PostgresVersion, api_key};
use serde_json::json;

use super::Door;
use crate::{
    contract::expect_problem,
    house::until,
    question::{SESSION_SECRET, session_token},
};

/// Asks with a bearer token, and says whether the application was shown it.
async fn is_shown(client: &mut Client, token: &str) -> bool {
    let answer = client
        .get_with("/api/v1/auths/", &[("Authorization", &format!("Bearer {token}"))])
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().contains(token)
}

async fn callers(door: &Door, kind: &str) -> usize {
    door.counted(&format!("neverstale_ingress_callers_total{{caller=\"{kind}\"}}"))
        .await
        .unwrap()
}

/// A session that ends by plain SQL is worth nothing from the next request on, whoever else believes it.
#[tokio::test]
async fn a_revoked_session_is_worth_nothing_at_the_next_request() {
    let door = Door::open().await.unwrap();
    let mut client = door.client();
    let token = session_token("u2", "stamp-2", None);
    assert!(is_shown(&mut client, &token).await);
    let cookie = format!("theme=dark; token={token}");
    for (ends, begins) in [
        (
            "UPDATE auth SET session_stamp = 'other' WHERE id = 'u2'",
            "UPDATE auth SET session_stamp = 'stamp-2' WHERE id = 'u2'",
        ),
        (
            "UPDATE auth SET active = false WHERE id = 'u2'",
            "UPDATE auth SET active = true WHERE id = 'u2'",
        ),
    ] {
        for _ in 0..20 {
            door.house.write(ends).await.unwrap();
            assert!(!is_shown(&mut client, &token).await, "after {ends}");
            let by_cookie = client
                .get_with("/api/v1/auths/", &[("Cookie", &cookie)])
                .await
                .unwrap()
                .text();
            assert!(
                !by_cookie.contains(&token) && by_cookie.contains("theme=dark"),
                "{by_cookie}"
            );
            door.house.write(begins).await.unwrap();
            assert!(is_shown(&mut client, &token).await, "after {begins}");
        }
    }
    assert_eq!(
        (callers(&door, "pretender").await, callers(&door, "session").await),
        (80, 41)
    );
}

#[tokio::test]
async fn a_deleted_api_key_is_worth_nothing_at_the_next_request() {
    let door = Door::open().await.unwrap();
    let (mut client, key) = (door.client(), api_key(2));
    let by_header = async |client: &mut Client| -> bool {
        let answer: Answer = client.get_with("/api/models", &[("X-API-Key", &key)]).await.unwrap();
        answer.text().contains(&key)
    };
    for round in 0..20 {
        assert!(
            is_shown(&mut client, &key).await && by_header(&mut client).await,
            "{round}"
        );
        door.house
            .write(&format!("UPDATE api_key SET key = 'x' || key WHERE key = '{key}'"))
            .await
            .unwrap();
        assert!(
            !is_shown(&mut client, &key).await && !by_header(&mut client).await,
            "{round}"
        );
        door.house
            .write(&format!("UPDATE api_key SET key = '{key}' WHERE key = 'x{key}'"))
            .await
            .unwrap();
    }
    assert_eq!(callers(&door, "api-key").await, 40);
}

#[tokio::test]
async fn a_forged_token_is_worth_nothing() {
    let door = Door::open().await.unwrap();
    let mut client = door.client();
    let claims = json!({"id": "u1", "session_stamp": "stamp-1"});
    let signed = |algorithm, secret: &str| {
        encode(
            &Header::new(algorithm),
            &claims,
            &EncodingKey::from_secret(secret.as_bytes()),
        )
        .unwrap()
    };
    let good = signed(Algorithm::HS256, SESSION_SECRET);
    assert!(is_shown(&mut client, &good).await, "the test can fail");
    let (_, payload_and_signature) = good.split_once('.').unwrap();
    let (payload, signature) = payload_and_signature.split_once('.').unwrap();
    // {"alg":"none"} and {"alg":"None","typ":"JWT"}, in base64url.
    let unsigned = ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0"];
    let mut forged = vec![
        signed(Algorithm::HS256, "another secret"),
        signed(Algorithm::HS384, SESSION_SECRET),
        signed(Algorithm::HS512, SESSION_SECRET),
        format!("{good}x"),
        good[..good.len() - 2].to_owned(),
        payload.to_owned(),
        "..".to_owned(),
        "sk-".to_owned(),
        format!("sk-{}", "a".repeat(600)),
        "x".repeat(9_000),
    ];
    for header in unsigned {
        forged.push(format!("{header}.{payload}."));
        forged.push(format!("{header}.{payload}.{signature}"));
    }
    for token in &forged {
        assert!(!is_shown(&mut client, token).await, "{token}");
    }
    assert_eq!(callers(&door, "pretender").await, forged.len());
    let twice = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")];
    assert_eq!(client.get_with("/api/x", &twice).await.unwrap().status, 400);
    assert_eq!(door.refused("credentials").await.unwrap(), 1);
}

/// What was not judged does not reach an application that might believe it.
#[tokio::test]
async fn a_good_credential_does_not_carry_another_one_in() {
    let door = Door::open().await.unwrap();
    let (good, old) = (session_token("u2", "stamp-2", None), session_token("u1", "old", None));
    let headers = [
        ("Authorization", format!("Bearer {good}")),
        ("Cookie", format!("token={old}; theme=dark")),
        ("X-API-Key", api_key(1)),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let text = door.client().get_with("/api/v1/auths/", &headers).await.unwrap().text();
    assert!(text.contains(&good) && text.contains("theme=dark"), "{text}");
    assert!(!text.contains(&old) && !text.contains(&api_key(1)), "{text}");
}

/// Tokens of a part of the application that has its own are passed on unseen.
#[tokio::test]
async fn foreign_credentials_are_left_alone() {
    let door = Door::open().await.unwrap();
    let headers = [("Authorization", "Bearer of-scim")];
    let text = door
        .client()
        .get_with("/api/v1/scim/v2/Users", &headers)
        .await
        .unwrap()
        .text();
    assert!(text.contains("of-scim"), "{text}");
    let text = door.client().get_with("/api/v1/users/", &headers).await.unwrap().text();
    assert!(!text.contains("of-scim"), "{text}");
}

/// The primary hangs: nobody can be known. What everybody may have is still there.
#[tokio::test]
async fn where_nobody_can_be_known_the_door_is_shut_for_what_needs_it() {
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[("fsync", "off")])
        .await
        .unwrap();
    let door = Door::open_on(&postgres, &[("DECISION_MS", "1500")]).await.unwrap();
    let token = format!("Bearer {}", session_token("u2", "stamp-2", None));
    let headers = [("Authorization", token.as_str())];
    let mut client = door.client().with_timeout(Duration::from_secs(30));
    assert_eq!(client.get_with("/api/v1/auths/", &headers).await.unwrap().status, 200);
    postgres.pause().unwrap();
    // For as long as the lease lasts, nothing can have been committed.
    until("the lease has run out", Duration::from_secs(20), async || {
        Ok(client.get_with("/api/v1/auths/", &headers).await?.status == 503)
    })
    .await
    .unwrap();
    let reached = door.upstream.times("/api/v1/auths/");
    let refused = client.get_with("/api/v1/auths/", &headers).await;
    let (page, nobody) = (
        client.get_with("/static/app.js", &headers).await,
        client.get("/api/config").await,
    );
    postgres.resume().unwrap();
    expect_problem(&refused.unwrap(), 503, "unavailable").unwrap();
    assert_eq!((page.unwrap().status, nobody.unwrap().status), (200, 200));
    assert_eq!(
        (
            door.refused("undecided").await.unwrap(),
            callers(&door, "unknown").await
        ),
        (2, 2)
    );
    assert_eq!(door.upstream.times("/api/v1/auths/"), reached);
}
