//! What `verify` sees.

use std::time::Instant;

use anyhow::Result;
use neverstale_installation::{Problem, judge, verification_sql};

use crate::app::{App, column};

/// What is found after a statement, and that an install mends it.
async fn found_after(statement: &str) -> Result<Vec<(Problem, String)>> {
    let app = App::installed().await?;
    app.owner.batch_execute(statement).await?;
    let found = app
        .verify()
        .await?
        .findings
        .into_iter()
        .map(|finding| (finding.problem, finding.object))
        .collect();
    app.install().await?;
    assert_eq!(app.verify().await?.findings, [], "after mending: {statement}");
    let tags = app.tags_of(r#"UPDATE app.post SET title = title || 'x' WHERE id = 1; UPDATE app."user" SET name = 'x' WHERE id = 'u1'"#).await?;
    assert_eq!(
        tags,
        ["post.id:1", "user.email:user1@example.org", "user.id:u1"],
        "after mending: {statement}"
    );
    Ok(found)
}

fn one(problem: Problem, object: &str) -> Vec<(Problem, String)> {
    vec![(problem, object.to_owned())]
}

#[tokio::test]
async fn a_missing_trigger_is_found() -> Result<()> {
    let found = found_after(r#"DROP TRIGGER neverstale_row ON app."user""#).await?;
    assert_eq!(found, one(Problem::MissingTrigger, "user.neverstale_row"));
    Ok(())
}

#[tokio::test]
async fn triggers_disabled_and_enabled_by_a_restore_are_found() -> Result<()> {
    // [8]: `pg_restore --disable-triggers` leaves them enabled, but no longer ALWAYS.
    let found =
        found_after("ALTER TABLE app.api_key DISABLE TRIGGER USER; ALTER TABLE app.api_key ENABLE TRIGGER USER")
            .await?;
    let objects = [
        "api_key.neverstale_row",
        "api_key.neverstale_update",
        "api_key.neverstale_truncate",
    ];
    assert_eq!(
        found,
        objects.map(|object| (Problem::DisabledTrigger, object.to_owned()))
    );
    Ok(())
}

#[tokio::test]
async fn a_disabled_trigger_of_a_partition_is_found() -> Result<()> {
    let found = found_after("ALTER TABLE app.post_low DISABLE TRIGGER neverstale_update").await?;
    assert_eq!(found, one(Problem::DisabledTrigger, "post_low.neverstale_update"));
    Ok(())
}

#[tokio::test]
async fn a_disabled_seal_is_found() -> Result<()> {
    let found = found_after("ALTER TABLE neverstale.seal DISABLE TRIGGER neverstale_publish").await?;
    assert_eq!(
        found,
        one(Problem::DisabledTrigger, "neverstale.seal.neverstale_publish")
    );
    Ok(())
}

#[tokio::test]
async fn a_trigger_of_another_version_is_found() -> Result<()> {
    let found = found_after("COMMENT ON TRIGGER neverstale_update ON app.post IS 'Neverstale 0'").await?;
    assert_eq!(found, one(Problem::DifferentTrigger, "post.neverstale_update"));
    let replaced = r#"CREATE OR REPLACE TRIGGER neverstale_update AFTER UPDATE OF name ON app."user" FOR EACH ROW WHEN (OLD.name <> NEW.name)
                      EXECUTE FUNCTION neverstale.collect_user(); ALTER TABLE app."user" ENABLE ALWAYS TRIGGER neverstale_update"#;
    assert_eq!(
        found_after(replaced).await?,
        one(Problem::DifferentTrigger, "user.neverstale_update")
    );
    Ok(())
}

/// L12. Our own objects are not for editing. Changing the schema `neverstale` by hand (emptying `tag`, setting
/// sequences, replacing functions) breaks the ground that promises stand on. `neverstale verify` finds most of it; a
/// fence finds some of it.
#[tokio::test]
async fn a_function_changed_by_hand_is_found() -> Result<()> {
    let changed = "CREATE OR REPLACE FUNCTION neverstale.collect_user() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'";
    assert_eq!(
        found_after(changed).await?,
        one(Problem::DifferentFunction, "neverstale.\"collect_user\"()")
    );
    let changed = "ALTER FUNCTION neverstale.publish() RESET lock_timeout";
    assert_eq!(
        found_after(changed).await?,
        one(Problem::DifferentFunction, "neverstale.\"publish\"()")
    );
    Ok(())
}

#[tokio::test]
async fn a_missing_table_or_sequence_is_found() -> Result<()> {
    assert_eq!(
        found_after("DROP TABLE neverstale.pruned").await?,
        one(Problem::MissingRelation, "neverstale.pruned")
    );
    assert_eq!(
        found_after("DROP SEQUENCE neverstale.intent").await?,
        one(Problem::MissingRelation, "neverstale.intent")
    );
    let found = found_after("DROP TABLE neverstale.installation").await?;
    assert_eq!(found, one(Problem::NotInstalled, "schema neverstale"));
    Ok(())
}

#[tokio::test]
async fn a_before_trigger_added_later_is_found() -> Result<()> {
    let trigger = "CREATE FUNCTION app.before() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
                   CREATE TRIGGER before BEFORE UPDATE ON app.api_key FOR EACH ROW EXECUTE FUNCTION app.before()";
    assert_eq!(
        found_after(trigger).await?,
        one(Problem::BeforeTrigger, "api_key.neverstale_update")
    );
    Ok(())
}

#[tokio::test]
async fn a_swapped_table_is_found() -> Result<()> {
    // [8]
    let swap = "CREATE TABLE app.api_key_new (LIKE app.api_key INCLUDING ALL); ALTER TABLE app.api_key RENAME TO api_key_old; ALTER TABLE app.api_key_new RENAME TO api_key";
    let found = found_after(swap).await?;
    let objects = [
        "api_key.neverstale_row",
        "api_key.neverstale_update",
        "api_key.neverstale_truncate",
    ];
    assert_eq!(
        found,
        objects.map(|object| (Problem::MissingTrigger, object.to_owned()))
    );
    Ok(())
}

#[tokio::test]
async fn verification_is_one_cheap_statement() -> Result<()> {
    let app = App::installed().await?;
    app.owner.batch_execute("SET search_path = pg_catalog").await?;
    let sql = format!("SELECT now()::text, ({})", verification_sql(&app.flavour, "app"));
    let statement = app.owner.prepare(&sql).await?;
    let mut fastest = f64::MAX;
    for _ in 0..20 {
        let begin = Instant::now();
        let row = app.owner.query_one(&statement, &[]).await?;
        fastest = fastest.min(begin.elapsed().as_secs_f64() * 1e3);
        assert!(judge(&app.flavour, "app", row.get(1))?.is_green());
    }
    // What it costs on a busy machine is not what is meant; the bound keeps it in its order of magnitude.
    assert!(fastest < 20.0, "{fastest} ms");
    assert_eq!(column(&app.owner, "SHOW search_path").await?, ["pg_catalog"]);
    Ok(())
}
