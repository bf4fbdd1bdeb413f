//! The seams in a simulation's hands: streams that are not of this world, and statements told by their text.
//!
//! Compiled for `crates/simulation` only (feature `simulation`). The model of Postgres there answers the statements of this
//! crate; it knows them from here, so that none can be changed in `sql` without the model being asked.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use neverstale_flavour::{Flavour, ViewId};
use tokio::io::DuplexStream;

use crate::{Statements, Target, sql::FoundTable};

/// Opens streams to a server inside of this process.
#[derive(Clone)]
pub struct Dialer(Arc<dyn Fn() -> Dialling + Send + Sync>);

type Dialling = Pin<Box<dyn Future<Output = DuplexStream> + Send>>;

impl Dialer {
    /// Makes one of a function; a server that refuses gives a stream that is closed.
    pub fn new<F: Future<Output = DuplexStream> + Send + 'static>(
        dial: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move || Box::pin(dial())))
    }

    pub(crate) async fn dial(&self) -> DuplexStream {
        (self.0)().await
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

impl Target {
    /// Has every connection opened by `dialer`.
    #[must_use]
    pub fn through(mut self, dialer: Dialer) -> Self {
        self.dialer = Some(dialer);
        self
    }
}

/// A statement of this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Which watched tables are there, and whether each is partitioned.
    Found,
    /// Incarnation, pruned_to, newest position, lock class, suspended.
    Outset,
    /// Incarnation, intent, lease, position.
    Fence,
    /// Incarnation, intent.
    NewestIntent,
    /// Incarnation, intents and marks that writers hold, whether all are named.
    Outstanding,
    /// Rows of the log.
    LogPage,
    /// One entry.
    Fill(ViewId),
    /// Several entries in one snapshot, each with its number of parameters.
    FillMany(Vec<ViewId>),
}

impl Statements {
    /// Writes the statements for a schema in which every watched table is there, and none is partitioned.
    pub fn for_plain_tables(flavour: &Flavour, app_schema: &str) -> Self {
        let plain = |name: &String| FoundTable {
            name: name.clone(),
            is_partitioned: false,
        };
        let found: Vec<_> = flavour.tables.iter().map(|table| plain(&table.name)).collect();
        Self::new(flavour, app_schema, &found)
    }

    /// Recognises a statement of this crate.
    pub fn asked(&self, sql: &str) -> Option<Asked> {
        let fixed = [
            (Self::FOUND.to_owned(), Asked::Found),
            (self.outset(), Asked::Outset),
            (self.fence(), Asked::Fence),
            (self.newest_intent(), Asked::NewestIntent),
            (self.outstanding(), Asked::Outstanding),
            (self.log_page(), Asked::LogPage),
        ];
        let fill = |view: &ViewId| self.fill(*view) == sql;
        fixed
            .into_iter()
            .find_map(|(text, asked)| (text == sql).then_some(asked))
            .or_else(|| self.views().find(fill).map(Asked::Fill))
            .or_else(|| self.asked_many(sql))
    }

    /// Finds the views of a batch one after the other; each has one parameter here.
    fn asked_many(&self, sql: &str) -> Option<Asked> {
        let mut found: Vec<ViewId> = Vec::new();
        loop {
            let so_far = |next| {
                let reads = found.iter().copied().chain([next]).map(|view| (view, 1));
                self.fill_many(reads)
            };
            let is_prefix = |view: &ViewId| sql.starts_with(so_far(*view).trim_end_matches(" ORDER BY 1"));
            let next = self.views().find(is_prefix)?;
            let is_whole = so_far(next) == sql;
            found.push(next);
            if is_whole {
                return Some(Asked::FillMany(found));
            }
        }
    }

    fn views(&self) -> impl Iterator<Item = ViewId> + use<> {
        (0..self.views_len()).map(|id| ViewId(id as u16))
    }
}
