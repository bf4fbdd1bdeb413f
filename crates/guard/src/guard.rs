//! What the door decides about a request, by route: passed, filtered, refused or answered here.
//!
//! Asked after the path was understood and the caller is known, before anything is sent to the application. A decision needs
//! facts that are never stale; where they can't be had, it is a refusal. Routes and their rules are data (`routes`, `rule`,
//! `source`, from `flavours/routes/`); what a request names is found (`ask`, `body`), and who may is decided elsewhere (`rbac`)
//! or, of users and groups, in `people`. `judge` puts it together.

mod pattern;
mod routes;
mod rule;
mod source;

mod ask;
mod body;
mod people;

mod answers;
mod audit;
mod judge;
mod list;
mod settings;
mod titles;

use bytes::Bytes;
use http::{Method, Response, request::Parts};
use neverstale_identity::Caller;
use neverstale_wire::Problem;
use tokio::time::Instant;

pub use judge::GuardParts;
pub use list::ListFilter;
pub use routes::{Routes, RoutesError};
pub use settings::GuardSettings;

use crate::{answer, guard::judge::Judge, path::RoutePath};

/// Below these, requests are the business of the application's API: who asks is found out first. Everything else that only
/// reads is a page or a file that everybody may have.
const API_PREFIXES: [&str; 8] = [
    "/api",
    "/openai",
    "/ollama",
    "/ws",
    "/oauth",
    "/cache",
    "/pipelines",
    "/internal",
];

/// Decides about requests. The default one has no rules: it passes everything.
#[derive(Default)]
pub struct Guard {
    judge: Option<Judge>,
}

/// What is to become of a request.
#[derive(Debug)]
pub enum Verdict {
    /// The application answers.
    Pass,
    /// The application answers, to a request with this body in the place of its own.
    PassWith(Bytes),
    /// The application answers, and its answer is filtered.
    Filter(ListFilter),
    /// It is not allowed.
    Refuse(Refusal),
    /// It is answered here.
    Answer(Response<Bytes>),
    /// It can't be judged without its body, which is read now, up to a bound.
    NeedsBody(BodyRule),
}

/// Which body is needed: all of it.
#[derive(Debug)]
pub struct BodyRule {}

/// How a request is refused.
#[derive(Debug)]
pub struct Refusal {
    /// What the caller is told.
    pub answer: Response<Bytes>,
}

impl Refusal {
    /// Refuses with a problem.
    pub fn problem(problem: &Problem) -> Self {
        Self {
            answer: answer::problem(problem),
        }
    }
}

impl Guard {
    /// A guard with rules.
    pub fn new(parts: GuardParts<'_>) -> Self {
        Self {
            judge: Some(Judge::new(parts)),
        }
    }

    /// Says whether a request needs a decision, and so a caller who is known, or known to be nobody. Where that can't be
    /// found out, the request is shut out; what needs none stays open.
    pub fn needs_caller(&self, method: &Method, path: &RoutePath) -> bool {
        let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        !is_read || path.is_below_any(&API_PREFIXES)
    }

    /// Says whether requests that are not allowed are let through all the same, and only written down.
    pub fn observes(&self) -> bool {
        self.judge.as_ref().is_some_and(Judge::observes)
    }

    /// Says whether a request that can't be judged is let through, and then writes it down: where the door only observes.
    pub fn passes_unjudged(&self, caller: Option<&Caller>, head: &Parts, path: &RoutePath) -> bool {
        let observing = self.judge.as_ref().filter(|judge| judge.observes());
        if let Some(judge) = observing {
            judge.write_down_unjudged(caller, head, path.as_str());
        }
        observing.is_some()
    }

    /// Decides about a request before its body is read. `caller` is none for who shows nothing, and for who shows what is
    /// worth nothing.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn judge(&self, caller: Option<&Caller>, head: &Parts, path: &RoutePath, deadline: Instant) -> Verdict {
        match &self.judge {
            // Boxed, as below: a decision is a deep future, and would be part of every request's.
            Some(judge) => Box::pin(judge.judge(caller, head, path.as_str(), deadline)).await,
            None => Verdict::Pass,
        }
    }

    /// Decides about a request whose body a verdict has asked for. Another [`Verdict::NeedsBody`] is a refusal.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn judge_body(
        &self,
        caller: Option<&Caller>,
        head: &Parts,
        path: &RoutePath,
        _rule: &BodyRule,
        body: &Bytes,
        deadline: Instant,
    ) -> Verdict {
        match &self.judge {
            Some(judge) => Box::pin(judge.judge_body(caller, head, path.as_str(), body, deadline)).await,
            None => Verdict::Pass,
        }
    }

    /// Decides about a request with its body, where nobody can pass it on with another one, as [`Verdict::PassWith`] would.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn judge_unchanged(
        &self,
        caller: Option<&Caller>,
        head: &Parts,
        path: &RoutePath,
        body: &Bytes,
        deadline: Instant,
    ) -> Verdict {
        match &self.judge {
            Some(judge) => Box::pin(judge.judge_unchanged(caller, head, path.as_str(), body, deadline)).await,
            None => Verdict::Pass,
        }
    }

    /// Says whether a caller sees everything, so that nothing would be taken out of an answer.
    ///
    /// # Errors
    /// It can't be told.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn sees_all(&self, caller: Option<&Caller>, deadline: Instant) -> Result<bool, Refusal> {
        match &self.judge {
            Some(judge) => Box::pin(judge.sees_all(caller, deadline)).await,
            None => Ok(true),
        }
    }

    /// Takes out of a JSON answer what its caller may not see. The answer came with status 200 and without an encoding.
    ///
    /// # Errors
    /// It can't be told what the caller may see, or the answer is not what the route gives.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn filter(
        &self,
        caller: Option<&Caller>,
        filter: &ListFilter,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Refusal> {
        match (&self.judge, caller) {
            (Some(judge), Some(caller)) => Box::pin(judge.filter(caller, filter, body, deadline)).await,
            // Nobody is given a filter who is not known.
            _ => Err(judge::undecided()),
        }
    }
}
