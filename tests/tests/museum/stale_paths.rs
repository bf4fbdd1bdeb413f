//! Invalidation by whoever remembers to: five stale paths of NAGA's cache beside its fill race.
//!
//! (The fill race is `fill_race.rs`.) Ours is the real binary here, two of it, on NAGA's own schema.

use std::time::Duration;

use neverstale_testkit::{Application, Link, Redis, Sidecar, SidecarOptions};
use serde_json::Value;

use crate::{
    house::House,
    naive::{get_or_set::GetOrSet, hand_placed::HandPlaced, tracked::Connection},
};

const AUTH: (&str, &str) = (
    "cache:auth:user:u2",
    "SELECT name || ', ' || role FROM \"user\" WHERE id = 'u2'",
);
const ROLE: (&str, &str) = ("cache:user:role:u2", "SELECT role::text FROM \"user\" WHERE id = 'u2'");
const PERMISSIONS: (&str, &str) = (
    "cache:user:permissions:u2",
    "SELECT coalesce(data #>> '{user,permissions}', '{}') FROM config WHERE email = 'system@default'",
);
const DEFAULTS: &str = "UPDATE config SET data = jsonb_set(data::jsonb, '{user,permissions}', '{\"museum\": true}')::json \
    WHERE email = 'system@default'";

#[tokio::test]
async fn a_naive_cache_is_stale_on_every_path_that_somebody_forgot() {
    let house = House::open(Application::Naga0518, 0).await;
    with_defaults(&house).await;
    let redis = Redis::start().await.unwrap();
    let cache = HandPlaced {
        redis: &redis,
        house: &house,
    };
    let read = async |(name, sql): (&str, &str)| cache.read(name, sql).await.unwrap();
    let truth = async |(_, sql): (&str, &str)| -> String { house.writer.query_one(sql, &[]).await.unwrap().get(0) };
    let is_stale = async |path| read(path).await != truth(path).await;

    // 1. Plain SQL, as a data editor does it, calls no function of the application.
    read(ROLE).await;
    house.set_role("u2", "admin").await;
    assert!(is_stale(ROLE).await);
    // The function that was made for it does delete the name.
    cache.update_role("u2", "pending").await.unwrap();
    assert!(!is_stale(ROLE).await && !is_stale(AUTH).await);
    // 2. The settings' function knows of the settings, not of the authenticated user who carries them too.
    cache.update_name("u2", "Another Name").await.unwrap();
    assert!(is_stale(AUTH).await);
    // 3. The general update knows of the authenticated user, not of the role.
    cache.update_user("u2", "user").await.unwrap();
    assert!(is_stale(ROLE).await && !is_stale(AUTH).await);
    // 4. Nobody thinks of users when the defaults change.
    read(PERMISSIONS).await;
    house.write(DEFAULTS).await;
    assert!(is_stale(PERMISSIONS).await);
}

/// 6. A list per process, without expiry, that is told of changes by a channel; what is said while nobody listens is lost.
#[tokio::test]
async fn a_naive_list_per_process_is_stale_for_good_when_a_message_is_lost() {
    let house = House::open(Application::Naga0518, 0).await;
    let redis = Redis::start().await.unwrap();
    let link = Link::to(redis.port()).await.unwrap();
    let cache = GetOrSet::default();
    let subscribe = async || {
        let mut channel = Connection::to(link.port()).await.unwrap();
        channel.send(&["SUBSCRIBE", "models:invalidate"]).await.unwrap();
        channel.reply().await.unwrap();
        channel
    };
    let mut channel = subscribe().await;
    cache.get_or_set("u2", house_role(&house)).await;
    link.reset();
    assert!(channel.reply().await.is_err(), "the connection is cut");
    house.set_role("u2", "admin").await;
    let listeners = redis.command(&["PUBLISH", "models:invalidate", "u2"]).await.unwrap();
    assert_eq!(listeners, "0");
    // It listens again, to nothing that is still to come about this change.
    let _channel = subscribe().await;
    assert_eq!(
        (cache.get("u2").as_deref(), house.role("u2").await.as_str()),
        (Some("user"), "admin")
    );
}

