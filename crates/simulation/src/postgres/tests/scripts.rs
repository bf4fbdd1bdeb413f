//! The scripts.

use std::{sync::Arc, time::Duration};

use neverstale_coherence::{Incarnation, Moment, Position, SettleAnswer};
use neverstale_installation::verify;
use neverstale_postgres::{FeedConnection, FillPool, Statements};
use tokio::time::{sleep, timeout};

use super::{
    super::SCHEMA,
    stage::{PERSON, START, Stage, TEAM, Told, begin},
};
use crate::flavour;

/// Asks everything that readers rest on.
async fn look(told: &mut Told, feed: &FeedConnection, fills: &FillPool, statements: &Arc<Statements>) {
    told.fence(&feed.fence().await.unwrap());
    told.page(&feed.log_page(START, 100).await.unwrap());
    for (view, key) in [(PERSON, "p1"), (PERSON, "p3"), (TEAM, "t1"), (TEAM, "t2")] {
        let filled = fills.fill(statements, view, &[key.to_owned()]).await.unwrap();
        told.filled(&[filled]);
    }
    let (p1, t1) = (["p1".to_owned()], ["t1".to_owned()]);
    let reads: [(_, &[String]); 3] = [(PERSON, &p1), (TEAM, &t1), (PERSON, &p1)];
    told.filled(&fills.fill_many(statements, &reads).await.unwrap());
}

pub(super) async fn commits(stage: &Stage, told: &mut Told) {
    let (feed, statements) = stage.feed().await;
    let (fills, writer) = (stage.fills(), stage.client().await);
    told.outset(&feed.outset().await.unwrap());
    look(told, &feed, &fills, &statements).await;
    for sql in [
        "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
        "UPDATE person SET noise = noise + 1 WHERE id = 'p1'",
        "UPDATE person SET version = version + 1, team_id = 't2' WHERE id = 'p1' RETURNING version",
        "UPDATE person SET version = version + 1 WHERE id IN ('p1', 'p2', 'p9') RETURNING version",
        "INSERT INTO person (id, version, team_id) VALUES ('p1', 7, 't1')",
        "DELETE FROM person WHERE id = 'p3'",
        "INSERT INTO person (id, version, team_id) VALUES ('p3', 7, 't2')",
        "SELECT version FROM person WHERE id = 'p3'",
    ] {
        told.say(&writer, sql).await;
        look(told, &feed, &fills, &statements).await;
    }
    // One transaction: nothing of it shows before its end, and an error undoes all of it.
    for sql in [
        "BEGIN",
        "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
        "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
        "SELECT version FROM person WHERE id = 'p1'",
        "COMMIT",
        "BEGIN",
        "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
        "INSERT INTO person (id, version, team_id) VALUES ('p2', 7, 't1')",
        "SELECT version FROM person WHERE id = 'p1'",
        "COMMIT",
        "BEGIN",
        "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
        "ROLLBACK",
        "UPDATE person SET version = version + 1 WHERE id = 'p1'; DELETE FROM person WHERE id = 'p1'",
    ] {
        told.say(&writer, sql).await;
        look(told, &feed, &fills, &statements).await;
    }
    told.page(&feed.log_page(Position(3), 2).await.unwrap());
}

