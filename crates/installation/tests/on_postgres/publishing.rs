//! Stage one: which change publishes which tags.

use anyhow::Result;
use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use neverstale_flavour::{Flavour, Table};
use neverstale_installation::{TAGS_PER_TRANSACTION_MAX, install};

use crate::app::{self, App, options, rule, texts};

const NOTHING: [&str; 0] = [];

#[tokio::test]
async fn an_update_of_a_key_publishes_old_and_new() -> Result<()> {
    // [16]
    let app = App::installed().await?;
    let tags = app
        .tags_of(r#"UPDATE app."user" SET email = 'New@Example.org' WHERE id = 'u3'"#)
        .await?;
    assert_eq!(
        tags,
        [
            "user.email:new@example.org",
            "user.email:user3@example.org",
            "user.id:u3"
        ]
    );
    let tags = app
        .tags_of("UPDATE app.group_member SET user_id = 'u5' WHERE id = 'm1'")
        .await?;
    let expected = [
        "group_member.pair:g1:u1",
        "group_member.pair:g1:u5",
        "group_member.user_id:u1",
        "group_member.user_id:u5",
    ];
    assert_eq!(tags, expected);
    Ok(())
}

#[tokio::test]
async fn a_null_key_publishes_the_whole_table() -> Result<()> {
    // [16]
    let app = App::installed().await?;
    let tags = app
        .tags_of("INSERT INTO app.group_member VALUES ('m9', 'g1', NULL)")
        .await?;
    assert_eq!(tags, ["group_member:*"]);
    let tags = app.tags_of("BEGIN; UPDATE app.group_member SET group_id = 'g2' WHERE id = 'm2'; INSERT INTO app.group_member VALUES ('m8', NULL, 'u1'); COMMIT").await?;
    assert!(tags.contains(&"group_member:*".to_owned()), "{tags:?}");
    Ok(())
}

#[tokio::test]
async fn tags_do_not_depend_on_the_writers_session() -> Result<()> {
    // [16]
    let app = App::installed().await?;
    let odd = "SET search_path = ''; SET datestyle = 'German, DMY'; SET timezone = 'Asia/Kolkata'; SET lc_numeric = 'C'; SET bytea_output = 'escape'; SET quote_all_identifiers = on";
    let writer = app.connect().await?;
    writer.batch_execute(odd).await?;
    let tags = app
        .tags_by(
            &writer,
            "INSERT INTO app.post VALUES (7, 'seven'); UPDATE app.api_key SET key = 'sk-2'",
        )
        .await?;
    let keys: Vec<String> = ["sk-1", "sk-2"].map(sha256_tag).into();
    assert_eq!(tags.len(), 3, "{tags:?}");
    assert!(
        keys.iter().all(|key| tags.contains(key)) && tags.contains(&"post.id:7".to_owned()),
        "{tags:?}"
    );
    Ok(())
}

fn sha256_tag(key: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
    digest
        .as_ref()
        .iter()
        .fold("api_key.key:".to_owned(), |tag, byte| format!("{tag}{byte:02x}"))
}

/// P19. Columns that are not watched cost nothing that can be measured. An update that touches no watched column
/// publishes nothing, waits for nothing and enters no function of ours. (A table that has a `BEFORE UPDATE` trigger of
/// its own pays for comparing two rows.)
#[tokio::test]
async fn noise_publishes_nothing_and_takes_no_position() -> Result<()> {
    let app = App::installed().await?;
    let before = app.number("SELECT last_value FROM neverstale.position").await?;
    let noise = r#"UPDATE app."user" SET last_active_at = 1; UPDATE app."user" SET role = role; UPDATE app."group" SET note = 'x'; UPDATE app.post SET noise = 1"#;
    assert_eq!(app.tags_of(noise).await?, NOTHING);
    assert_eq!(app.number("SELECT last_value FROM neverstale.position").await?, before);
    Ok(())
}

#[tokio::test]
async fn a_rule_with_of_is_published_only_by_those_columns() -> Result<()> {
    let app = App::installed().await?;
    let tags = app
        .tags_of(r#"UPDATE app."user" SET name = 'x' WHERE id = 'u1'"#)
        .await?;
    assert_eq!(tags, ["user.email:user1@example.org", "user.id:u1"]);
    let tags = app
        .tags_of(r#"UPDATE app."user" SET role = 'x' WHERE id = 'u1'"#)
        .await?;
    assert_eq!(tags, ["user.email:user1@example.org", "user.id:u1", "user.role:"]);
    let tags = app.tags_of(r#"DELETE FROM app."user" WHERE id = 'u5'"#).await?;
    assert_eq!(tags, ["user.email:user5@example.org", "user.id:u5", "user.role:"]);
    Ok(())
}

#[tokio::test]
async fn a_list_of_keys_publishes_each_element_of_old_and_new() -> Result<()> {
    let app = App::installed().await?;
    let tags = app
        .tags_of(r#"UPDATE app."group" SET user_ids = '["u2", "u3"]' WHERE id = 'g1'"#)
        .await?;
    assert_eq!(
        tags,
        ["group.id:g1", "group.member:u1", "group.member:u2", "group.member:u3"]
    );
    assert_eq!(
        app.tags_of(r#"UPDATE app."group" SET user_ids = NULL WHERE id = 'g2'"#)
            .await?,
        ["group.id:g2"]
    );
    for odd in [r#"{"u1": true}"#, "null", r#""u1""#, r#"["u1", null]"#] {
        let tags = app
            .tags_of(&format!(r#"UPDATE app."group" SET user_ids = '{odd}' WHERE id = 'g2'"#))
            .await?;
        assert_eq!(tags, ["group:*"], "{odd}");
    }
    Ok(())
}

#[tokio::test]
async fn a_list_of_keys_may_be_text_or_jsonb_and_broken_text_publishes_the_whole_table() -> Result<()> {
    let app = App::start().await?;
    app.owner
        .batch_execute(r#"ALTER TABLE app."group" ALTER user_ids TYPE text, ADD admins jsonb DEFAULT '["a1"]'"#)
        .await?;
    let mut flavour = app::flavour();
    let group = flavour
        .tables
        .iter_mut()
        .find(|table| table.name == "group")
        .expect("it is there");
    group.tags.push(neverstale_flavour::TagRule {
        each: Some("admins".into()),
        lower: true,
        ..rule("group.admin", &[])
    });
    install(&app.owner, &flavour, "app", &options()).await?;
    let tags = app
        .tags_of(r#"UPDATE app."group" SET name = 'x', admins = '["A2"]' WHERE id = 'g1'"#)
        .await?;
    assert_eq!(
        tags,
        [
            "group.admin:a1",
            "group.admin:a2",
            "group.id:g1",
            "group.member:u1",
            "group.member:u2"
        ]
    );
    assert_eq!(
        app.tags_of(r#"UPDATE app."group" SET user_ids = '["u1' WHERE id = 'g2'"#)
            .await?,
        ["group:*"]
    );
    Ok(())
}

#[tokio::test]
async fn equal_values_with_another_image_are_published() -> Result<()> {
    // [6]
    let app = App::start().await?;
    app.superuser()
        .await?
        .batch_execute("CREATE EXTENSION citext SCHEMA public")
        .await?;
    app.owner
        .batch_execute(
            "CREATE TABLE app.odd (id text, a public.citext, b numeric, c jsonb, d float8, e interval, f json, g text);
             INSERT INTO app.odd VALUES ('o', 'admin', 1.0, '{\"x\": 1.0}', 0, '1 day', '{\"a\":1}', 'g')",
        )
        .await?;
    let flavour = app::flavour_of("odd", &["id", "a", "b", "c", "d", "e", "f", "g"]);
    install(&app.owner, &flavour, "app", &options()).await?;
    for change in [
        "a = 'ADMIN'",
        "b = 1.00",
        "c = '{\"x\": 1.00}'",
        "d = '-0'",
        "e = '24:00:00'",
        "f = '{\"a\": 1}'",
        "g = NULL",
    ] {
        let statement = format!("UPDATE app.odd SET {change}");
        assert_eq!(app.tags_of(&statement).await?, ["odd.id:o"], "{change}");
        assert_eq!(app.tags_of(&statement).await?, NOTHING, "{change}, again");
    }
    Ok(())
}

/// P2. It does not matter who writes, or how. The application, `psql`, a tool that edits tables, a migration, a bulk
/// update, `COPY`, `MERGE`, a cascade, `TRUNCATE`, a session under `session_replication_role = replica`, a
/// logical-replication worker: all count alike.
#[tokio::test]
async fn every_way_of_writing_is_published() -> Result<()> {
    // [8]
    let app = App::installed().await?;
    assert_eq!(app.tags_of("TRUNCATE app.post_low").await?, ["post:*"]);
    assert_eq!(app.tags_of("TRUNCATE app.post").await?, ["post:*"]);
    assert_eq!(
        app.tags_of("INSERT INTO app.post VALUES (1, 'a'), (150, 'b')").await?,
        ["post.id:1", "post.id:150"]
    );
    assert_eq!(
        app.tags_of("UPDATE app.post SET title = 'c' WHERE id = 1").await?,
        ["post.id:1"]
    );
    assert_eq!(
        app.tags_of("UPDATE app.post SET id = 151 WHERE id = 1").await?,
        ["post.id:1", "post.id:151"]
    );
    assert_eq!(
        app.tags_of("DELETE FROM app.post_high WHERE id = 150").await?,
        ["post.id:150"]
    );
    let merge = "MERGE INTO app.post USING (VALUES (151), (2)) AS wanted (id) ON post.id = wanted.id
                 WHEN MATCHED THEN UPDATE SET title = 'm' WHEN NOT MATCHED THEN INSERT VALUES (wanted.id, 'm')";
    assert_eq!(app.tags_of(merge).await?, ["post.id:151", "post.id:2"]);
    let upsert = "INSERT INTO app.api_key VALUES ('k1', 'u1', 'sk-1', 1) ON CONFLICT (id) DO UPDATE SET key = 'sk-9'";
    assert_eq!(app.tags_of(upsert).await?.len(), 2);
    assert_eq!(
        app.tags_of("INSERT INTO app.api_key VALUES ('k1', 'u1', 'x') ON CONFLICT DO NOTHING")
            .await?,
        NOTHING
    );
    let cascade = app.tags_of(r#"DELETE FROM app."user" WHERE id = 'u2'"#).await?;
    assert!(cascade.contains(&"group_member.user_id:u2".to_owned()), "{cascade:?}");
    let cascade = app.tags_of(r#"TRUNCATE app."group" CASCADE"#).await?;
    assert_eq!(cascade, ["group:*", "group_member:*"]);

    let before = app.newest().await?;
    let sink = app.owner.copy_in("COPY app.post (id, title) FROM STDIN").await?;
    pin_mut!(sink);
    sink.send(Bytes::from_static(b"10\tten\n110\televen\n")).await?;
    sink.close().await?;
    assert_eq!(app.tags_since(before).await?, ["post.id:10", "post.id:110"]);

    app.owner.batch_execute("CREATE PROCEDURE app.twice() LANGUAGE plpgsql AS $$ BEGIN UPDATE app.post SET title = 'p1' WHERE id = 10; COMMIT; UPDATE app.post SET title = 'p2' WHERE id = 110; END $$").await?;
    let before = app.newest().await?;
    assert_eq!(app.tags_of("CALL app.twice()").await?, ["post.id:10", "post.id:110"]);
    assert_eq!(app.newest().await?, before + 2);
    Ok(())
}

#[tokio::test]
async fn a_replicas_writes_are_published() -> Result<()> {
    // [8]
    let app = App::installed().await?;
    let superuser = app.superuser().await?;
    superuser
        .batch_execute("SET session_replication_role = replica")
        .await?;
    assert_eq!(
        app.tags_by(&superuser, "UPDATE app.post SET title = 'r' WHERE id = 1")
            .await?,
        ["post.id:1"]
    );
    assert_eq!(app.tags_by(&superuser, "TRUNCATE app.post_high").await?, ["post:*"]);
    let tags = app
        .tags_by(&superuser, r#"UPDATE app."user" SET role = 'r' WHERE id = 'u1'"#)
        .await?;
    assert_eq!(tags, ["user.email:user1@example.org", "user.id:u1", "user.role:"]);
    Ok(())
}

#[tokio::test]
async fn what_a_before_trigger_changes_behind_the_statement_is_published() -> Result<()> {
    let app = App::start().await?;
    let trigger = r#"CREATE FUNCTION app.promote() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.role := 'promoted'; RETURN NEW; END $$;
                     CREATE TRIGGER promote BEFORE UPDATE ON app."user" FOR EACH ROW EXECUTE FUNCTION app.promote()"#;
    app.owner.batch_execute(trigger).await?;
    app.install().await?;
    let tags = app
        .tags_of(r#"UPDATE app."user" SET last_active_at = 9 WHERE id = 'u1'"#)
        .await?;
    assert_eq!(tags, ["user.email:user1@example.org", "user.id:u1", "user.role:"]);
    Ok(())
}

#[tokio::test]
async fn past_the_cap_whole_tables_are_published() -> Result<()> {
    let app = App::installed().await?;
    app.owner
        .batch_execute(
            r#"INSERT INTO app."user" (id, email) SELECT 'b' || i, 'b' || i FROM generate_series(1, 3000) AS i"#,
        )
        .await?;
    let tags = app
        .tags_of(
            r#"BEGIN; UPDATE app.post SET title = 'first' WHERE id = 1; UPDATE app."user" SET role = 'bulk';
               UPDATE app.post SET title = 'later' WHERE id = 101; UPDATE app.api_key SET key = 'later'; COMMIT"#,
        )
        .await?;
    for tag in ["post.id:1", "user:*", "post:*", "api_key:*"] {
        assert!(tags.contains(&tag.to_owned()), "{tag}");
    }
    assert!(!tags.contains(&"post.id:101".to_owned()));
    assert!(
        tags.len() < TAGS_PER_TRANSACTION_MAX as usize * 11 / 10,
        "{}",
        tags.len()
    );

    let wide = app
        .tags_of(r#"UPDATE app."group" SET user_ids = (SELECT json_agg('x' || i) FROM generate_series(1, 1001) AS i) WHERE id = 'g2'"#)
        .await?;
    assert_eq!(wide, ["group:*"]);
    Ok(())
}

#[tokio::test]
async fn many_keys_of_one_row_and_long_keys_fit() -> Result<()> {
    let app = App::installed().await?;
    let long = "x".repeat(5_000);
    let tags = app
        .tags_of(&format!(
            r#"INSERT INTO app."user" (id, email) VALUES ('{long}', '{long}')"#
        ))
        .await?;
    assert!(tags.iter().all(|tag| tag.len() < 100), "{tags:?}");
    assert_eq!(
        app.tags_of(&format!(r#"UPDATE app."user" SET role = 'x' WHERE id = '{long}'"#))
            .await?,
        tags
    );
    Ok(())
}

#[tokio::test]
async fn names_with_quotes_braces_and_backslashes_are_watched() -> Result<()> {
    let app = App::start().await?;
    let name = r#"o'd "d {rules} \ table"#;
    let quoted = format!("app.\"{}\"", name.replace('"', "\"\""));
    app.owner
        .batch_execute(&format!(r#"CREATE TABLE {quoted} ("the 'id'" text, "{{table}}" text)"#))
        .await?;
    let table = Table {
        ours: false,
        name: name.into(),
        columns: texts(&["{table}"]),
        tags: vec![rule("odd.'id'", &["the 'id'"])],
    };
    let flavour = Flavour {
        tables: vec![table],
        ..app::flavour()
    };
    install(&app.owner, &flavour, "app", &options()).await?;
    assert_eq!(
        app.tags_of(&format!("INSERT INTO {quoted} VALUES ('1', 'a')")).await?,
        ["odd.'id':1"]
    );
    assert_eq!(
        app.tags_of(&format!(r#"UPDATE {quoted} SET "{{table}}" = 'b'"#))
            .await?,
        ["odd.'id':1"]
    );
    assert_eq!(app.tags_of(&format!("TRUNCATE {quoted}")).await?, [format!("{name}:*")]);
    Ok(())
}
