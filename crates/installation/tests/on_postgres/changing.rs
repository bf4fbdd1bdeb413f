//! The application's schema changes under an installation [23].

use anyhow::Result;
use neverstale_flavour::Table;
use neverstale_installation::{InstallationError, Problem, install, resume, set_lease, suspend, verify};
use tokio_postgres::error::SqlState;

use crate::app::{App, column, options, rule, texts};

/// L9. Migrations of watched columns need a pause. Postgres refuses to change the type of a watched column or to drop
/// it while our triggers name it. `neverstale suspend` before and `neverstale resume` after; reads go on meanwhile,
/// uncached.
#[tokio::test]
async fn a_watched_column_cannot_change_its_type_until_suspended() -> Result<()> {
    let app = App::installed().await?;
    let migration = r#"ALTER TABLE app."user" ALTER COLUMN role TYPE varchar(20)"#;
    let refused = app.owner.batch_execute(migration).await.expect_err("it is refused");
    assert_eq!(refused.code(), Some(&SqlState::FEATURE_NOT_SUPPORTED), "{refused}");
    let refused = app
        .owner
        .batch_execute(r#"ALTER TABLE app."user" DROP COLUMN role"#)
        .await
        .expect_err("it is refused");
    assert_eq!(
        refused.code(),
        Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST),
        "{refused}"
    );

    set_lease(&app.owner, 40).await?;
    suspend(&app.owner, &app.flavour, "app", &options()).await?;
    suspend(&app.owner, &app.flavour, "app", &options()).await?;
    assert_eq!(app.verify().await?.findings[0].problem, Problem::Suspended);
    assert_eq!(
        column(
            &app.owner,
            "SELECT lease_ms || ' ' || suspended FROM neverstale.installation"
        )
        .await?,
        ["0 true"]
    );
    assert_eq!(
        column(
            &app.owner,
            "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'neverstale%' AND tgrelid::regclass::text LIKE 'app.%'"
        )
        .await?,
        ["0"]
    );
    assert!(matches!(
        app.install().await.expect_err("suspended").downcast_ref(),
        Some(InstallationError::Suspended)
    ));
    assert!(matches!(
        set_lease(&app.owner, 10).await,
        Err(InstallationError::Suspended)
    ));

    app.owner.batch_execute(migration).await?;
    let quietly = neverstale_installation::InstallOptions {
        lease_ms: None,
        ..options()
    };
    resume(&app.owner, &app.flavour, "app", &quietly).await?;
    assert_eq!(app.verify().await?.findings, []);
    assert_eq!(
        column(
            &app.owner,
            "SELECT lease_ms || ' ' || suspended FROM neverstale.installation"
        )
        .await?,
        ["40 false"]
    );
    let tags = app
        .tags_of(r#"UPDATE app."user" SET role = 'x' WHERE id = 'u1'"#)
        .await?;
    assert_eq!(tags, ["user.email:user1@example.org", "user.id:u1", "user.role:"]);
    Ok(())
}

#[tokio::test]
async fn a_renamed_key_column_publishes_the_whole_table_and_raises_nothing() -> Result<()> {
    let app = App::installed().await?;
    app.owner
        .batch_execute(r#"UPDATE app."user" SET role = 'warm' WHERE id = 'u1'"#)
        .await?;
    app.owner
        .batch_execute(r#"ALTER TABLE app."user" RENAME COLUMN email TO mail"#)
        .await?;
    for change in [
        r#"UPDATE app."user" SET role = 'x' WHERE id = 'u1'"#,
        r#"UPDATE app."user" SET mail = 'x' WHERE id = 'u1'"#,
        r#"INSERT INTO app."user" (id) VALUES ('u9')"#,
        r#"DELETE FROM app."user" WHERE id = 'u9'"#,
    ] {
        assert_eq!(app.tags_of(change).await?, ["user:*"], "{change}");
    }
    let verdict = app.verify().await?;
    assert!(
        verdict
            .findings
            .iter()
            .any(|finding| finding.problem == Problem::MissingColumn && finding.object == "user.email"),
        "{verdict}"
    );
    Ok(())
}

#[tokio::test]
async fn a_dropped_helper_function_does_not_break_a_writer() -> Result<()> {
    let app = App::installed().await?;
    app.owner
        .batch_execute("DROP FUNCTION neverstale.tag(text, text[])")
        .await?;
    assert_eq!(
        app.tags_of("UPDATE app.post SET title = 'x' WHERE id = 1").await?,
        ["post:*"]
    );
    Ok(())
}

#[tokio::test]
async fn a_partition_added_later_is_found_and_mended() -> Result<()> {
    // [8]
    let app = App::installed().await?;
    app.owner
        .batch_execute(
            "CREATE TABLE app.post_higher PARTITION OF app.post FOR VALUES FROM (200) TO (300);
             CREATE TABLE app.post_highest (LIKE app.post); ALTER TABLE app.post ATTACH PARTITION app.post_highest FOR VALUES FROM (300) TO (400)",
        )
        .await?;
    assert_eq!(
        app.tags_of("INSERT INTO app.post VALUES (201, 'a'), (301, 'b')")
            .await?,
        ["post.id:201", "post.id:301"]
    );
    let mut missing: Vec<_> = app
        .verify()
        .await?
        .findings
        .into_iter()
        .map(|finding| (finding.problem, finding.object))
        .collect();
    missing.sort_by(|one, other| one.1.cmp(&other.1));
    let expected = ["post_higher", "post_highest"]
        .map(|partition| (Problem::MissingTrigger, format!("{partition}.neverstale_truncate")));
    assert_eq!(missing, expected);
    app.install().await?;
    assert_eq!(app.verify().await?.findings, []);
    assert_eq!(app.tags_of("TRUNCATE app.post_highest").await?, ["post:*"]);
    app.owner
        .batch_execute("ALTER TABLE app.post DETACH PARTITION app.post_highest")
        .await?;
    app.install().await?;
    assert_eq!(
        column(
            &app.owner,
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'app.post_highest'::regclass"
        )
        .await?,
        ["0"]
    );
    assert!(app.install().await?.is_empty());
    Ok(())
}

/// A rollback to a release that does not watch one of our own tables leaves its rows, and an upgrade watches it again.
#[tokio::test]
async fn a_table_of_ours_that_an_earlier_release_does_not_watch_keeps_its_rows() -> Result<()> {
    let app = App::installed().await?;
    let overlay = Table {
        name: "access_overlay".into(),
        ours: true,
        columns: texts(&["resource_type", "resource_id"]),
        tags: vec![rule("access_overlay.resource", &["resource_type", "resource_id"])],
    };
    let mut newer = app.flavour.clone();
    newer.tables.push(overlay);
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'neverstale.access_overlay'::regclass";
    let rows = "SELECT resource_id FROM neverstale.access_overlay";
    install(&app.owner, &newer, "app", &options()).await?;
    app.owner
        .batch_execute("INSERT INTO neverstale.access_overlay VALUES ('function', 'f1', NULL, '{}')")
        .await?;
    for (flavour, count) in [(&newer, "3"), (&app.flavour, "0"), (&newer, "3")] {
        install(&app.owner, flavour, "app", &options()).await?;
        assert_eq!(verify(&app.owner, flavour, "app").await?.findings, []);
        assert_eq!(column(&app.owner, triggers).await?, [count]);
        assert_eq!(column(&app.owner, rows).await?, ["f1"]);
    }
    Ok(())
}