/// Waits until so many intents are outstanding, and gives the settlement that says so.
async fn until_outstanding(feed: &FeedConnection, incarnation: Incarnation, count: usize) -> SettleAnswer {
    let lock_class = feed.outset().await.unwrap().lock_class;
    let looking = async {
        loop {
            let settled = feed
                .settle(incarnation, lock_class, Moment::default, || ())
                .await
                .unwrap();
            let (_, answer) = settled.expect("the same incarnation");
            // The newest intent is read before the locks, so a writer that has just come shows in these alone.
            let is_told = answer.outstanding.iter().all(|low| u64::from(*low) <= answer.intent.0);
            if answer.outstanding.len() == count && is_told {
                return answer;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), looking).await.expect("they come")
}

pub(super) async fn announcements(stage: &Stage, told: &mut Told) {
    let (feed, statements) = stage.feed().await;
    let fills = stage.fills();
    let (first, second) = (Arc::new(stage.client().await), Arc::new(stage.client().await));
    let incarnation = feed.outset().await.unwrap().incarnation;
    told.fence(&feed.fence().await.unwrap());
    let one = begin(
        &first,
        "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
    );
    told.settlement(&until_outstanding(&feed, incarnation, 1).await);
    told.fence(&feed.fence().await.unwrap());
    let two = begin(
        &second,
        "UPDATE person SET version = version + 1, team_id = 't2' WHERE id = 'p2' RETURNING version",
    );
    told.settlement(&until_outstanding(&feed, incarnation, 2).await);
    look(told, &feed, &fills, &statements).await;
    told.ended("one", one).await;
    told.ended("two", two).await;
    told.settlement(&until_outstanding(&feed, incarnation, 0).await);
    look(told, &feed, &fills, &statements).await;
}

pub(super) async fn ended_writer(stage: &Stage, told: &mut Told) {
    let (feed, _) = stage.feed().await;
    let (victim, other) = (Arc::new(stage.client().await), stage.client().await);
    let incarnation = feed.outset().await.unwrap().incarnation;
    let rows = victim.simple_query("SELECT pg_backend_pid()").await.unwrap();
    let pid = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    let commit = begin(
        &victim,
        "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
    );
    told.settlement(&until_outstanding(&feed, incarnation, 1).await);
    let sql = format!("SELECT pg_terminate_backend({})", pid.unwrap());
    other.simple_query(&sql).await.unwrap();
    told.ended("commit", commit).await;
    told.settlement(&until_outstanding(&feed, incarnation, 0).await);
    told.say(&other, "SELECT version FROM person WHERE id = 'p1'").await;
    told.say(
        &other,
        "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
    )
    .await;
    told.page(&feed.log_page(START, 10).await.unwrap());
}

pub(super) async fn row_locks(stage: &Stage, told: &mut Told) {
    let (first, second) = (Arc::new(stage.client().await), Arc::new(stage.client().await));
    told.say(&first, "BEGIN").await;
    told.say(
        &first,
        "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
    )
    .await;
    let waiting = begin(
        &second,
        "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
    );
    told.say(&first, "SELECT version FROM person WHERE id = 'p1'").await;
    sleep(Duration::from_millis(100)).await;
    told.tell(format!("the second one is done: {}", waiting.is_finished()));
    told.say(&first, "COMMIT").await;
    told.ended("the second one", waiting).await;
    told.say(&second, "SELECT version FROM person WHERE id = 'p1'").await;
}

pub(super) async fn bells(stage: &Stage, told: &mut Told) {
    let writer = stage.client().await;
    let mut listener = stage.listener().await;
    for sql in [
        "UPDATE person SET noise = noise + 1 WHERE id = 'p1'",
        "BEGIN; UPDATE person SET version = version + 1 WHERE id = 'p1'; ROLLBACK",
        "UPDATE person SET version = version + 1 WHERE id = 'p1'",
        "UPDATE person SET version = version + 1 WHERE id = 'p9'",
    ] {
        told.say(&writer, sql).await;
        // A bell that was rung comes before the answer to what is asked afterwards.
        listener.ping().await.unwrap();
        let rung = timeout(Duration::from_millis(50), listener.bell()).await;
        told.tell(format!("rung: {:?}", rung.ok()));
    }
}

pub(super) async fn pruning(stage: &Stage, told: &mut Told) {
    let (feed, _) = stage.feed().await;
    let writer = stage.client().await;
    told.outset(&feed.outset().await.unwrap());
    for _ in 0..5 {
        told.say(&writer, "UPDATE person SET version = version + 1 WHERE id = 'p1'")
            .await;
    }
    for keep in [10, 3, 3, 1, 0] {
        feed.connection().prune(keep).await.unwrap();
        told.page(&feed.log_page(START, 10).await.unwrap());
        told.outset(&feed.outset().await.unwrap());
    }
}

pub(super) async fn triggers(stage: &Stage, told: &mut Told) {
    let (feed, _) = stage.feed().await;
    let (writer, operator) = (stage.client().await, Arc::new(stage.client().await));
    told.outset(&feed.outset().await.unwrap());
    told.say(&writer, "BEGIN").await;
    told.say(&writer, "UPDATE person SET version = version + 1 WHERE id = 'p1'")
        .await;
    let disabling = begin(&operator, "ALTER TABLE person DISABLE TRIGGER neverstale_update");
    sleep(Duration::from_millis(100)).await;
    told.tell(format!("it is altered under a writer: {}", disabling.is_finished()));
    told.say(&writer, "COMMIT").await;
    told.ended("the triggers are disabled", disabling).await;
    for sql in [
        "UPDATE person SET version = version + 1 WHERE id = 'p1'",
        "ALTER TABLE person ENABLE ALWAYS TRIGGER neverstale_update",
        "UPDATE person SET version = version + 1 WHERE id = 'p1'",
    ] {
        told.fence(&feed.fence().await.unwrap());
        told.page(&feed.log_page(START, 10).await.unwrap());
        let verdict = verify(feed.connection().client(), &flavour(), SCHEMA).await.unwrap();
        told.tell(format!("whole: {}", verdict.is_green()));
        told.say(&operator, sql).await;
    }
    told.fence(&feed.fence().await.unwrap());
    told.page(&feed.log_page(START, 10).await.unwrap());
}

pub(super) async fn sessions(stage: &Stage, told: &mut Told) {
    let (feed, _) = stage.feed().await;
    let outset = feed.outset().await.unwrap();
    told.outset(&outset);
    let (other, _) = stage.feed().await;
    for feed in [&feed, &other, &feed] {
        told.tell(format!("relay: {}", feed.try_relay(outset.lock_class).await.unwrap()));
    }
    told.refused("fence", other.fence().await);
    other
        .connection()
        .client()
        .batch_execute("SET row_security = on")
        .await
        .unwrap();
    told.refused("fence with settings lost", other.fence().await);
    drop(other);
    feed.begin_anew().await.unwrap();
    told.fence(&feed.fence().await.unwrap());
    let (third, _) = stage.feed().await;
    told.outset(&third.outset().await.unwrap());
}

pub(super) async fn crashes(stage: &Stage, told: &mut Told) {
    for is_crash in [true, false, true] {
        let (feed, statements) = stage.feed().await;
        let writer = stage.client().await;
        let before = feed.outset().await.unwrap();
        told.tell(format!("relay: {}", feed.try_relay(before.lock_class).await.unwrap()));
        told.say(
            &writer,
            "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
        )
        .await;
        let acknowledged = feed.fence().await.unwrap();
        let open = stage.client().await;
        told.say(&open, "BEGIN").await;
        told.say(
            &open,
            "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
        )
        .await;
        if is_crash {
            stage.crash().await;
        } else {
            stage.restart().await;
        }
        told.tell(format!("the feed has lost its server: {}", feed.fence().await.is_err()));
        let (feed, _) = stage.feed().await;
        let after = feed.outset().await.unwrap();
        told.tell(format!(
            "another incarnation: {}, the log as it was: {}",
            after.incarnation != before.incarnation,
            after.newest == acknowledged.position
        ));
        let filled = stage
            .fills()
            .fill(&statements, PERSON, &["p1".to_owned()])
            .await
            .unwrap();
        told.tell(format!("{:?}", filled.body));
        let writer = stage.client().await;
        told.say(
            &writer,
            "UPDATE person SET version = version + 1 WHERE id = 'p1' RETURNING version",
        )
        .await;
        let later = feed.fence().await.unwrap();
        told.tell(format!("positions go on: {}", later.position > acknowledged.position));
        told.tell(format!("intents stay: {}", later.intent >= acknowledged.intent));
    }
}
