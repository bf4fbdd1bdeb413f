//! Stage two: positions, intents, marks and locks at commit.

use std::time::{Duration, Instant};

use anyhow::Result;
use neverstale_installation::{prune, set_lease};
use tokio_postgres::{Client, error::SqlState};

use crate::app::{App, column};

const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2";

#[tokio::test]
async fn the_first_intent_and_the_first_position_can_be_told_from_none() -> Result<()> {
    // [3]
    let app = App::installed().await?;
    assert_eq!(
        column(
            &app.owner,
            "SELECT is_called FROM neverstale.intent UNION ALL SELECT is_called FROM neverstale.position"
        )
        .await?,
        ["t", "t"]
    );
    set_lease(&app.owner, 20).await?;
    let before = app.number("SELECT last_value FROM neverstale.intent").await?;
    app.owner
        .batch_execute("UPDATE app.post SET title = 'x' WHERE id = 1")
        .await?;
    assert_eq!(
        app.number("SELECT last_value FROM neverstale.intent").await?,
        before + 1
    );
    assert_eq!(app.number("SELECT intent FROM neverstale.log").await?, before + 1);
    Ok(())
}

#[tokio::test]
async fn without_a_commit_wait_there_is_no_intent() -> Result<()> {
    let app = App::installed().await?;
    app.owner
        .batch_execute("UPDATE app.post SET title = 'x' WHERE id = 1")
        .await?;
    assert_eq!(column(&app.owner, "SELECT intent FROM neverstale.log").await?, ["NULL"]);
    Ok(())
}

#[tokio::test]
async fn a_commit_names_its_intent_and_its_tags_while_it_waits() -> Result<()> {
    // [10, 19]
    let app = App::installed().await?;
    set_lease(&app.owner, 300).await?;
    let writer = app.connect().await?;
    let begin = Instant::now();
    let write = writer.batch_execute("UPDATE app.post SET title = 'x' WHERE id IN (1, 101)");
    let look = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let sql = "SELECT classid::bigint - lock_class || ' ' || objid::int || ' ' || mode FROM pg_locks, neverstale.installation
                   WHERE locktype = 'advisory' AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   ORDER BY classid::bigint, objid";
        column(&app.owner, sql).await
    };
    let (written, locks) = tokio::join!(write, look);
    written?;
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
    let mark = |tag: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, tag.as_bytes());
        u32::from_be_bytes(digest.as_ref()[..4].try_into().expect("four bytes"))
    };
    let mut marks = [mark("post.id:1"), mark("post.id:101")];
    marks.sort_unstable();
    let mut expected = vec!["0 0 ShareLock".to_owned(), "1 2 ShareLock".to_owned()];
    expected.extend(marks.map(|mark| format!("2 {} ShareLock", mark as i32)));
    assert_eq!(locks?, expected);
    assert_eq!(column(&app.owner, LOCKS).await?, ["0"]);
    Ok(())
}

#[tokio::test]
async fn a_rewound_sequence_refuses_the_commit_and_install_mends_it() -> Result<()> {
    // [2]
    let app = App::installed().await?;
    for title in ["a", "b", "c"] {
        app.owner
            .batch_execute(&format!("UPDATE app.post SET title = '{title}' WHERE id = 1"))
            .await?;
    }
    app.owner
        .batch_execute("SELECT setval('neverstale.position', 1)")
        .await?;
    let refused = app
        .owner
        .batch_execute("UPDATE app.post SET title = 'd' WHERE id = 1")
        .await
        .expect_err("it is refused");
    assert_eq!(
        refused.code(),
        Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE),
        "{refused}"
    );
    assert_eq!(
        column(&app.owner, "SELECT title FROM app.post WHERE id = 1").await?,
        ["c"]
    );
    assert!(app.verify().await?.to_string().contains("behind the log"));
    app.install().await?;
    assert!(app.verify().await?.is_green());
    assert_eq!(
        app.tags_of("UPDATE app.post SET title = 'd' WHERE id = 1").await?,
        ["post.id:1"]
    );
    Ok(())
}

