//! What a person asks about many: who can do this, what can somebody do, and why; with the names that a person knows them by.
//!
//! Each answer is one snapshot of the primary, asked when the question came and kept nowhere: names and addresses of everybody are in no
//! tier of the cache. Decided is by the same function, the same rules and the same views as everywhere. One question at a time asks
//! Postgres, so that whoever looks things up never takes the connections of those who are waiting for the application: also where
//! nobody waits for the answer any more, because Postgres goes on with what it was asked.

use std::{collections::HashMap, sync::Arc, time::Duration};

use neverstale_cache::{BatchAnswer, Cache, ReadError};
use neverstale_flavour::{Read, Router};
use neverstale_lifecycle::Tasks;
use neverstale_wire::Token;
use serde::Deserialize;
use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use crate::{
    Action, DecideError, Decider, Decision, Facts, LookedFor, ResourceRef, ResourceType, Roster, Subject, decide,
};

/// People who are looked at for one answer.
pub const PEOPLE_MAX: usize = 20_000;
/// A query that nobody waits for ends by the limit on statements, and its turn with it; no turn lasts this much longer than the wait.
const TURN_MAX: Duration = Duration::from_mins(2);

/// Looks things up for a person.
pub struct Survey {
    decider: Arc<Decider>,
    cache: Arc<Cache>,
    router: Arc<Router>,
    roster_view: String,
    names_view: String,
    tasks: Tasks,
    turn: Arc<Semaphore>,
}

/// Which people are meant.
#[derive(Clone, Copy, Debug)]
pub enum People<'p> {
    /// Those of these ids.
    Of(&'p [&'p str]),
    /// Those whose id this is, or in whose name or address it occurs; the empty text is everybody.
    Like(&'p str),
}

/// People who were looked for.
#[derive(Debug)]
pub struct FoundPeople {
    /// As many as were asked for, from the place on that was asked for.
    pub roster: Roster,
    /// The state.
    pub token: Token,
}

/// All resources of a type.
#[derive(Debug)]
pub struct FoundResources {
    /// What is known of them, and of what they are built on.
    pub facts: Facts,
    /// Their names, by id; what only we know of has none.
    pub names: HashMap<String, String>,
    /// The state.
    pub token: Token,
}

/// What somebody can do with the resources of a type.
#[derive(Debug)]
pub struct Holdings {
    /// The person, if known, and all groups.
    pub roster: Roster,
    /// Each resource with the decisions about it, in the order of [`Action::ALL`]; by id.
    pub held: Vec<Held>,
    /// The state.
    pub token: Token,
}

/// One resource in somebody's hands.
#[derive(Debug)]
pub struct Held {
    /// The resource.
    pub resource: ResourceRef,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Of a function: pipe, filter or action.
    pub kind: Option<String>,
    /// Whether it is everybody's because its access was never set.
    pub is_open: bool,
    /// The decisions, in the order of [`Action::ALL`].
    pub decisions: [Decision; Action::ALL.len()],
}

/// What was decided about a resource, for some people.
#[derive(Debug)]
pub struct Verdicts {
    /// What is known of the resource, and of what it is built on.
    pub facts: Facts,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is everybody's because its access was never set.
    pub is_open: bool,
    /// The people and all groups.
    pub roster: Roster,
    /// For each of the people, in their order, the decisions about what was asked, in the order of the actions.
    pub decisions: Vec<Vec<Decision>>,
    /// The state.
    pub token: Token,
}

