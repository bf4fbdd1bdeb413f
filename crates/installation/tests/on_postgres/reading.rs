//! A role that only reads, on each built-in flavour's schema: it can read every view, kept or not, and who can't is told what.

use std::time::Duration;

use anyhow::{Context as _, Result};
use neverstale_flavour::{Flavour, ViewId, schema_fixture};
use neverstale_installation::{InstallOptions, Problem, install, uninstall, unreadable};
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};

use crate::{app::column, server::Server};

/// Tables of a flavour in a database of its own, and two who connect to it.
struct House {
    flavour: Flavour,
    owner: Client,
    reader: Client,
}

impl House {
    async fn of(server: &Server, name: &str) -> Result<Self> {
        let superuser = server.connect("postgres", "postgres").await?;
        superuser
            .batch_execute(&format!("CREATE DATABASE \"{name}\" OWNER owner"))
            .await?;
        let owner = server.connect("owner", name).await?;
        owner.batch_execute("CREATE SCHEMA app; SET search_path = app").await?;
        owner.batch_execute(schema_fixture(name).context("a fixture")?).await?;
        Ok(Self {
            flavour: Flavour::parse(Flavour::builtin(name).context("a built-in flavour")?, name)?,
            owner,
            reader: server.connect("reader", name).await?,
        })
    }

    async fn install(&self, reader: Option<&str>) -> Result<bool> {
        let options = InstallOptions {
            lock_timeout: Duration::from_millis(200),
            lease_ms: Some(0),
            reader: reader.map(str::to_owned),
        };
        let plan = install(&self.owner, &self.flavour, "app", &options).await?;
        Ok(!plan.is_empty())
    }

    /// The columns that the reader may not read, table by table.
    async fn unreadable(&self) -> Result<Vec<String>> {
        let found = unreadable(&self.reader, &self.flavour, "app").await?;
        assert!(found.iter().all(|finding| finding.problem == Problem::Unreadable));
        Ok(found.into_iter().map(|finding| finding.object).collect())
    }

    /// Asks every view with no parameter known: rights are asked for all the same.
    async fn refused(&self) -> Result<Vec<String>> {
        let mut refused = Vec::new();
        for (index, view) in self.flavour.views.iter().enumerate() {
            let sql = self.flavour.view_sql(ViewId(u16::try_from(index)?), "app");
            let sql = format!("SELECT body::text FROM ({sql}) AS answer");
            let types = vec![Type::TEXT; view.params.len()];
            let statement = self.reader.prepare_typed(&sql, &types).await?;
            let params = vec![&None::<&str> as &(dyn ToSql + Sync); types.len()];
            if let Err(error) = self.reader.query(&statement, &params).await {
                refused.push(format!("{}: {error:?}", view.name));
            }
        }
        Ok(refused)
    }
}

async fn server() -> Result<Server> {
    let server = Server::start().await?;
    let superuser = server.connect("postgres", "postgres").await?;
    superuser
        .batch_execute("CREATE ROLE owner LOGIN; CREATE ROLE reader LOGIN")
        .await?;
    Ok(server)
}

#[tokio::test]
async fn a_reader_can_read_every_view_of_every_flavour() -> Result<()> {
    let server = server().await?;
    for name in Flavour::BUILTIN_NAMES {
        let house = House::of(&server, name).await?;
        house.install(Some("reader")).await?;
        let refused = house.refused().await?;
        assert!(refused.is_empty(), "{name}: {}", refused.join("\n"));
        assert_eq!(house.unreadable().await?, [] as [String; 0], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_reader_who_lacks_a_column_of_a_view_is_told_which_and_gets_it() -> Result<()> {
    let server = server().await?;
    let house = House::of(&server, "openwebui-0.12").await?;
    house.install(Some("reader")).await?;
    // As an earlier release left it, whose views read less.
    house
        .owner
        .batch_execute("REVOKE SELECT (name) ON app.prompt, app.knowledge FROM reader")
        .await?;
    assert_eq!(house.unreadable().await?, ["app.knowledge (name)", "app.prompt (name)"]);
    assert_eq!(house.refused().await?.len(), 1, "the names");
    assert!(!house.install(None).await?, "the owner lacks nothing");
    assert!(house.install(Some("reader")).await?);
    assert_eq!(house.unreadable().await?, [] as [String; 0]);
    assert!(house.refused().await?.is_empty());
    assert!(!house.install(Some("reader")).await?);

    uninstall(&house.owner, Duration::from_millis(200)).await?;
    let left = "SELECT count(*) FROM pg_attribute WHERE attacl::text LIKE '%reader%'";
    assert_eq!(column(&house.owner, left).await?, ["0"]);
    Ok(())
}
