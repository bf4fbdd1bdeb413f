//! Decides whether Redis is asked at all: after some failures in a row nobody is sent there for a while, then one is, to see.
//!
//! Pure: time and chance are given. The shell asks [`Breaker::admit`] before a command and tells [`Breaker::report`] how it went.
//! Keeps a slow or dead Redis from costing each read its budget, and from being met by a crowd when it comes back.

use std::time::Duration;

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;
/// How long it is open at first, at most.
const OPEN_MIN: Duration = Duration::from_millis(100);
/// How long it is open after many failed probes, at most: reads find L2 again within this time.
const OPEN_MAX: Duration = Duration::from_secs(1);
/// A probe that has not reported after this time never will, because its reader went away.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// The breaker of one Redis.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// Counts changes of state, so that what was sent before one says nothing after it.
    generation: u64,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Duration, openings: u32 },
    HalfOpen { until: Duration, openings: u32 },
}

/// What an operator sees of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everybody may ask.
    Closed,
    /// Nobody may.
    Open,
    /// One has been sent to see.
    HalfOpen,
}

/// The right to send one command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permit {
    generation: u64,
}

/// How a command went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer came, whatever it said.
    Answered,
    /// None came in time, or the connection broke.
    Failed,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Closed { failures: 0 },
            generation: 0,
        }
    }

    /// Says whether a command may be sent at `now`.
    pub(crate) fn admit(&mut self, now: Duration) -> Option<Permit> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until, openings } | State::HalfOpen { until, openings } => {
                if now < until {
                    return None;
                }
                self.enter(State::HalfOpen {
                    until: now + PROBE_PATIENCE,
                    openings,
                });
            }
        }
        Some(Permit {
            generation: self.generation,
        })
    }

    /// Takes note of how the command of `permit` went; `chance` spreads the next attempts of many sidecars.
    pub(crate) fn report(&mut self, permit: Permit, outcome: Outcome, now: Duration, chance: u64) {
        if permit.generation != self.generation {
            return;
        }
        match (&mut self.state, outcome) {
            (State::Closed { failures }, Outcome::Answered) => *failures = 0,
            (State::Closed { failures }, Outcome::Failed) => {
                *failures += 1;
                if *failures >= FAILURES_MAX {
                    self.open(now, 0, chance);
                }
            }
            (State::HalfOpen { .. }, Outcome::Answered) => self.enter(State::Closed { failures: 0 }),
            (&mut State::HalfOpen { openings, .. }, Outcome::Failed) => {
                self.open(now, openings.saturating_add(1), chance);
            }
            (State::Open { .. }, _) => debug_assert!(false, "no permit has the generation of an open breaker"),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.state {
            State::Closed { .. } => Phase::Closed,
            State::Open { .. } => Phase::Open,
            State::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    fn open(&mut self, now: Duration, openings: u32, chance: u64) {
        let span = OPEN_MIN.saturating_mul(1 << openings.min(16)).min(OPEN_MAX);
        let half = span / 2;
        let until = now + half + Duration::from_nanos(chance % half.as_nanos() as u64);
        self.enter(State::Open { until, openings });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[derive(Clone, Debug)]
    enum Event {
        Wait(u64),
        Admit,
        Report(prop::sample::Index, bool, u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            2 => (0_u64..400).prop_map(Event::Wait),
            3 => Just(Event::Admit),
            3 => (any::<prop::sample::Index>(), prop::bool::weighted(0.3), any::<u64>()).prop_map(|(i, ok, chance)| Event::Report(i, ok, chance)),
        ];
        vec(event, 0..200)
    }

    proptest! {
        /// Opens only after enough failures in a row, sends one probe at a time, and is never shut for longer than it says.
        #[test]
        fn the_breaker_keeps_its_promises(events in events()) {
            let mut breaker = Breaker::new();
            let mut now = Duration::ZERO;
            let mut permits: Vec<Permit> = Vec::new();
            let mut failures_in_a_row = 0;
            let mut opened_at = Duration::ZERO;
            let mut probes: Vec<Duration> = Vec::new();
            for event in events {
                let before = breaker.phase();
                match event {
                    Event::Wait(ms) => now += Duration::from_millis(ms),
                    Event::Admit => {
                        let admitted = breaker.admit(now);
                        match before {
                            Phase::Closed => prop_assert!(admitted.is_some()),
                            Phase::Open => {
                                prop_assert!(admitted.is_none() || now >= opened_at + OPEN_MIN / 2);
                                prop_assert!(admitted.is_some() || now < opened_at + OPEN_MAX);
                            }
                            Phase::HalfOpen => prop_assert_eq!(admitted.is_some(), now >= *probes.last().unwrap() + PROBE_PATIENCE),
                        }
                        if let Some(permit) = admitted {
                            permits.push(permit);
                            if before != Phase::Closed {
                                prop_assert_eq!(breaker.phase(), Phase::HalfOpen);
                                probes.push(now);
                            }
                        }
                    }
                    Event::Report(index, answered, chance) if !permits.is_empty() => {
                        let permit = permits.swap_remove(index.index(permits.len()));
                        let counts = permit.generation == breaker.generation;
                        breaker.report(permit, if answered { Outcome::Answered } else { Outcome::Failed }, now, chance);
                        let after = breaker.phase();
                        if !counts {
                            prop_assert_eq!(before, after, "what was sent before says nothing now");
                            continue;
                        }
                        failures_in_a_row = if answered { 0 } else { failures_in_a_row + 1 };
                        match (before, after) {
                            (Phase::Closed, Phase::Open) => prop_assert_eq!(failures_in_a_row, FAILURES_MAX),
                            (Phase::Closed, Phase::Closed) => prop_assert!(failures_in_a_row < FAILURES_MAX),
                            (Phase::HalfOpen, Phase::Closed) => prop_assert!(answered),
                            (Phase::HalfOpen, Phase::Open) => prop_assert!(!answered),
                            other => prop_assert!(false, "{:?}", other),
                        }
                        if after == Phase::Open {
                            failures_in_a_row = 0;
                            opened_at = now;
                        }
                    }
                    Event::Report(..) => {}
                }
            }
        }
    }

    #[test]
    fn the_pauses_grow_to_their_limit() {
        let mut breaker = Breaker::new();
        let mut now = Duration::ZERO;
        for _ in 0..FAILURES_MAX {
            let permit = breaker.admit(now).unwrap();
            breaker.report(permit, Outcome::Failed, now, u64::MAX);
        }
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let mut pause = Duration::ZERO;
            let permit = loop {
                match breaker.admit(now + pause) {
                    Some(permit) => break permit,
                    None => pause += Duration::from_millis(1),
                }
            };
            now += pause;
            pauses.push(pause);
            breaker.report(permit, Outcome::Failed, now, 0);
        }
        assert!(
            pauses.is_sorted() && pauses[5] <= OPEN_MAX && pauses[5] >= OPEN_MAX / 2,
            "{pauses:?}"
        );
    }
}
