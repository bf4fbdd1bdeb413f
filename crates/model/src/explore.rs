//! Explores a scenario to its end, or to the shortest way to a violation.

use std::{
    fmt,
    time::{Duration, Instant},
};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::{
    scenario::Scenario,
    system::{Action, System, Violation},
};

/// What an exploration came to.
#[derive(Debug)]
pub struct Explored {
    /// States that differ.
    pub states: usize,
    /// Steps that led to them.
    pub steps: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// What was found that must never happen.
    pub counterexample: Option<Counterexample>,
    /// What should have been reached and was not.
    pub missed: Vec<&'static str>,
}

/// The shortest way to a violation, if one thread looked for it.
#[derive(Debug)]
pub struct Counterexample {
    /// What must never happen, where the last step shows it.
    pub violation: Violation,
    /// The steps.
    pub steps: Vec<Action>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(formatter, "    {:>2} {step}", number + 1)?;
        }
        write!(formatter, "       {}", self.violation)
    }
}

/// Explores every state of a scenario, but ends with the first violation.
pub fn explore(scenario: &Scenario, threads: usize) -> Explored {
    let began = began();
    let model = System(*scenario);
    let checker = model
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let discoveries = checker.discoveries();
    let mut counterexample = None;
    let mut missed = Vec::new();
    for property in model.properties() {
        match (property.expectation, discoveries.get(property.name)) {
            (Expectation::Sometimes, None) => missed.push(property.name),
            (Expectation::Always, Some(path)) => {
                let violation = path.last_state().violation.unwrap_or(Violation::Unanswered);
                let steps = path.clone().into_actions();
                counterexample = Some(Counterexample { violation, steps });
            }
            _ => {}
        }
    }
    Explored {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        counterexample,
        missed,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a search took is told to a person, and nothing depends on it"
)]
fn began() -> Instant {
    Instant::now()
}
