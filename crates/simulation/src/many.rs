//! Many seeds on all cores.

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use neverstale_flavour::Flavour;

use crate::run::{Outcome, run};

/// What became of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// The seeds that failed, with their violations; the stories are told by running them again.
    pub failures: BTreeMap<u64, Vec<String>>,
    /// How often what happened, in all of them.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Runs seeds from `first` on, and stops early once `failures_max` of them have failed.
pub fn run_many(first: u64, seeds: u64, failures_max: usize) -> Summary {
    let next = AtomicU64::new(first);
    let summary = Mutex::new(Summary::default());
    let flavour = flavour();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return;
            }
            let outcome = run(seed, &flavour);
            let mut summary = summary.lock().expect("nobody panics while adding up");
            summary.add(outcome);
            if summary.failures.len() >= failures_max {
                next.store(first + seeds, Ordering::Relaxed);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    summary.into_inner().expect("nobody panics while adding up")
}

/// The flavour of the made-up application.
pub fn flavour() -> Arc<Flavour> {
    Arc::new(Flavour::parse(include_str!("app.toml"), "app.toml").expect("the flavour is part of the program"))
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        for (what, count) in outcome.counts {
            *self.counts.entry(what).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            self.failures.insert(outcome.seed, outcome.violations);
        }
    }
}