#[tokio::test]
async fn ours_is_new_on_every_path_after_every_one_of_these_writes() {
    let house = House::open(Application::Naga0518, 20).await;
    with_defaults(&house).await;
    let redis = Redis::start().await.unwrap();
    let options = SidecarOptions::new(house.database.url())
        .with_redis(redis.url())
        .with("NEVERSTALE_REDIS__BUDGET_MS", 100);
    let sidecars = [
        Sidecar::start(&options).await.unwrap(),
        Sidecar::start(&options).await.unwrap(),
    ];
    // Whatever depends on the row, by every path and on each sidecar, in memory and in Redis before the write.
    let read = async |sidecar: &Sidecar, path: &str| -> Value {
        let mut client = sidecar.api().with_timeout(Duration::from_secs(20));
        let answer = client
            .get_with(path, &[("Neverstale-Timeout-Ms", "20000")])
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json().unwrap()
    };
    let email: String = {
        let row = house
            .writer
            .query_one("SELECT email::text FROM \"user\" WHERE id = 'u2'", &[]);
        row.await.unwrap().get(0)
    };
    let paths = [
        "/v1/users/u2".to_owned(),
        "/v1/users/u2/role".to_owned(),
        format!("/v1/users/by-email/{email}"),
        "/v1/users/u2/permissions".to_owned(),
    ];
    let writes: [(&str, &str, &[(usize, &str, Value)]); 5] = [
        (
            "plain SQL",
            "UPDATE \"user\" SET role = 'admin' WHERE id = 'u2'",
            &[
                (0, "/role", "admin".into()),
                (1, "/role", "admin".into()),
                (2, "/role", "admin".into()),
            ],
        ),
        (
            "the settings' function, here of a column that is served",
            "UPDATE \"user\" SET name = 'Another Name' WHERE id = 'u2'",
            &[(0, "/name", "Another Name".into()), (2, "/name", "Another Name".into())],
        ),
        (
            "the general update",
            "UPDATE \"user\" SET role = 'user' WHERE id = 'u2'",
            &[
                (0, "/role", "user".into()),
                (1, "/role", "user".into()),
                (2, "/role", "user".into()),
            ],
        ),
        ("the defaults change", DEFAULTS, &[(3, "/museum", true.into())]),
        (
            "every message is lost",
            "UPDATE \"user\" SET role = 'pending' WHERE id = 'u2'",
            &[(0, "/role", "pending".into()), (1, "/role", "pending".into())],
        ),
    ];
    for (what, sql, expected) in writes {
        for sidecar in &sidecars {
            for path in &paths {
                read(sidecar, path).await;
            }
        }
        if what == "every message is lost" {
            redis.kill_nine().await.unwrap();
            let deaf = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE datname = current_database() AND query LIKE '%LISTEN%' AND pid <> pg_backend_pid()";
            house.write(deaf).await;
        }
        house.write(sql).await;
        for sidecar in &sidecars {
            for (path, member, value) in expected {
                let body = read(sidecar, &paths[*path]).await;
                assert_eq!(body.pointer(member), Some(value), "{what}: {}: {body}", paths[*path]);
            }
        }
    }
}

async fn with_defaults(house: &House) {
    let sql = "INSERT INTO config (email, data, version) SELECT 'system@default', '{}', 0 \
        WHERE NOT EXISTS (SELECT 1 FROM config WHERE email = 'system@default'); \
        UPDATE config SET data = jsonb_set(data::jsonb, '{user}', coalesce(data::jsonb -> 'user', '{}'))::json \
        WHERE email = 'system@default'";
    house.write(sql).await;
}

async fn house_role(house: &House) -> String {
    house.role("u2").await
}
