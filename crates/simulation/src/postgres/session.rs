//! One backend: reads messages, answers them in order, and holds a transaction between them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    Server,
    dialect::{self, Said},
    statements::{Prepared, Sight},
    transaction::Transaction,
    wire::{self, Answers, Format, Frontend, Kind, Refusal, Value},
};

/// Bells that wait for an idle session.
const BELLS_MAX: usize = 256;

/// A backend.
pub(super) struct Session {
    pub(super) server: Server,
    pub(super) pid: i32,
    settings: BTreeMap<String, String>,
    prepared: BTreeMap<String, Prepared>,
    bound: Option<(Prepared, Vec<Option<Bytes>>)>,
    /// An error was answered: everything up to the next Sync is passed over.
    is_skipping: bool,
    pub(super) transaction: Option<Transaction>,
    bells: mpsc::Sender<String>,
}

/// Serves a connection until it ends, or the server ends it.
pub(super) async fn serve(server: Server, pid: i32, ended: CancellationToken, mut stream: DuplexStream) {
    let (bells, mut rung) = mpsc::channel(BELLS_MAX);
    let mut session = Session {
        server,
        pid,
        settings: BTreeMap::new(),
        prepared: BTreeMap::new(),
        bound: None,
        is_skipping: false,
        transaction: None,
        bells,
    };
    let serving = session.run(&mut stream, &mut rung);
    if ended.run_until_cancelled(serving).await.is_none() {
        // A crash has no last words; the word of an operator reaches whoever can still be reached.
        let mut answers = Answers::default();
        answers.refuse(
            "FATAL",
            &Refusal::new("57P01", "terminating connection due to administrator command"),
        );
        let _ = stream.write_all(&answers.0).await;
    }
}

impl Session {
    async fn run(&mut self, stream: &mut DuplexStream, rung: &mut mpsc::Receiver<String>) {
        let mut buffer = BytesMut::new();
        let mut answers = Answers::default();
        while !wire::take_startup(&mut buffer) {
            if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        }
        answers.welcome(self.pid);
        loop {
            while let Some(message) = wire::take(&mut buffer) {
                if message == Frontend::Terminate {
                    return;
                }
                self.handle(message, &mut answers).await;
            }
            if !answers.0.is_empty() && stream.write_all(&answers.0.split()).await.is_err() {
                return;
            }
            tokio::select! {
                biased; // Bells are told between statements, as the server does it.
                Some(payload) = rung.recv() => answers.bell(self.pid, &payload),
                read = stream.read_buf(&mut buffer) => {
                    if !matches!(read, Ok(1..)) {
                        return;
                    }
                    // All that is there: where a buffer ends must not decide when an answer leaves.
                    while let Some(Ok(1..)) = stream.read_buf(&mut buffer).now_or_never() {}
                }
            }
        }
    }

    async fn handle(&mut self, message: Frontend, answers: &mut Answers) {
        let done = match message {
            Frontend::Sync => {
                self.is_skipping = false;
                answers.ready(self.status());
                return;
            }
            Frontend::Query(text) => {
                self.query(&text, answers).await;
                return;
            }
            _ if self.is_skipping => return,
            Frontend::Parse { name, sql } => self.parse(name, &sql, answers),
            Frontend::Describe { name } => self.describe(&name, answers),
            Frontend::Bind { name, params } => self.bind(&name, params, answers),
            Frontend::Execute => self.execute(answers).await,
            Frontend::Close { name } => {
                self.prepared.remove(&name);
                answers.plain(b'3');
                Ok(())
            }
            Frontend::Terminate | Frontend::Other => Ok(()),
        };
        if let Err(refusal) = done {
            answers.refuse("ERROR", &refusal);
            self.is_skipping = true;
        }
    }

    fn status(&self) -> u8 {
        match &self.transaction {
            None => b'I',
            Some(transaction) if transaction.has_failed => b'E',
            Some(_) => b'T',
        }
    }

    fn parse(&mut self, name: String, sql: &str, answers: &mut Answers) -> Result<(), Refusal> {
        let prepared = self
            .server
            .recognise(sql)
            .ok_or_else(|| Refusal::new("0A000", format!("the model of Postgres does not know: {sql}")))?;
        self.prepared.insert(name, prepared);
        answers.plain(b'1');
        Ok(())
    }

    fn describe(&self, name: &str, answers: &mut Answers) -> Result<(), Refusal> {
        let prepared = self.find(name)?;
        answers.parameters(&prepared.params());
        answers.columns(&prepared.columns(), Format::Binary);
        Ok(())
    }

    fn bind(&mut self, name: &str, params: Vec<Option<Bytes>>, answers: &mut Answers) -> Result<(), Refusal> {
        self.bound = Some((self.find(name)?.clone(), params));
        answers.plain(b'2');
        Ok(())
    }

    fn find(&self, name: &str) -> Result<&Prepared, Refusal> {
        self.prepared
            .get(name)
            .ok_or_else(|| Refusal::new("26000", format!("prepared statement \"{name}\" does not exist")))
    }

