//! Installing and uninstalling: idempotent, without superuser, without a trace, without blocking.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use neverstale_installation::{
    InstallOptions, InstallationError, Problem, install, plan, probe, prune, resume, set_lease, suspend, uninstall,
};

use crate::app::{self, App, column, options};

/// Everything in the catalogs that an installation could leave behind.
const CATALOGS: &str = "
SELECT line FROM (
  SELECT 'class ' || relnamespace::regnamespace || '.' || relname || relkind::text || ' ' || coalesce(relacl::text, '') || relhasrules AS line
    FROM pg_class WHERE relnamespace::regnamespace::text NOT IN ('pg_toast')
  UNION ALL SELECT 'proc ' || oid::regprocedure FROM pg_proc
  UNION ALL SELECT 'trigger ' || tgrelid::regclass || tgname FROM pg_trigger
  UNION ALL SELECT 'attribute ' || attrelid::regclass || attname || attacl::text FROM pg_attribute WHERE attacl IS NOT NULL
  UNION ALL SELECT 'namespace ' || nspname || array(SELECT grantee::regrole || privilege_type FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner))) ORDER BY 1)::text FROM pg_namespace
  UNION ALL SELECT 'constraint ' || conrelid::regclass || conname FROM pg_constraint
  UNION ALL SELECT 'description ' || classoid::regclass || count(*) FROM pg_description GROUP BY classoid
  UNION ALL SELECT 'depend ' || classid::regclass || refclassid::regclass || deptype::text || count(*) FROM pg_depend GROUP BY classid, refclassid, deptype
  UNION ALL SELECT 'shdepend ' || classid::regclass || refobjid || deptype::text || count(*) FROM pg_shdepend GROUP BY classid, refobjid, deptype
) AS lines ORDER BY line";