impl Survey {
    /// Prepares to look things up; none where the flavour has no views for that.
    pub fn new(decider: Arc<Decider>, cache: Arc<Cache>, router: Arc<Router>, tasks: Tasks) -> Option<Self> {
        let access = router.flavour().access.as_ref()?;
        Some(Self {
            roster_view: access.roster.clone()?,
            names_view: access.names.clone()?,
            decider,
            cache,
            router,
            tasks,
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// Looks for people, at most `limit`, by name; those after the one of that name and id, if given.
    ///
    /// # Errors
    /// As [`Decider::decide`].
    ///
    /// # Cancel safety
    /// Dropping it loses nothing, here and below.
    pub async fn people(
        &self,
        people: People<'_>,
        after: Option<(&str, &str)>,
        limit: usize,
        deadline: Instant,
    ) -> Result<FoundPeople, DecideError> {
        let reads = vec![self.roster(people, after, limit)?];
        self.ask(reads, deadline, |answered| {
            let roster = Roster::parse(&answered.entries[0].body)?;
            let token = answered.token;
            Ok(FoundPeople { roster, token })
        })
        .await
    }

    /// Gives all resources of a type.
    ///
    /// # Errors
    /// As [`Decider::decide`].
    pub async fn resources(&self, kind: ResourceType, deadline: Instant) -> Result<FoundResources, DecideError> {
        let reads = vec![self.decider.read_of_all(kind)?, self.names(kind)?];
        self.ask(reads, deadline, |answered| {
            let facts = Facts::parse(&answered.entries[0].body)?;
            let names = names_of(&answered.entries[1].body)?;
            let token = answered.token;
            Ok(FoundResources { facts, names, token })
        })
        .await
    }

    /// Decides about all resources of a type for one user.
    ///
    /// # Errors
    /// As [`Decider::decide`].
    pub async fn holdings(
        &self,
        user_id: &str,
        kind: ResourceType,
        deadline: Instant,
    ) -> Result<Holdings, DecideError> {
        let reads = vec![
            self.decider.read_of_subject(user_id)?,
            self.decider.read_of_all(kind)?,
            self.names(kind)?,
            self.roster(People::Of(&[user_id]), None, 1)?,
        ];
        let decider = Arc::clone(&self.decider);
        self.ask(reads, deadline, move |answered| {
            let subject = Subject::of_entry(&answered.entries[0])?;
            let facts = Facts::parse(&answered.entries[1].body)?;
            let mut names = names_of(&answered.entries[2].body)?;
            let mut held: Vec<Held> = facts
                .of_type(kind)
                .map(|(resource, known)| Held {
                    decisions: Action::ALL.map(|action| decider.judge(subject.as_ref(), action, resource, &facts)),
                    name: names.remove(&resource.id),
                    kind: known.kind.clone(),
                    is_open: decider.rules().is_open(kind, known),
                    resource: resource.clone(),
                })
                .collect();
            held.sort_unstable_by(|one, other| one.resource.id.cmp(&other.resource.id));
            Ok(Holdings {
                roster: Roster::parse(&answered.entries[3].body)?,
                held,
                token: answered.token,
            })
        })
        .await
    }

    /// Decides about one resource for some people, at most [`PEOPLE_MAX`] of them.
    ///
    /// # Errors
    /// As [`Decider::decide`].
    pub async fn verdicts(
        &self,
        people: People<'_>,
        actions: &[Action],
        resource: &ResourceRef,
        deadline: Instant,
    ) -> Result<Verdicts, DecideError> {
        let mut reads = vec![
            self.decider.read_of_one(resource)?,
            self.names(resource.kind)?,
            self.roster(people, None, PEOPLE_MAX)?,
        ];
        if let People::Of(&[user_id]) = people {
            reads.push(self.decider.read_of_subject(user_id)?);
        }
        let decider = Arc::clone(&self.decider);
        let (actions, resource) = (actions.to_vec(), resource.clone());
        self.ask(reads, deadline, move |answered| {
            let facts = Facts::parse(&answered.entries[0].body)?;
            let roster = Roster::parse(&answered.entries[2].body)?;
            let decide = |subject: Option<&Subject>| -> Vec<Decision> {
                let judge = |action: &Action| decider.judge(subject, *action, &resource, &facts);
                actions.iter().map(judge).collect()
            };
            let decisions = match answered.entries.get(3) {
                // One user, who may not exist, by the very view that decisions are made by elsewhere.
                Some(entry) => vec![decide(Subject::of_entry(entry)?.as_ref())],
                None => {
                    let subjects = roster.people().iter().map(|person| &person.subject);
                    subjects.map(|subject| decide(Some(subject))).collect()
                }
            };
            Ok(Verdicts {
                name: names_of(&answered.entries[1].body)?.remove(&resource.id),
                is_open: facts
                    .get(&resource)
                    .is_some_and(|known| decider.rules().is_open(resource.kind, known)),
                facts,
                roster,
                decisions,
                token: answered.token,
            })
        })
        .await
    }

    fn roster(&self, people: People<'_>, after: Option<(&str, &str)>, limit: usize) -> Result<Read, DecideError> {
        let (ids, like) = match people {
            People::Of(ids) => (json(&ids), ""),
            People::Like(text) => (String::new(), text),
        };
        let after = after.map(|after| json(&after)).unwrap_or_default();
        let read = self
            .router
            .read_of(&self.roster_view, "", &[&ids, like, &after, &limit.to_string()]);
        read.ok_or(DecideError::NotInThisSchema)
    }

    fn names(&self, kind: ResourceType) -> Result<Read, DecideError> {
        let read = self.router.read_of(&self.names_view, "", &[kind.name()]);
        read.ok_or(DecideError::NotInThisSchema)
    }

    /// Asks in one snapshot, and works on the answer where that is in nobody's way. The turn is the query's and not the caller's: who
    /// goes away while Postgres is at it lets nobody else ask before it has ended.
    async fn ask<T: Send + 'static>(
        &self,
        reads: Vec<Read>,
        deadline: Instant,
        work: impl FnOnce(BatchAnswer) -> Result<T, DecideError> + Send + 'static,
    ) -> Result<T, DecideError> {
        let turn = timeout_at(deadline, Arc::clone(&self.turn).acquire_owned()).await;
        let turn = turn.map_err(|_| ReadError::Deadline)?;
        let (tell, told) = oneshot::channel();
        let cache = Arc::clone(&self.cache);
        self.tasks.spawn_brief("survey", async move {
            let _turn = turn;
            // Whoever asked may be gone: then nobody is told.
            let _ = tell.send(cache.read_straight(&reads, deadline + TURN_MAX).await);
        });
        let told = timeout_at(deadline, told).await.map_err(|_| ReadError::Deadline)?;
        let answered = told.map_err(|_| DecideError::Unreadable)??;
        spawn_blocking(move || work(answered))
            .await
            .map_err(|_| DecideError::Unreadable)?
    }
}

impl Decider {
    /// Decides from facts that are at hand; without a subject the answer is no.
    fn judge(&self, subject: Option<&Subject>, action: Action, resource: &ResourceRef, facts: &Facts) -> Decision {
        match subject {
            Some(subject) => decide(self.rules(), subject, action, resource, facts),
            None => Decision::denied(LookedFor::Subject),
        }
    }
}

#[derive(Deserialize)]
struct RawNames {
    names: HashMap<String, Option<String>>,
}

fn names_of(body: &[u8]) -> Result<HashMap<String, String>, DecideError> {
    let raw: RawNames = serde_json::from_slice(body).map_err(|_| DecideError::Unreadable)?;
    let named = raw.names.into_iter().filter_map(|(id, name)| Some((id, name?)));
    Ok(named.collect())
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts always serialise")
}
