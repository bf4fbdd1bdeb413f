//! Random SQL on all watched tables: every cached projection equals the same view asked straight from Postgres, and whatever a write changes it has
//! published a tag of (PROTOCOL §9 iii).
//!
//! `NEVERSTALE_TEST_SEED` repeats a run (it is in the message of each failure), `NEVERSTALE_TEST_STATEMENTS` makes it longer.

mod writes;

use std::{collections::BTreeSet, env};

use anyhow::{Context, Result, bail, ensure};
use neverstale_testkit::{Application, Client, Population};
use neverstale_tests::dice::Dice;

use self::writes::{Attempt, Tables};
use crate::{
    house::{House, Plan, trusted},
    question::{Pool, Question},
    straight::{Seen, Truth},
};

const POOL: Pool = Pool {
    users: &["u1", "u2", "u3", "u4", "u5", "u 6/ä"],
    emails: &["user1@example.com", "User1@Example.com", "b@x.org"],
    groups: &["g1", "g2", "g3"],
    settings: &[
        "rag.top_k",
        "rag.openai_api_key",
        "user.permissions",
        "rag.openai.api_key",
    ],
    keys: &["sk-00000000000000000000000000000001", "sk-1", "sk-2"],
    functions: &["f1", "f2"],
    models: &["m1", "m2"],
    tools: &["t1"],
    resources: &["model:m1", "tool:t1"],
    stamps: &["s1", "s2"],
};

