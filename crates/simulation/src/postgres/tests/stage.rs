//! A server to play on, real or not, and what is told of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use neverstale_coherence::{FenceAnswer, Incarnation, OutstandingMarks, Position, SettleAnswer};
use neverstale_flavour::ViewId;
use neverstale_installation::InstallOptions;
use neverstale_postgres::{
    Connection, FeedConnection, FillPool, Filled, Listener, LogPage, Outset, PostgresError, Statements, Target,
};
use neverstale_testkit::{Database, Postgres, PostgresVersion};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::super::{Person, SCHEMA, Server, Temper};
use crate::{chance::Chance, flavour, network::Link, pod, story::Story};

const TABLE: &str = "
    CREATE TABLE person (id text PRIMARY KEY, version bigint NOT NULL, team_id text, noise bigint NOT NULL DEFAULT 0);
    INSERT INTO person SELECT 'p' || n, 0, 't1' FROM generate_series(1, 3) n;";
const LIMIT: Duration = Duration::from_secs(10);

/// A server with the application's table and the installation.
pub(super) enum Stage {
    Real {
        /// One that may be crashed.
        own: Option<Postgres>,
        database: Database,
    },
    Model {
        server: Server,
        link: Link,
    },
}

impl Stage {
    pub(super) async fn real(lease_ms: u32, own: bool) -> Self {
        let version = PostgresVersion::from_environment();
        let own = if own {
            Some(Postgres::start(version, &[]).await.unwrap())
        } else {
            None
        };
        let postgres = match &own {
            Some(postgres) => postgres,
            None => Postgres::shared().await.unwrap(),
        };
        let database = postgres.database_with("simulated", TABLE).await.unwrap();
        let admin = database.connect().await.unwrap();
        let options = InstallOptions {
            lease_ms: Some(lease_ms),
            ..InstallOptions::default()
        };
        neverstale_installation::install(&admin, &flavour(), SCHEMA, &options)
            .await
            .unwrap();
        Self::Real { own, database }
    }

    pub(super) fn model(lease_ms: u32) -> Self {
        let person = |number: u32| {
            let team = "t1".to_owned();
            (format!("p{number}"), Person { version: 0, team })
        };
        let temper = Temper {
            lingers_percent: 0,
            lingers_ms: 0..=0,
            flush_ms: 0..=0,
            clock_ppm: 0,
            steps_percent: 0,
        };
        let (chance, story) = (Chance::new(1), Story::begin());
        let persons: BTreeMap<_, _> = (1..=3).map(person).collect();
        let server = Server::start(flavour(), persons, lease_ms.into(), temper, chance.clone(), story);
        Self::Model {
            server,
            link: Link::new(0..=0, chance),
        }
    }

    fn target(&self) -> Target {
        match self {
            Self::Real { database, .. } => Target::parse(database.url()).unwrap(),
            Self::Model { server, link } => pod::target(server, link),
        }
    }

    /// A session as writers have it.
    pub(super) async fn client(&self) -> Client {
        match self {
            Self::Real { database, .. } => database.connect().await.unwrap(),
            Self::Model { server, link } => {
                let (near, far) = link.open();
                server.accept(far);
                let mut config = tokio_postgres::Config::new();
                let (client, connection) = config.user("app").connect_raw(near, NoTls).await.unwrap();
                tokio::spawn(connection);
                client
            }
        }
    }

    /// The connection of a feed.
    pub(super) async fn feed(&self) -> (FeedConnection, Arc<Statements>) {
        let (connection, _) = Connection::open(&self.target(), None, LIMIT, LIMIT).await.unwrap();
        let (feed, statements) = FeedConnection::prepare(connection, &flavour(), SCHEMA).await.unwrap();
        (feed, Arc::new(statements))
    }

    pub(super) fn fills(&self) -> FillPool {
        FillPool::new(self.target(), None, LIMIT, LIMIT, 1, &flavour())
    }

    pub(super) async fn listener(&self) -> Listener {
        Listener::open(&self.target(), None, LIMIT, LIMIT).await.unwrap()
    }

    pub(super) async fn crash(&self) {
        match self {
            Self::Real { own, .. } => {
                let postgres = own.as_ref().expect("a server of its own");
                postgres.kill_nine().await.unwrap();
                postgres.start_again().await.unwrap();
            }
            Self::Model { server, .. } => {
                server.crash();
                server.come_back();
            }
        }
    }

    pub(super) async fn restart(&self) {
        match self {
            Self::Real { own, .. } => own.as_ref().expect("a server of its own").restart().await.unwrap(),
            Self::Model { server, .. } => {
                server.stop();
                server.come_back();
            }
        }
    }
}

