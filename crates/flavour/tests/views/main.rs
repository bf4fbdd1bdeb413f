//! Runs every view of every flavour on a real PostgreSQL: right answers against a slow reimplementation of the application's rules, and complete tags
//! (PROTOCOL §9 iii): whenever a write changes an answer, what the write publishes must meet the answer's tags.
#![expect(clippy::disallowed_methods, reason = "tests sleep and look at the environment")]

mod answers;
mod oracle;
mod server;
mod tags;
mod world;

use std::collections::BTreeSet;

use neverstale_flavour::Flavour;

const FLAVOURS: [&str; 3] = Flavour::BUILTIN_NAMES;

/// Random worlds per flavour; raise NEVERSTALE_TEST_WORLDS for a longer search.
fn worlds(default: u64) -> u64 {
    std::env::var("NEVERSTALE_TEST_WORLDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[tokio::test]
async fn views_answer_as_the_application_would() {
    let server = server::Server::start().unwrap();
    for name in FLAVOURS {
        let database = server.database(name).await.unwrap();
        for seed in 0..worlds(12) {
            answers::compare(&database, seed)
                .await
                .unwrap_or_else(|error| panic!("{name}, seed {seed}: {error:#}"));
        }
    }
}

#[tokio::test]
async fn a_write_that_changes_an_answer_meets_its_tags() {
    let server = server::Server::start().unwrap();
    for name in FLAVOURS {
        let database = server.database(name).await.unwrap();
        let mut changed = 0;
        for seed in 0..worlds(8) {
            changed += tags::search(&database, seed, None)
                .await
                .unwrap_or_else(|error| panic!("{name}, seed {seed}: {error:#}"));
        }
        assert!(
            changed > 20,
            "{name}: only {changed} changed answers, so the search proves little"
        );
    }
}

#[tokio::test]
async fn the_search_finds_a_rule_that_does_not_publish() {
    let server = server::Server::start().unwrap();
    for (name, silent) in [
        ("openwebui-0.12", "group_member.user_id"),
        ("naga-0.5.18", "config.email"),
    ] {
        let database = server.database(name).await.unwrap();
        let mut found = false;
        for seed in 0..40 {
            if found {
                break;
            }
            found = tags::search(&database, seed, Some(silent)).await.is_err();
            // A search that found something has left its transaction open.
            database.client.batch_execute("ROLLBACK").await.unwrap();
        }
        assert!(found, "{name}: nothing was found although `{silent}` published nothing");
    }
}

#[tokio::test]
async fn each_schema_bears_one_fingerprint() {
    let server = server::Server::start().unwrap();
    for name in FLAVOURS {
        let database = server.database(name).await.unwrap();
        let rows = database.client.query("SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'app one'", &[]).await.unwrap();
        let columns: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(Flavour::detect(&columns), [name]);
        let flavour = Flavour::parse(Flavour::builtin(name).unwrap(), name).unwrap();
        for table in flavour.tables.iter().filter(|table| !table.ours) {
            for column in &table.columns {
                assert!(
                    columns.contains(&format!("{}.{column}", table.name)),
                    "{name} has no {}.{column}",
                    table.name
                );
            }
        }
    }
}