#[tokio::test]
async fn an_owner_without_superuser_installs_and_the_installation_is_whole() -> Result<()> {
    let app = App::start().await?;
    let superuser = column(&app.owner, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").await?;
    assert_eq!(superuser, ["f"]);
    assert_eq!(app.verify().await?.findings[0].problem, Problem::NotInstalled);
    app.install().await?;
    assert_eq!(app.verify().await?.findings, []);
    Ok(())
}

#[tokio::test]
async fn a_second_install_changes_nothing() -> Result<()> {
    let app = App::installed().await?;
    let versions = "SELECT xmin::text || tgname FROM pg_trigger UNION ALL SELECT xmin::text || proname FROM pg_proc \
                    WHERE pronamespace = 'neverstale'::regnamespace UNION ALL SELECT xmin::text FROM neverstale.installation \
                    UNION ALL SELECT id::text FROM neverstale.boot ORDER BY 1";
    let before = column(&app.owner, versions).await?;
    let plan = app.install().await?;
    assert!(plan.is_empty(), "{}", plan.to_sql());
    assert_eq!(column(&app.owner, versions).await?, before);
    Ok(())
}

#[tokio::test]
async fn uninstall_leaves_no_trace() -> Result<()> {
    let app = App::start().await?;
    app.owner
        .batch_execute("CREATE ROLE nobody")
        .await
        .expect_err("the owner is no superuser");
    app.superuser().await?.batch_execute("CREATE ROLE reader LOGIN").await?;
    let before = column(&app.owner, CATALOGS).await?;
    let options = InstallOptions {
        reader: Some("reader".into()),
        ..options()
    };
    install(&app.owner, &app.flavour, "app", &options).await?;
    app.tags_of(r#"UPDATE app."user" SET role = 'admin'"#).await?;
    assert_ne!(column(&app.owner, CATALOGS).await?, before);
    uninstall(&app.owner, options.lock_timeout).await?;
    assert_eq!(column(&app.owner, CATALOGS).await?, before);
    uninstall(&app.owner, options.lock_timeout).await?;
    app.owner
        .batch_execute(r#"UPDATE app."user" SET role = 'user'"#)
        .await?;
    Ok(())
}

#[tokio::test]
async fn uninstall_does_not_drop_what_others_put_into_the_schema() -> Result<()> {
    let app = App::installed().await?;
    app.owner.batch_execute("CREATE TABLE neverstale.mine ()").await?;
    let refused = uninstall(&app.owner, options().lock_timeout).await;
    assert!(
        matches!(refused, Err(InstallationError::Database { .. })),
        "{refused:?}"
    );
    assert_eq!(column(&app.owner, "SELECT count(*) FROM neverstale.mine").await?, ["0"]);
    Ok(())
}

#[tokio::test]
async fn the_printed_script_installs_the_same() -> Result<()> {
    let app = App::start().await?;
    let plan = plan(&app.owner, &app.flavour, "app", &options()).await?;
    app.owner.batch_execute(&plan.to_sql()).await?;
    assert_eq!(app.verify().await?.findings, []);
    assert!(app.install().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_reader_gets_what_a_sidecar_needs_and_not_more() -> Result<()> {
    let app = App::start().await?;
    app.superuser().await?.batch_execute("CREATE ROLE reader LOGIN").await?;
    let options = InstallOptions {
        reader: Some("reader".into()),
        ..options()
    };
    install(&app.owner, &app.flavour, "app", &options).await?;
    assert!(install(&app.owner, &app.flavour, "app", &options).await?.is_empty());
    let reader = app.server.connect("reader", "app").await?;
    let may = [
        "SELECT neverstale.boot()",
        "SELECT id FROM neverstale.boot",
        "SELECT last_value, is_called FROM neverstale.intent",
        "SELECT position, intent, tag FROM neverstale.log JOIN neverstale.tag USING (xid)",
        "SELECT lease_ms, suspended, lock_class FROM neverstale.installation",
        "SELECT pruned_to FROM neverstale.pruned",
        "SELECT neverstale.tag('user.id', id) FROM app.\"user\"",
        "SELECT neverstale.tag_hashed('api_key.key', key) FROM app.api_key",
        "SELECT neverstale.prune(10)",
    ];
    for sql in may {
        reader.batch_execute(sql).await.with_context(|| sql.to_owned())?;
    }
    let may_not = [
        "UPDATE app.\"user\" SET role = 'admin'",
        "SELECT last_active_at FROM app.\"user\"",
        "DELETE FROM neverstale.log",
        "SELECT nextval('neverstale.position')",
        "UPDATE neverstale.installation SET lease_ms = 1000",
        "SELECT * FROM neverstale.seal",
    ];
    for sql in may_not {
        assert!(reader.batch_execute(sql).await.is_err(), "{sql}");
    }
    assert!(
        neverstale_installation::verify(&reader, &app.flavour, "app")
            .await?
            .is_green()
    );
    assert_eq!(prune(&reader, 1).await?, 0);

    let unknown = InstallOptions {
        reader: Some("nobody".into()),
        ..options
    };
    let refused = install(&app.owner, &app.flavour, "app", &unknown).await;
    assert!(
        matches!(refused, Err(InstallationError::UnknownRole { .. })),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_locked_table_delays_the_install_and_nobody_else_for_long() -> Result<()> {
    let app = App::start().await?;
    let holder = app.connect().await?;
    holder
        .batch_execute(r#"BEGIN; UPDATE app."user" SET role = 'held' WHERE id = 'u1'"#)
        .await?;
    let writer = app.connect().await?;
    let writes = async {
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let begin = Instant::now();
            writer
                .batch_execute(r#"UPDATE app."user" SET name = name WHERE id = 'u2'"#)
                .await?;
            longest = longest.max(begin.elapsed());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        holder.batch_execute("COMMIT").await?;
        anyhow::Ok(longest)
    };
    let (installed, longest) = tokio::join!(app.install(), writes);
    installed?;
    assert!(longest? < Duration::from_millis(900));
    assert!(app.verify().await?.is_green());
    Ok(())
}

#[tokio::test]
async fn a_repeated_install_mends_only_what_is_broken() -> Result<()> {
    let app = App::installed().await?;
    app.owner
        .batch_execute(
            r#"DROP TRIGGER neverstale_update ON app."user"; DROP FUNCTION neverstale.tag_hashed(text, text)"#,
        )
        .await?;
    let plan = app.install().await?;
    let titles: Vec<&str> = plan.steps.iter().map(|step| step.title.as_str()).collect();
    assert_eq!(titles, ["make the objects of schema neverstale", "watch table user"]);
    assert!(app.verify().await?.is_green());
    Ok(())
}

#[tokio::test]
async fn another_flavour_takes_the_place_of_the_one_before() -> Result<()> {
    let mut app = App::installed().await?;
    app.flavour = app::flavour_of("user", &["id", "role"]);
    assert_eq!(app.verify().await?.findings[0].problem, Problem::OtherSpecification);
    app.install().await?;
    assert_eq!(app.verify().await?.findings, []);
    assert_eq!(
        app.tags_of(r#"UPDATE app."group" SET name = 'unwatched'; UPDATE app."user" SET name = 'unwatched'"#)
            .await?,
        [""; 0]
    );
    assert_eq!(
        app.tags_of(r#"UPDATE app."user" SET role = 'new' WHERE id = 'u1'"#)
            .await?,
        ["user.id:u1"]
    );
    let functions = column(&app.owner, "SELECT proname FROM pg_proc WHERE proname LIKE 'collect%'").await?;
    assert_eq!(functions, ["collect_user"]);
    Ok(())
}

/// L10. Some tables can't be watched. Inheritance parents, views, foreign tables, partitioned tables with foreign
/// partitions; and as keys of tags columns other than text, varchar, uuid and integers with a deterministic collation.
/// `install` refuses them by name.
#[tokio::test]
async fn what_no_trigger_can_watch_is_refused_with_its_name() -> Result<()> {
    let app = App::start().await?;
    let superuser = app.superuser().await?;
    superuser
        .batch_execute(
            "CREATE EXTENSION citext;
             GRANT USAGE ON SCHEMA app TO PUBLIC;
             CREATE TABLE app.parent (id text); CREATE TABLE app.child () INHERITS (app.parent);
             CREATE VIEW app.seen AS SELECT 'a'::text AS id;
             CREATE TABLE app.stamped (id timestamptz); CREATE TABLE app.fixed (id char(4)); CREATE TABLE app.ci (id citext)",
        )
        .await?;
    let cases = [
        ("parent", Problem::InheritanceParent),
        ("seen", Problem::NotATable),
        ("stamped", Problem::UnsupportedTagColumn),
        ("fixed", Problem::UnsupportedTagColumn),
        ("ci", Problem::UnsupportedTagColumn),
        ("absent", Problem::MissingTable),
    ];
    let has_icu = !column(
        &superuser,
        "SELECT collname FROM pg_collation WHERE collname = 'en-x-icu'",
    )
    .await?
    .is_empty();
    let blurred = has_icu.then_some(("blurred", Problem::UnsupportedTagColumn));
    if has_icu {
        superuser
            .batch_execute(
                "CREATE COLLATION app.fuzzy (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                 CREATE TABLE app.blurred (id text COLLATE app.fuzzy)",
            )
            .await?;
    }
    for (table, problem) in cases.into_iter().chain(blurred) {
        let refused = install(&superuser, &app::flavour_of(table, &["id"]), "app", &options()).await;
        let Err(InstallationError::Refused { findings }) = refused else {
            panic!("{table}: {refused:?}")
        };
        assert_eq!(
            findings.iter().map(|finding| finding.problem).collect::<Vec<_>>(),
            [problem],
            "{table}"
        );
    }
    let refused = install(
        &app.owner,
        &app::flavour_of("user", &["id", "nickname"]),
        "app",
        &options(),
    )
    .await;
    assert!(refused.is_err_and(|error| error.to_string().contains("user.nickname")));
    Ok(())
}

#[tokio::test]
async fn who_does_not_own_the_tables_is_told_so() -> Result<()> {
    let app = App::start().await?;
    app.superuser()
        .await?
        .batch_execute("CREATE ROLE guest LOGIN; GRANT CREATE ON DATABASE app TO guest")
        .await?;
    let guest = app.server.connect("guest", "app").await?;
    let refused = install(&guest, &app.flavour, "app", &options()).await;
    assert!(matches!(refused, Err(InstallationError::Rights { .. })), "{refused:?}");
    let probe = probe(&guest, &app.flavour, "app").await?;
    assert!(probe.may_create_schema && probe.tables.iter().all(|table| !table.owned));
    Ok(())
}

#[tokio::test]
async fn what_is_not_installed_cannot_be_suspended_resumed_or_leased() -> Result<()> {
    let app = App::start().await?;
    let (flavour, options) = (&app.flavour, options());
    assert!(matches!(
        suspend(&app.owner, flavour, "app", &options).await,
        Err(InstallationError::NotInstalled)
    ));
    assert!(matches!(
        resume(&app.owner, flavour, "app", &options).await,
        Err(InstallationError::NotInstalled)
    ));
    assert!(matches!(
        set_lease(&app.owner, 10).await,
        Err(InstallationError::NotInstalled)
    ));
    Ok(())
}
