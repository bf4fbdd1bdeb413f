//! Who reads and who writes: applications in pods, and clients of Postgres that know nothing of them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use neverstale_cache::Level;
use neverstale_flavour::Read;
use neverstale_wire::Token;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::{
    chance::Chance,
    judge::{Given, Judge, Shown, source_name},
    network::Link,
    plan::Plan,
    pod::Pod,
    postgres::Server,
    story::Story,
};

/// How long an application waits for an answer.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// What readers and writers share.
#[derive(Clone)]
pub(crate) struct Scene {
    /// What was planned.
    pub(crate) plan: Arc<Plan>,
    /// Postgres.
    pub(crate) server: Server,
    /// Judges answers.
    pub(crate) judge: Judge,
    /// Is told everything.
    pub(crate) story: Story,
    /// Nobody begins anything new.
    pub(crate) is_over: Arc<AtomicBool>,
    /// Writers begin no transaction: the operator is at work.
    pub(crate) is_quiet: Arc<AtomicBool>,
    /// Transactions under way.
    pub(crate) writing: Arc<AtomicUsize>,
    /// Tokens that callers hold.
    pub(crate) tokens: Arc<Mutex<Vec<Token>>>,
}

impl Scene {
    /// One application's reads, one after the other, until it is over.
    pub(crate) async fn read(self, name: String, pod: Pod, chance: Chance) {
        while !self.is_over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(chance.among(self.plan.read_pause_ms.clone()))).await;
            let level = self.level(&chance);
            if chance.percent(15) {
                let count = chance.among(2..=3);
                let paths: Vec<String> = (0..count).map(|_| self.path(&chance)).collect();
                self.read_all(&name, &pod, &paths, level).await;
            } else {
                let path = self.path(&chance);
                let _ = self
                    .read_one(&name, &pod, &path, level, Instant::now() + PATIENCE)
                    .await;
            }
        }
    }

    fn path(&self, chance: &Chance) -> String {
        if chance.percent(70) {
            format!("/v1/users/p{}", chance.among(1..=self.plan.persons as u64))
        } else {
            format!("/v1/users/t{}/groups", chance.among(1..=self.plan.teams as u64))
        }
    }

    fn level(&self, chance: &Chance) -> Level {
        let tokens = self.tokens.lock().expect("nobody panics while holding tokens");
        match chance.among(0..=99) {
            0..=64 => Level::FullyConsistent,
            65..=74 => Level::FullyConsistentOrBounded,
            75..=84 => Level::MinimizeLatency,
            _ if tokens.is_empty() => Level::FullyConsistent,
            _ => Level::AtLeastAsFresh(chance.one(&tokens)),
        }
    }

    /// One read, as the listener does it: a hit at once, or all that it takes.
    ///
    /// # Errors
    ///
    /// Why there was no answer.
    pub(crate) async fn read_one(
        &self,
        name: &str,
        pod: &Pod,
        path: &str,
        level: Level,
        deadline: Instant,
    ) -> Result<(), String> {
        let since = self.judge.now();
        let read = pod.router.route(path).expect("a path of the flavour");
        let answered = match pod.cache.hit(path, level) {
            Some(answer) => Ok(answer),
            None => pod.cache.read(&read, level, deadline).await,
        };
        let asked = format_args!("{path} at {}, asked at {} ms", level.name(), since.at_ms).to_string();
        match answered {
            Ok(answer) => {
                let source = source_name(answer.source);
                let shown = answer.entry.is_found.then(|| text(&answer.entry.body));
                self.story.tell(
                    name,
                    format_args!("{asked}: {} ({source}, {})", Shown(&shown), answer.token.position.0),
                );
                self.judge.count(source);
                if answer.kept != level {
                    self.judge.count("kept another level");
                }
                self.hold(answer.token);
                let given = Given {
                    reads: &[read],
                    bodies: vec![shown],
                    kept: answer.kept,
                    token: answer.token,
                };
                self.judge.judge(&format!("{name}, {path},"), since, &given);
                Ok(())
            }
            Err(error) => {
                let chain = chain(&error);
                self.story.tell(name, format_args!("{asked}: no answer: {chain}"));
                self.judge.count("no answer");
                Err(chain)
            }
        }
    }

    async fn read_all(&self, name: &str, pod: &Pod, paths: &[String], level: Level) {
        let since = self.judge.now();
        let reads: Vec<Read> = paths
            .iter()
            .map(|path| pod.router.route(path).expect("a path of the flavour"))
            .collect();
        let answered = pod.cache.read_all(&reads, level, Instant::now() + PATIENCE).await;
        let asked = format!("{} at {}, asked at {} ms", paths.join(" + "), level.name(), since.at_ms);
        match answered {
            Ok(answer) => {
                let entries = answer.entries.iter();
                let bodies: Vec<_> = entries.map(|entry| entry.is_found.then(|| text(&entry.body))).collect();
                let shown: Vec<String> = bodies.iter().map(|body| Shown(body).to_string()).collect();
                self.story.tell(
                    name,
                    format_args!("{asked}: {} ({})", shown.join(" + "), answer.token.position.0),
                );
                self.judge.count("batch");
                self.hold(answer.token);
                let given = Given {
                    reads: &reads,
                    bodies,
                    kept: answer.kept,
                    token: answer.token,
                };
                self.judge
                    .judge(&format!("{name}, {},", paths.join(" + ")), since, &given);
            }
            Err(error) => {
                self.story
                    .tell(name, format_args!("{asked}: no answer: {}", chain(&error)));
                self.judge.count("no answer");
            }
        }
    }

    fn hold(&self, token: Token) {
        let mut tokens = self.tokens.lock().expect("nobody panics while holding tokens");
        if tokens.len() == 8 {
            tokens.remove(0);
        }
        tokens.push(token);
    }

    /// One client that writes, connecting again whenever it must, until it is over.
    pub(crate) async fn write(self, name: &'static str, link: Link, chance: Chance) {
        let mut session = None;
        while !self.is_over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(chance.among(self.plan.write_pause_ms.clone()))).await;
            if self.is_quiet.load(Ordering::Relaxed) {
                continue;
            }
            if session.is_none() {
                session = connect(&link, &self.server).await;
                if let Some(client) = session
                    .as_ref()
                    .filter(|_| chance.percent(self.plan.asynchronous_percent))
                {
                    let _ = client.batch_execute("SET synchronous_commit = off").await;
                }
            }
            let Some(client) = &session else { continue };
            let Some(_writing) = self.begin_writing() else { continue };
            let script = self.transaction(&chance);
            let done = perform(client, &script, &chance, &self.plan).await;
            let what = script.join("; ");
            match done {
                Ok(versions) => self.story.tell(name, format_args!("{what}: done {versions:?}")),
                Err(error) => {
                    self.story.tell(name, format_args!("{what}: {error}"));
                    // What became of the transaction is for the server to say; the next one has a session of its own.
                    session = None;
                }
            }
        }
    }

    fn begin_writing(&self) -> Option<Writing> {
        if self.is_quiet.load(Ordering::Relaxed) {
            return None;
        }
        self.writing.fetch_add(1, Ordering::Relaxed);
        Some(Writing(Arc::clone(&self.writing)))
    }

    fn transaction(&self, chance: &Chance) -> Vec<String> {
        let person = || format!("'p{}'", chance.among(1..=self.plan.persons as u64));
        let team = || format!("'t{}'", chance.among(1..=self.plan.teams as u64));
        let update = |id: &str, set: &str| format!("UPDATE person SET {set} WHERE id = {id} RETURNING version");
        let counted = |id: &str| update(id, "version = version + 1");
        match chance.among(0..=99) {
            0..=49 => vec![counted(&person())],
            50..=59 => vec![update(
                &person(),
                &format!("version = version + 1, team_id = {}", team()),
            )],
            60..=64 => vec!["UPDATE person SET noise = noise + 1 WHERE id = 'p1'".to_owned()],
            65..=69 => vec![format!("DELETE FROM person WHERE id = {}", person())],
            70..=77 => {
                let version = chance.among(1_000..=9_999);
                let (person, team) = (person(), team());
                vec![format!(
                    "INSERT INTO person (id, version, team_id) VALUES ({person}, {version}, {team})"
                )]
            }
            _ => {
                // In the order of their ids, as a careful writer locks rows.
                let mut ids: Vec<String> = (0..chance.among(1..=3)).map(|_| person()).collect();
                ids.sort();
                ids.dedup();
                let end = if chance.percent(15) { "ROLLBACK" } else { "COMMIT" };
                let begin = ["BEGIN".to_owned()].into_iter();
                begin
                    .chain(ids.iter().map(|id| counted(id)))
                    .chain([end.to_owned()])
                    .collect()
            }
        }
    }
}

/// A transaction under way.
struct Writing(Arc<AtomicUsize>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn perform(client: &Client, script: &[String], chance: &Chance, plan: &Plan) -> Result<Vec<String>, String> {
    let mut versions = Vec::new();
    for statement in script {
        // A commit takes its wait, and may stand behind others.
        let limit = Duration::from_millis(1_000 + 10 * plan.lease_ms);
        let answer = tokio::time::timeout(limit, client.simple_query(statement)).await;
        let messages = answer
            .map_err(|_| "no answer in time".to_owned())?
            .map_err(|error| chain(&error))?;
        versions.extend(messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }));
        if script.len() > 1 && chance.percent(30) {
            sleep(Duration::from_millis(chance.among(0..=30))).await;
        }
    }
    Ok(versions)
}

async fn connect(link: &Link, server: &Server) -> Option<Client> {
    link.pass().await;
    let (near, far) = link.open();
    server.accept(far);
    let mut config = tokio_postgres::Config::new();
    config.user("app");
    let (client, connection) = config.connect_raw(near, NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