#[tokio::test]
async fn constraints_made_immediate_in_mid_transaction_hold_no_lock() -> Result<()> {
    // [18]
    let app = App::installed().await?;
    let writer = app.connect().await?;
    let script = [
        "BEGIN",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "UPDATE app.post SET title = 'x' WHERE id = 1",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "UPDATE app.post SET title = 'y' WHERE id = 101",
    ];
    for statement in script {
        writer.batch_execute(statement).await?;
        assert_eq!(column(&app.owner, LOCKS).await?, ["0"], "after {statement}");
    }
    let begin = Instant::now();
    app.owner
        .batch_execute(r#"UPDATE app."user" SET role = 'x' WHERE id = 'u1'"#)
        .await?;
    assert!(begin.elapsed() < Duration::from_millis(500));
    assert_eq!(app.tags_by(&writer, "COMMIT").await?, ["post.id:1", "post.id:101"]);
    assert_eq!(app.number("SELECT count(*) FROM neverstale.seal").await?, 0);
    Ok(())
}

#[tokio::test]
async fn the_order_lock_is_taken_behind_deferred_foreign_keys() -> Result<()> {
    // [18]: before two-stage publishing these two were a deadlock.
    let app = App::start().await?;
    let tables = "CREATE TABLE app.parent (id int PRIMARY KEY);
                  CREATE TABLE app.child (parent int REFERENCES app.parent DEFERRABLE INITIALLY DEFERRED); INSERT INTO app.parent VALUES (1)";
    app.owner.batch_execute(tables).await?;
    app.install().await?;
    for immediate_before in ["", "SET CONSTRAINTS ALL IMMEDIATE"] {
        let (a, b) = (app.connect().await?, app.connect().await?);
        a.batch_execute("BEGIN").await?;
        a.batch_execute(immediate_before).await?;
        a.batch_execute(r#"UPDATE app."user" SET role = role || 'a' WHERE id = 'u1'"#)
            .await?;
        a.batch_execute("SET CONSTRAINTS ALL DEFERRED").await?;
        a.batch_execute("INSERT INTO app.child VALUES (1)").await?;
        b.batch_execute(
            r#"BEGIN; SELECT FROM app.parent FOR UPDATE; UPDATE app."user" SET role = role || 'b' WHERE id = 'u2'"#,
        )
        .await?;
        let later = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            b.batch_execute("COMMIT").await
        };
        let (a, b) = tokio::join!(a.batch_execute("COMMIT"), later);
        a?;
        b?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bulk_update_keeps_nobody_waiting_at_its_commit() -> Result<()> {
    // [18]
    let app = App::installed().await?;
    app.owner.batch_execute(r#"INSERT INTO app."user" (id, role) SELECT 'b' || i, 'user' FROM generate_series(1, 50000) AS i; ANALYZE app."user""#).await?;
    let bulk = app.connect().await?;
    bulk.batch_execute("BEGIN").await?;
    bulk.batch_execute(r#"UPDATE app."user" SET role = 'bulk' WHERE id LIKE 'b%'"#)
        .await?;
    let commit = timed(&bulk, "COMMIT");
    let others = async {
        let mut longest = Duration::ZERO;
        for i in 0..30 {
            longest = longest.max(timed(&app.owner, &format!("UPDATE app.post SET title = '{i}' WHERE id = 1")).await?);
        }
        anyhow::Ok(longest)
    };
    let (commit, others) = tokio::join!(commit, others);
    let (commit, others) = (commit?, others?);
    assert!(
        commit < Duration::from_millis(500),
        "commit of the bulk update took {commit:?}"
    );
    assert!(others < Duration::from_millis(500), "another commit took {others:?}");
    Ok(())
}

async fn timed(client: &Client, sql: &str) -> Result<Duration> {
    let begin = Instant::now();
    client.batch_execute(sql).await?;
    Ok(begin.elapsed())
}

#[tokio::test]
async fn a_savepoint_rolled_back_publishes_only_what_is_left() -> Result<()> {
    // [18]
    let app = App::installed().await?;
    let script = "BEGIN; SAVEPOINT s; UPDATE app.post SET title = 'x' WHERE id = 1; ROLLBACK TO s; UPDATE app.post SET title = 'x' WHERE id = 101; COMMIT";
    assert_eq!(app.tags_of(script).await?, ["post.id:101"]);
    let script = "BEGIN; UPDATE app.post SET title = 'y' WHERE id = 1; SAVEPOINT s; TRUNCATE app.post; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO s; UPDATE app.post SET title = 'y' WHERE id = 101; COMMIT";
    assert_eq!(app.tags_of(script).await?, ["post.id:1", "post.id:101"]);
    let before = app.newest().await?;
    app.owner
        .batch_execute("BEGIN; SAVEPOINT s; UPDATE app.post SET title = 'z'; ROLLBACK TO s; COMMIT")
        .await?;
    app.owner
        .batch_execute("BEGIN; UPDATE app.post SET title = 'z'; ROLLBACK")
        .await?;
    assert_eq!(app.newest().await?, before);
    assert_eq!(app.number("SELECT count(*) FROM neverstale.seal").await?, 0);
    Ok(())
}

#[tokio::test]
async fn tags_that_another_deferred_trigger_adds_are_published() -> Result<()> {
    // [10]
    let app = App::start().await?;
    let trigger = "CREATE TABLE app.job (id int);
                   CREATE FUNCTION app.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE app.post SET title = title || '!' WHERE id = 101; RETURN NULL; END $$;
                   CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.job DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.late()";
    app.owner.batch_execute(trigger).await?;
    app.install().await?;
    let both = ["post.id:1", "post.id:101"];
    assert_eq!(
        app.tags_of("BEGIN; UPDATE app.post SET title = 'x' WHERE id = 1; INSERT INTO app.job VALUES (1); COMMIT")
            .await?,
        both
    );
    assert_eq!(
        app.tags_of("BEGIN; INSERT INTO app.job VALUES (1); UPDATE app.post SET title = 'y' WHERE id = 1; COMMIT")
            .await?,
        both
    );
    assert_eq!(app.tags_of("INSERT INTO app.job VALUES (1)").await?, ["post.id:101"]);
    Ok(())
}

/// P18. A writer never hangs on us. Taking its turn has a time limit: a watched commit may fail, in the way that any
/// commit may fail on a lock timeout, and the application's retry applies. A change of the application's schema makes
/// no write fail in our triggers.
#[tokio::test]
async fn a_commit_that_cannot_have_the_order_lock_fails_and_leaves_nothing() -> Result<()> {
    // [18]: a cancel works while it waits, as the lock timeout does.
    let app = App::installed().await?;
    let holder = app.connect().await?;
    holder
        .batch_execute("BEGIN; SELECT pg_advisory_xact_lock(lock_class, 1) FROM neverstale.installation")
        .await?;
    let writer = app.connect().await?;
    let cancel = writer.cancel_token();
    let write = writer.batch_execute("UPDATE app.post SET title = 'x' WHERE id = 1");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel_query(tokio_postgres::NoTls).await
    };
    let (write, stop) = tokio::join!(write, stop);
    stop?;
    assert_eq!(
        write.expect_err("it was cancelled").code(),
        Some(&SqlState::QUERY_CANCELED)
    );
    let config = column(
        &app.owner,
        "SELECT unnest(proconfig) FROM pg_proc WHERE oid = 'neverstale.publish'::regproc",
    )
    .await?;
    assert_eq!(config, ["search_path=pg_catalog, pg_temp", "lock_timeout=10s"]);
    assert_eq!(app.newest().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_writer_without_rights_on_the_schema_can_write() -> Result<()> {
    // [21]
    let app = App::installed().await?;
    app.superuser()
        .await?
        .batch_execute("CREATE ROLE writer LOGIN; GRANT USAGE ON SCHEMA app TO writer; GRANT ALL ON app.post TO writer")
        .await?;
    let writer = app.server.connect("writer", "app").await?;
    writer
        .batch_execute(
            "SET search_path = ''; CREATE TEMP TABLE seal (xid xid8); CREATE TEMP TABLE tag (xid xid8, tag text)",
        )
        .await?;
    assert_eq!(
        app.tags_by(&writer, "UPDATE app.post SET title = 'x' WHERE id = 1")
            .await?,
        ["post.id:1"]
    );
    assert_eq!(app.tags_by(&writer, "TRUNCATE app.post").await?, ["post:*"]);
    assert!(writer.batch_execute("SELECT 1 FROM neverstale.log").await.is_err());
    Ok(())
}

/// L8. No two-phase commit on watched tables. Postgres refuses `PREPARE TRANSACTION` after a `NOTIFY`.
#[tokio::test]
async fn two_phase_commit_of_a_watched_row_is_refused() -> Result<()> {
    // [22]
    let app = App::installed().await?;
    let refused = app
        .owner
        .batch_execute("BEGIN; UPDATE app.post SET title = 'x' WHERE id = 1; PREPARE TRANSACTION 'two'")
        .await;
    assert_eq!(
        refused.expect_err("it is refused").code(),
        Some(&SqlState::FEATURE_NOT_SUPPORTED)
    );
    app.owner
        .batch_execute("ROLLBACK; BEGIN; UPDATE app.post SET noise = 3; PREPARE TRANSACTION 'two'")
        .await?;
    app.owner.batch_execute("COMMIT PREPARED 'two'").await?;
    Ok(())
}

#[tokio::test]
async fn repeatable_read_and_serializable_writers_draw_their_position_at_commit() -> Result<()> {
    let app = App::installed().await?;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let writer = app.connect().await?;
        writer
            .batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT FROM app.post"))
            .await?;
        app.owner
            .batch_execute(r#"UPDATE app."user" SET role = role || '!' WHERE id = 'u1'"#)
            .await?;
        let before = app.newest().await?;
        writer
            .batch_execute("UPDATE app.post SET title = title || '!' WHERE id = 1")
            .await?;
        writer.batch_execute("COMMIT").await?;
        assert_eq!(app.newest().await?, before + 1, "{level}");
    }
    Ok(())
}

#[tokio::test]
async fn pruning_keeps_the_newest_and_says_how_far_it_went() -> Result<()> {
    // [13, 27]
    let app = App::installed().await?;
    assert_eq!(prune(&app.owner, 0).await?, 0);
    for i in 0..10 {
        app.owner
            .batch_execute(&format!("UPDATE app.post SET title = '{i}' WHERE id = 1"))
            .await?;
    }
    let newest = app.newest().await?;
    let running = app.connect().await?;
    running
        .batch_execute("BEGIN; UPDATE app.post SET title = 'r' WHERE id = 101")
        .await?;
    assert_eq!(prune(&app.owner, 4).await?, 6);
    assert_eq!(app.number("SELECT pruned_to FROM neverstale.pruned").await?, newest - 4);
    assert_eq!(
        app.number("SELECT min(position) FROM neverstale.log").await?,
        newest - 3
    );
    assert_eq!(app.number("SELECT count(*) FROM neverstale.tag").await?, 4);
    assert_eq!(app.tags_by(&running, "COMMIT").await?, ["post.id:101"]);
    assert_eq!(prune(&app.owner, 0).await?, 4);
    assert_eq!(app.number("SELECT count(*) FROM neverstale.log").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_crash_gives_a_new_boot_id_and_a_filled_one_is_kept() -> Result<()> {
    // [1]
    let mut app = App::installed().await?;
    let boot = "SELECT neverstale.boot()";
    let before = column(&app.owner, boot).await?;
    assert_eq!(column(&app.owner, boot).await?, before);
    app.owner
        .batch_execute("CHECKPOINT")
        .await
        .expect_err("the owner is no superuser");
    app.server.crash().await?;
    app.owner = app.connect().await?;
    assert_eq!(app.number("SELECT count(*) FROM neverstale.boot").await?, 0);
    let after = column(&app.owner, boot).await?;
    assert_ne!(after, before);
    assert_eq!(column(&app.owner, boot).await?, after);
    assert!(app.verify().await?.is_green());
    Ok(())
}

#[tokio::test]
async fn the_lock_class_is_not_a_small_number_and_sequences_cache_one() -> Result<()> {
    // [27]
    let app = App::installed().await?;
    assert!(
        app.number("SELECT lock_class::bigint FROM neverstale.installation")
            .await?
            > 1 << 24
    );
    let caches = column(
        &app.owner,
        "SELECT seqcache FROM pg_sequence WHERE seqrelid::regclass::text LIKE 'neverstale.%'",
    )
    .await?;
    assert_eq!(caches, ["1", "1", "1"]);
    assert_eq!(
        column(
            &app.owner,
            "SELECT relpersistence FROM pg_class WHERE oid = 'neverstale.boot'::regclass"
        )
        .await?,
        ["u"]
    );
    Ok(())
}
