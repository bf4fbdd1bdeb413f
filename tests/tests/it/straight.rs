//! What is true: a view's own SQL, asked straight from Postgres, past every cache.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use anyhow::{Context, Result};
use neverstale_flavour::{Flavour, Read, Router, ViewId};
use neverstale_testkit::{Application, Database};
use tokio_postgres::{
    Client, Statement,
    types::{ToSql, Type},
};

/// What a view gives now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Truth {
    /// The text of its JSON.
    Found(String),
    /// There is no such thing.
    Absent,
    /// Postgres itself can't answer: a document that is JSON and no `jsonb`, for one.
    Fails(String),
}

/// What a view gives now, and what that depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) truth: Truth,
    /// Its own tags and the table-wide ones of its tables.
    pub(crate) tags: BTreeSet<String>,
    pub(crate) not_after: Option<i64>,
}

/// A connection that asks views as the protocol prescribes, and nothing else.
pub(crate) struct Straight {
    pub(crate) client: Client,
    pub(crate) flavour: Arc<Flavour>,
    pub(crate) router: Router,
    statements: HashMap<ViewId, Statement>,
}

impl Straight {
    pub(crate) async fn connect(application: Application, database: &Database) -> Result<Self> {
        let name = application.name();
        let flavour = Arc::new(Flavour::parse(
            Flavour::builtin(name).context("a built-in flavour")?,
            name,
        )?);
        let client = database.connect().await?;
        client
            .batch_execute("SET search_path = pg_catalog; SET row_security = off; SET jit = off")
            .await?;
        let mut statements = HashMap::new();
        for (index, view) in flavour.views.iter().enumerate() {
            let id = ViewId(u16::try_from(index)?);
            let sql = format!(
                "SELECT body::text, tags, not_after FROM ({}) AS answer",
                flavour.view_sql(id, "public")
            );
            let types = vec![Type::TEXT; view.params.len()];
            let statement = client.prepare_typed(&sql, &types).await;
            statements.insert(id, statement.with_context(|| format!("prepare view {}", view.name))?);
        }
        let router = Router::new(Arc::clone(&flavour), &BTreeMap::new())?;
        Ok(Self {
            client,
            flavour,
            router,
            statements,
        })
    }

    /// Asks a view. A failure is a truth too, but ends a transaction that was begun on this connection.
    pub(crate) async fn ask(&self, read: &Read) -> Result<Seen> {
        let view = self.flavour.view(read.view);
        let statement = self.statements.get(&read.view).context("a prepared view")?;
        let params: Vec<&(dyn ToSql + Sync)> = read.params.iter().map(|param| param as _).collect();
        let wide = view.tables.iter().map(|table| format!("{table}:*"));
        let row = match self.client.query_one(statement, &params).await {
            Ok(row) => row,
            Err(error) => {
                let reason = error
                    .as_db_error()
                    .with_context(|| format!("ask view {}: {error}", view.name))?;
                return Ok(Seen {
                    truth: Truth::Fails(reason.to_string()),
                    tags: wide.collect(),
                    not_after: None,
                });
            }
        };
        let tags: Vec<String> = row.get(1);
        let body: Option<String> = row.get(0);
        Ok(Seen {
            truth: body.map_or(Truth::Absent, Truth::Found),
            tags: tags.into_iter().chain(wide).collect(),
            not_after: row.get(2),
        })
    }
}