    async fn execute(&mut self, answers: &mut Answers) -> Result<(), Refusal> {
        let Some((prepared, params)) = self.bound.take() else {
            return Err(Refusal::new("34000", "portal does not exist"));
        };
        let rows = match &prepared {
            Prepared::Asked(asked) => {
                let snapshot = self.server.lock().snapshot();
                self.server.think().await;
                let rows = {
                    let world = self.server.lock();
                    let sight = Sight {
                        snapshot: &snapshot,
                        world: &world,
                        is_set_up: self.is_set_up(),
                    };
                    sight.answer(asked, &params)
                };
                // What is on its way may be overtaken by a commit.
                self.server.think().await;
                rows
            }
            Prepared::TryRelay => vec![vec![Value::Bool(self.server.try_relay(self.pid))]],
            Prepared::Prune => {
                let bytes = params.first().and_then(Option::as_ref).map_or(&[][..], |bytes| bytes);
                let keep = bytes
                    .iter()
                    .fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
                vec![vec![Value::Int8(self.server.prune(keep))]]
            }
        };
        for row in &rows {
            answers.row(row, Format::Binary);
        }
        answers.complete(&format!("SELECT {}", rows.len()));
        Ok(())
    }

    fn is_set_up(&self) -> bool {
        let is = |name: &str, value: &str| self.settings.get(name).is_some_and(|set| set == value);
        is("row_security", "off") && is("search_path", "pg_catalog")
    }

    pub(super) fn is_synchronous(&self) -> bool {
        self.settings.get("synchronous_commit").is_none_or(|set| set != "off")
    }

    /// A text of several statements is one transaction, unless it says otherwise.
    async fn query(&mut self, text: &str, answers: &mut Answers) {
        let was_open = self.transaction.is_some();
        let parts = dialect::statements(text);
        if parts.is_empty() {
            answers.plain(b'I');
        }
        let mut said = Answers::default();
        let mut done = Ok(());
        for sql in parts {
            done = self.say(sql, &mut said).await;
            if done.is_err() {
                break;
            }
        }
        if done.is_ok() && !was_open && self.transaction.as_ref().is_some_and(|open| open.is_implicit) {
            done = self.commit().await;
        }
        if let Err(refusal) = done {
            self.fail();
            said = Answers::default();
            said.refuse("ERROR", &refusal);
        }
        answers.0.unsplit(said.0);
        answers.ready(self.status());
    }

    async fn say(&mut self, sql: &str, answers: &mut Answers) -> Result<(), Refusal> {
        let said = dialect::understand(sql);
        if self.transaction.as_ref().is_some_and(|open| open.has_failed)
            && !matches!(said, Said::Commit | Said::Rollback)
        {
            return Err(Refusal::new("25P02", "current transaction is aborted"));
        }
        let mut tag = "SELECT 1";
        match said {
            Said::Begin => {
                self.begin(false);
                tag = "BEGIN";
            }
            Said::Commit => {
                let failed = self.transaction.as_ref().is_some_and(|open| open.has_failed);
                if failed {
                    self.rollback();
                } else {
                    self.commit().await?;
                }
                tag = if failed { "ROLLBACK" } else { "COMMIT" };
            }
            Said::Rollback => {
                self.rollback();
                tag = "ROLLBACK";
            }
            Said::Set { name, value } => {
                self.settings.insert(name, value);
                tag = "SET";
            }
            Said::Listen => {
                self.server.listen(self.pid, self.bells.clone());
                tag = "LISTEN";
            }
            Said::Boot => self.server.boot(false),
            Said::BeginAnew => self.server.boot(true),
            Said::Pid => one(answers, Value::Int4(self.pid)),
            Said::Terminate { pid } => {
                self.server.terminate(pid);
                one(answers, Value::Bool(true));
            }
            Said::Prune { keep } => one(answers, Value::Int8(self.server.prune(keep))),
            Said::Triggers { enabled } => {
                self.server.set_triggers(enabled).await;
                tag = "ALTER TABLE";
            }
            Said::Version { id } => {
                if let Some(person) = self.person(&id) {
                    one(answers, Value::Int8(person.version));
                }
            }
            Said::Change(change) => {
                let versions = self.change(&change).await;
                if change.returning {
                    answers.columns(&[("version", Kind::Int8)], Format::Text);
                    for version in &versions {
                        answers.row(&[Value::Int8(*version)], Format::Text);
                    }
                }
                answers.complete(&format!("UPDATE {}", versions.len()));
                return Ok(());
            }
            Said::Insert { id, version, team } => {
                self.insert(&id, version, team).await?;
                tag = "INSERT 0 1";
            }
            Said::Delete { id } => {
                self.delete(&id).await;
                tag = "DELETE 1";
            }
            Said::Else => {
                let state = self
                    .server
                    .inspection(sql)
                    .ok_or_else(|| Refusal::new("0A000", format!("the model of Postgres does not know: {sql}")))?;
                one(answers, Value::Text(state));
            }
        }
        answers.complete(tag);
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.server.forget(self.pid);
    }
}

fn one(answers: &mut Answers, value: Value) {
    answers.columns(&[("value", Kind::Text)], Format::Text);
    answers.row(&[value], Format::Text);
}

/// A session's server, for the modules beside.
impl Session {
    pub(super) fn state(&self) -> Arc<super::world::State> {
        self.server.lock().snapshot()
    }
}
