//! One question of a person asks Postgres at a time, however many are given up on.

use std::time::Duration;

use neverstale_cache::ReadError;
use neverstale_rbac::{DecideError, People};
use neverstale_testkit::Application;
use tokio::time::{Instant, sleep};

use crate::house::{House, deadline};

/// Postgres goes on with a query that nobody waits for: whoever comes next waits for its end, and takes no second connection.
#[tokio::test]
async fn a_question_that_nobody_waits_for_keeps_its_turn_until_postgres_is_done() {
    let house = House::of(Application::OpenWebUi012, 1_000).await;
    let pod = house.pod().await;
    let locker = house.database.connect().await.unwrap();
    locker
        .batch_execute(r#"BEGIN; LOCK TABLE "user" IN ACCESS EXCLUSIVE MODE"#)
        .await
        .unwrap();
    let waiting = async || -> i64 {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        house.admin.query_one(sql, &[]).await.unwrap().get(0)
    };
    let ask = async |deadline| pod.survey.people(People::Like("u"), None, 20, deadline).await;
    let is_asked = async || {
        let until = deadline();
        while waiting().await == 0 {
            assert!(Instant::now() < until, "nothing was asked");
            sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        _ = ask(deadline()) => panic!("answered from behind a lock"),
        () = is_asked() => {}
    }
    for _ in 0..2 {
        let next = ask(Instant::now() + Duration::from_millis(300)).await;
        assert!(
            matches!(next, Err(DecideError::Facts(ReadError::Deadline))),
            "{:?}",
            next.err()
        );
    }
    assert_eq!(waiting().await, 1);
    locker.batch_execute("ROLLBACK").await.unwrap();
    ask(deadline()).await.unwrap();
}
