//! What the fault tests rely on: servers come back with every commit, and standbys follow.

use std::time::Duration;

use tokio_postgres::Client;

use super::{Postgres, PostgresVersion};

async fn count(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_commit_outlives_a_killed_postmaster_and_a_crash() {
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[]).await.unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    postgres.kill_nine().await.unwrap();
    postgres.start_again().await.unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
    postgres.crash().await.unwrap();
    postgres.start_again().await.unwrap();
    postgres.restart().await.unwrap();
    assert_eq!(count(&postgres.connect("postgres").await.unwrap()).await, 2);
}

#[tokio::test]
async fn a_paused_server_answers_again_when_resumed() {
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[("fsync", "off")])
        .await
        .unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    postgres.pause().unwrap();
    let unanswered = tokio::time::timeout(Duration::from_millis(100), client.query_one("SELECT 1", &[])).await;
    assert!(unanswered.is_err());
    postgres.resume().unwrap();
    client.query_one("SELECT 1", &[]).await.unwrap();
}

#[tokio::test]
async fn a_promoted_standby_takes_writes() {
    let primary = Postgres::start(PostgresVersion::from_environment(), &[("fsync", "off")])
        .await
        .unwrap();
    let client = primary.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let standby = primary.standby().await.unwrap();
    let reader = standby.connect("postgres").await.unwrap();
    assert!(reader.batch_execute("INSERT INTO t VALUES (2)").await.is_err());
    standby.promote().await.unwrap();
    reader.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
    assert_eq!((count(&reader).await, count(&client).await), (2, 1));
}