/// What was told, with incarnations named in the order of their appearance.
#[derive(Default)]
pub(super) struct Told {
    pub(super) lines: Vec<String>,
    incarnations: Vec<Incarnation>,
}

impl Told {
    pub(super) fn tell(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    fn name(&mut self, incarnation: Incarnation) -> String {
        let known = self.incarnations.iter().position(|known| *known == incarnation);
        let place = known.unwrap_or_else(|| {
            self.incarnations.push(incarnation);
            self.incarnations.len() - 1
        });
        format!("incarnation {place}")
    }

    pub(super) fn outset(&mut self, outset: &Outset) {
        let name = self.name(outset.incarnation);
        let (pruned_to, newest, suspended) = (outset.pruned_to.0, outset.newest.0, outset.suspended);
        self.tell(format!(
            "outset: {name}, pruned to {pruned_to}, newest {newest}, suspended {suspended}"
        ));
    }

    pub(super) fn fence(&mut self, answer: &FenceAnswer) {
        let name = self.name(answer.incarnation);
        let (intent, lease, position) = (answer.intent.0, answer.lease, answer.position.0);
        self.tell(format!(
            "fence: {name}, intent {intent}, lease {lease:?}, position {position}"
        ));
    }

    pub(super) fn settlement(&mut self, answer: &SettleAnswer) {
        let mut marks = match &answer.marks {
            OutstandingMarks::Some(marks) => marks.clone(),
            OutstandingMarks::Everything => Vec::new(),
        };
        marks.sort();
        let mut outstanding = answer.outstanding.clone();
        outstanding.sort_unstable();
        self.tell(format!(
            "settlement: intent {}, outstanding {outstanding:?}, unnamed {}, marks {marks:?}, position {}",
            answer.intent.0, answer.has_unnamed, answer.position.0
        ));
    }

    pub(super) fn page(&mut self, page: &LogPage) {
        let name = self.name(page.head.incarnation);
        let mut rows = Vec::new();
        for row in &page.rows {
            let mut tags = row.tags.clone();
            tags.sort();
            rows.push(format!(
                "{} {:?} {}",
                row.position.0,
                row.intent.map(|intent| intent.0),
                tags.join(" ")
            ));
        }
        self.tell(format!(
            "log: {name}, pruned to {}, newest {}, cut at {:?}, rows {rows:?}",
            page.head.pruned_to.0, page.head.newest.0, page.head.cut_at
        ));
    }

    pub(super) fn filled(&mut self, filled: &[Filled]) {
        for one in filled {
            let name = self.name(one.incarnation);
            let body = one.body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned());
            self.tell(format!(
                "filled: {name}, {body:?}, as of {}, tags {:?}, {:?}",
                one.as_of.0, one.tags, one.remaining
            ));
        }
    }

    /// Has a client say something, and tells the rows or the error.
    pub(super) async fn say(&mut self, client: &Client, sql: &str) {
        let said = said(client.simple_query(sql).await);
        self.tell(format!("{sql}: {said}"));
    }

    /// Tells how something that was begun has ended.
    pub(super) async fn ended(&mut self, what: &str, begun: JoinHandle<String>) {
        let said = tokio::time::timeout(LIMIT, begun).await.expect("it ends").unwrap();
        self.tell(format!("{what}: {said}"));
    }

    pub(super) fn refused<T>(&mut self, what: &str, answer: Result<T, PostgresError>) {
        let word = answer.map_or_else(|error| error.to_string(), |_| "answered".to_owned());
        self.tell(format!("{what}: {word}"));
    }
}

/// Has a client begin to say something, and does not wait for it.
pub(super) fn begin(client: &Arc<Client>, sql: &str) -> JoinHandle<String> {
    let (client, sql) = (Arc::clone(client), sql.to_owned());
    tokio::spawn(async move { said(client.simple_query(&sql).await) })
}

fn said(answer: Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>) -> String {
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    match answer {
        Ok(messages) => format!("{:?}", messages.iter().filter_map(row).collect::<Vec<_>>()),
        Err(error) => error
            .code()
            .map_or_else(|| "the connection ended".to_owned(), |code| code.code().to_owned()),
    }
}

/// The view that gives one person, and the one that gives a team.
pub(super) const PERSON: ViewId = ViewId(0);
pub(super) const TEAM: ViewId = ViewId(1);

/// From the beginning of the log.
pub(super) const START: Position = Position(0);
