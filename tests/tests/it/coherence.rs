//! After each kind of write the very next read, on every sidecar and by every path, is new (the issue, point 3).
//!
//! A story of acts is told to each flavour at lease 0 and at lease 50 ms, in one transaction each. All sidecars hold every answer from before the act;
//! after it they are asked everything again, at once, what must have changed first, and each answer is compared with the view asked straight from
//! Postgres. An act that changes nothing of what it says it changes fails: a story that proves nothing is not told.

mod acts;

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{Application, Client};

use self::acts::{Act, acts};
use crate::{
    house::{House, Plan, trusted, until},
    question::{Pool, Question},
    straight::Truth,
};

/// Whom and what the story is about. `u9`, `g-new`, `sk-new` and the like come into being in it.
const POOL: Pool = Pool {
    users: &["u1", "u2", "u3", "u7", "u50", "u9999"],
    emails: &[
        "user2@example.com",
        "user3@example.com",
        "User2@Example.com",
        "renamed@example.com",
        "nobody@example.com",
    ],
    groups: &["g1", "g4", "g5", "g-new", "g-parent"],
    settings: &[
        "rag.top_k",
        "user.permissions",
        "ui.enable_signup",
        "ui.banner",
        "rag.openai.api_key",
        "rag.openai_api_key",
    ],
    keys: &[
        "sk-00000000000000000000000000000002",
        "sk-00000000000000000000000000000003",
        "sk-new",
        "sk-rotated",
        "sk-expiring",
    ],
    functions: &["f1"],
    models: &["m1"],
    tools: &["t1"],
    resources: &["model:m1"],
    stamps: &["stamp-1", "stamp-2", "stamp-3", "stamp-7", "stamp-50", "none"],
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_webui_012_is_never_stale_without_leases() {
    tell(Application::OpenWebUi012, 0).await.unwrap();
}

/// P3. Every path shows the change. An answer that depends on a row in whatever way (by id, by e-mail old or new,
/// through a group, a parent group, a default, the absence of a row) is new with the same commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_webui_012_is_never_stale_with_leases() {
    tell(Application::OpenWebUi012, 50).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_webui_06_is_never_stale_without_leases() {
    tell(Application::OpenWebUi06, 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_webui_06_is_never_stale_with_leases() {
    tell(Application::OpenWebUi06, 50).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn naga_is_never_stale_without_leases() {
    tell(Application::Naga0518, 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn naga_is_never_stale_with_leases() {
    tell(Application::Naga0518, 50).await.unwrap();
}

/// The audience is awake: with a trigger that collects nothing the same story ends in old answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_catches_a_trigger_that_collects_nothing() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await.unwrap();
    let mut audience = Audience::gather(&house).await.unwrap();
    audience.look("the beginning", &[]).await.unwrap();
    let broken = "CREATE OR REPLACE FUNCTION neverstale.collect_group_member() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$";
    house.write(broken).await.unwrap();
    let paths = ["/v1/users/u2/groups", "/v1/users/u2/permissions"];
    house.write("DELETE FROM group_member").await.unwrap();
    let wrong = audience.look("everybody leaves", &paths).await.unwrap();
    assert!(
        paths.iter().all(|path| wrong.iter().any(|wrong| wrong.contains(path))),
        "{wrong:?}"
    );
}

/// Tells the whole story, and then what was wrong with it.
async fn tell(application: Application, lease_ms: u32) -> Result<()> {
    let house = Plan::of(application).lease_ms(lease_ms).with_redis().open().await?;
    let mut audience = Audience::gather(&house).await?;
    let mut wrong = audience.look("the beginning", &[]).await?;
    for act in acts(application) {
        match &act {
            Act::Write { name, sql, changes } => {
                house.write(sql).await.with_context(|| format!("act “{name}”"))?;
                wrong.extend(audience.look(name, changes).await?);
            }
            Act::Time { name, sql, changes } => {
                house.write(sql).await?;
                wrong.extend(audience.look(&format!("{name}, before its time"), &[]).await?);
                let question = audience.question(changes)?.clone();
                until(name, Duration::from_secs(10), async || {
                    Ok(house.truth(&question).await? == Truth::Absent)
                })
                .await?;
                wrong.extend(audience.look(name, &[changes]).await?);
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "{}, lease {lease_ms} ms: {} answers were wrong, such as\n{}",
        application.name(),
        wrong.len(),
        wrong.iter().take(12).cloned().collect::<Vec<_>>().join("\n")
    );
    // A story in which nothing is ever held from before would prove nothing.
    for sidecar in &house.sidecars {
        ensure!(
            sidecar.metric("neverstale_l1_entries").await? > 0.0,
            "a sidecar held nothing"
        );
    }
    ensure!(
        audience.hits > audience.answers / 10,
        "{} hits in {} answers",
        audience.hits,
        audience.answers
    );
    Ok(())
}

/// One client per sidecar, and what was true when they last looked.
struct Audience<'h> {
    house: &'h House,
    clients: Vec<Client>,
    questions: Vec<Question>,
    truths: HashMap<String, Truth>,
    answers: usize,
    hits: usize,
}

impl<'h> Audience<'h> {
    async fn gather(house: &'h House) -> Result<Self> {
        let questions = POOL.questions(&house.straight.flavour);
        let mut audience = Self {
            house,
            clients: house.sidecars.iter().map(trusted).collect(),
            questions,
            truths: HashMap::new(),
            answers: 0,
            hits: 0,
        };
        audience.truths = audience.truth().await?;
        Ok(audience)
    }

    fn question(&self, name: &str) -> Result<&Question> {
        let named = self.questions.iter().find(|question| question.to_string() == name);
        named.with_context(|| format!("no question is called {name}"))
    }

    async fn truth(&self) -> Result<HashMap<String, Truth>> {
        let mut truths = HashMap::new();
        for question in &self.questions {
            truths.insert(question.to_string(), self.house.truth(question).await?);
        }
        Ok(truths)
    }

    /// Asks every sidecar everything, what must have changed first, and gives what was wrong.
    async fn look(&mut self, act: &str, changes: &[&str]) -> Result<Vec<String>> {
        let mut order: Vec<Question> = Vec::new();
        for name in changes {
            order.push(self.question(name).with_context(|| format!("act “{act}”"))?.clone());
        }
        let others = self
            .questions
            .iter()
            .filter(|question| !changes.contains(&question.to_string().as_str()));
        order.extend(others.cloned());
        // The readers go first; nobody writes meanwhile, so the truth can wait.
        let asking = self.clients.iter_mut().map(|client| async {
            let mut answers = Vec::with_capacity(order.len());
            for question in &order {
                answers.push(question.ask(client).await?);
            }
            anyhow::Ok(answers)
        });
        let mut all = Vec::new();
        for reader in join_all(asking).await {
            all.push(reader?);
        }
        let truths = self.truth().await?;
        let mut wrong = Vec::new();
        for name in changes {
            if truths[*name] == self.truths[*name] {
                wrong.push(format!("act “{act}” did not change {name}: {:?}", truths[*name]));
            }
        }
        let (mut count, mut hits) = (0, 0);
        for (sidecar, answers) in all.iter().enumerate() {
            for (question, answer) in order.iter().zip(answers) {
                count += 1;
                hits += usize::from(
                    answer
                        .header("cache-status")
                        .is_some_and(|status| status.contains("hit")),
                );
                if let Err(error) = question.judge(&self.house.straight.flavour, &truths[&question.to_string()], answer)
                {
                    wrong.push(format!("after “{act}”, sidecar {sidecar}: {error}"));
                }
            }
        }
        (self.answers, self.hits) = (self.answers + count, self.hits + hits);
        self.truths = truths;
        Ok(wrong)
    }
}

/// Polls futures together on one task, for those that borrow.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    use std::{future::poll_fn, pin::Pin, task::Poll};
    let mut running: Vec<(Pin<Box<F>>, Option<F::Output>)> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(move |context| {
        for (future, output) in &mut running {
            if output.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if running.iter().any(|(_, output)| output.is_none()) {
            return Poll::Pending;
        }
        Poll::Ready(running.iter_mut().filter_map(|(_, output)| output.take()).collect())
    })
    .await
}