/// Values that make sense in a key column are drawn from the same few.
const POPULATION: Population = Population {
    users: 5,
    groups: 3,
    memberships: 2,
    api_keys: 3,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_webui_012_answers_as_postgres_would() {
    compare(Application::OpenWebUi012).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_webui_06_answers_as_postgres_would() {
    compare(Application::OpenWebUi06).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn naga_answers_as_postgres_would() {
    compare(Application::Naga0518).await.unwrap();
}

#[tokio::test]
async fn open_webui_012_publishes_a_tag_of_whatever_changes() {
    search(Application::OpenWebUi012).await.unwrap();
}

#[tokio::test]
async fn open_webui_06_publishes_a_tag_of_whatever_changes() {
    search(Application::OpenWebUi06).await.unwrap();
}

#[tokio::test]
async fn naga_publishes_a_tag_of_whatever_changes() {
    search(Application::Naga0518).await.unwrap();
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn seed(application: Application) -> u64 {
    number("NEVERSTALE_TEST_SEED", 20_260) + application as u64 * 1_000_003
}

fn statements() -> u64 {
    number("NEVERSTALE_TEST_STATEMENTS", 150)
}

/// Runs random transactions and compares everything after each.
async fn compare(application: Application) -> Result<()> {
    let seed = seed(application);
    let house = Plan::of(application)
        .lease_ms(15)
        .sidecars(2)
        .population(POPULATION)
        .open()
        .await?;
    let mut drama = Drama::new(&house, seed).await?;
    drama.compare().await?;
    let mut made = 0;
    while made < statements() {
        made += drama.transaction().await.with_context(|| drama.told(application))?;
        drama.compare().await.with_context(|| drama.told(application))?;
    }
    ensure!(
        drama.changed > 100,
        "{}: only {} answers changed, which proves little",
        application.name(),
        drama.changed
    );
    Ok(())
}

/// Two sidecars and a writer without aim.
struct Drama<'h> {
    house: &'h House,
    dice: Dice,
    seed: u64,
    tables: Tables,
    clients: Vec<Client>,
    questions: Vec<Question>,
    truths: Vec<Truth>,
    changed: usize,
    last: Vec<String>,
}

impl<'h> Drama<'h> {
    async fn new(house: &'h House, seed: u64) -> Result<Self> {
        let flavour = &house.straight.flavour;
        Ok(Self {
            house,
            dice: Dice::new(seed),
            seed,
            tables: Tables::read(&house.writer, flavour).await?,
            clients: house.sidecars.iter().map(trusted).collect(),
            questions: POOL.questions(flavour),
            truths: Vec::new(),
            changed: 0,
            last: Vec::new(),
        })
    }

    fn told(&self, application: Application) -> String {
        let last = self.last.join(";\n  ");
        format!(
            "{}, NEVERSTALE_TEST_SEED={} gives {}, after the transaction\n  {last}",
            application.name(),
            number("NEVERSTALE_TEST_SEED", 20_260),
            self.seed
        )
    }

    /// One transaction of a few statements, some of which it takes back; gives how many.
    async fn transaction(&mut self) -> Result<u64> {
        let writer = &self.house.writer;
        let count = 1 + self.dice.below(4);
        self.last = vec!["BEGIN".to_owned()];
        writer.batch_execute("BEGIN").await?;
        for _ in 0..count {
            let sql = self.tables.write(&mut self.dice);
            let attempt = writes::attempt(writer, &sql).await;
            self.last.push(format!("{sql} -- {attempt:?}"));
            if matches!(attempt?, Attempt::Done) && self.dice.one_in(6) {
                writer.batch_execute("ROLLBACK TO SAVEPOINT attempt").await?;
                self.last.push("ROLLBACK TO SAVEPOINT".to_owned());
            }
        }
        let end = if self.dice.one_in(6) { "ROLLBACK" } else { "COMMIT" };
        self.last.push(end.to_owned());
        writer.batch_execute(end).await?;
        Ok(count as u64)
    }

    /// Asks every sidecar everything, and Postgres.
    async fn compare(&mut self) -> Result<()> {
        let mut truths = Vec::with_capacity(self.questions.len());
        let questions = &self.questions;
        let [one, other] = &mut self.clients[..] else {
            bail!("there are two sidecars")
        };
        let ask = async |client: &mut Client| {
            let mut answers = Vec::with_capacity(questions.len());
            for question in questions {
                answers.push(question.ask(client).await?);
            }
            anyhow::Ok(answers)
        };
        let (ones, others) = tokio::try_join!(ask(one), ask(other))?;
        for question in questions {
            truths.push(self.house.truth(question).await?);
        }
        for (place, question) in questions.iter().enumerate() {
            for (sidecar, answers) in [&ones, &others].into_iter().enumerate() {
                let judged = question.judge(&self.house.straight.flavour, &truths[place], &answers[place]);
                judged.with_context(|| format!("sidecar {sidecar}"))?;
            }
            self.changed += usize::from(self.truths.get(place).is_some_and(|before| *before != truths[place]));
        }
        self.truths = truths;
        Ok(())
    }
}

/// Makes one random write at a time, looks what it changes and what stage one has published of it, and takes it back; then lets it happen.
async fn search(application: Application) -> Result<()> {
    let seed = seed(application) + 1;
    let house = Plan::of(application)
        .lease_ms(0)
        .sidecars(0)
        .population(POPULATION)
        .open()
        .await?;
    let straight = &house.straight;
    let mut dice = Dice::new(seed);
    let tables = Tables::read(&house.writer, &straight.flavour).await?;
    let questions = POOL.questions(&straight.flavour);
    let reads = questions
        .iter()
        .map(|question| question.read(&straight.router))
        .collect::<Result<Vec<_>>>()?;
    let ask = async || {
        let mut seen: Vec<Seen> = Vec::with_capacity(reads.len());
        for read in &reads {
            let answer = straight.ask(read).await?;
            if matches!(answer.truth, Truth::Fails(_)) {
                straight.client.batch_execute("ROLLBACK TO SAVEPOINT asking").await?;
            }
            seen.push(answer);
        }
        anyhow::Ok(seen)
    };
    let mut changed = 0;
    let mut before = None;
    for _ in 0..statements() / 2 {
        let sql = tables.write(&mut dice);
        // The schema is on the path of this connection only for the writes.
        let client = &straight.client;
        client.batch_execute("BEGIN; SAVEPOINT asking").await?;
        let old = match before.take() {
            Some(old) => old,
            None => ask().await?,
        };
        client
            .batch_execute("SET LOCAL search_path = public, neverstale")
            .await?;
        writes::attempt(client, &sql).await?;
        client
            .batch_execute("SET LOCAL search_path = pg_catalog; SAVEPOINT asking")
            .await?;
        let tags = "SELECT tag FROM neverstale.tag WHERE xid = pg_catalog.pg_current_xact_id_if_assigned()";
        let published: BTreeSet<String> = client.query(tags, &[]).await?.iter().map(|row| row.get(0)).collect();
        let new = ask().await?;
        for (question, (old, new)) in questions.iter().zip(old.iter().zip(&new)) {
            // What can't be answered is not kept.
            let is_kept = !matches!(old.truth, Truth::Fails(_));
            if is_kept && (&old.truth, old.not_after) != (&new.truth, new.not_after) {
                changed += 1;
                ensure!(
                    !old.tags.is_disjoint(&published),
                    "{}, NEVERSTALE_TEST_SEED={} gives {seed}: {sql}\nchanges {question}\n  from {old:?}\n  to {new:?}\n  but publishes {published:?}",
                    application.name(),
                    number("NEVERSTALE_TEST_SEED", 20_260),
                );
            }
        }
        client.batch_execute("ROLLBACK").await?;
        // Now for real. A sequence goes on from where the rehearsal has left it, so the rows are not always the same ones.
        house.writer.batch_execute("BEGIN").await?;
        let attempt = writes::attempt(&house.writer, &sql).await?;
        house.writer.batch_execute("COMMIT").await?;
        before = matches!(attempt, Attempt::Forbidden).then_some(old);
    }
    ensure!(
        changed > 50,
        "{}: only {changed} answers changed, which proves little",
        application.name()
    );
    Ok(())
}
