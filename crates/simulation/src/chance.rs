//! Chance by a seed: everything that a simulation leaves open is drawn here, so that the seed is the whole story.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex},
};

use fastrand::Rng;

/// A source of chance; clones draw from the same one.
#[derive(Clone, Debug)]
pub(crate) struct Chance(Arc<Mutex<Rng>>);

impl Chance {
    /// Begins with a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Rng::with_seed(seed))))
    }

    /// Gives a source of its own, so that what one part draws changes nothing for another.
    #[must_use]
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.number())
    }

    /// Draws any number.
    pub(crate) fn number(&self) -> u64 {
        self.with(|rng| rng.u64(..))
    }

    /// Draws a number of a range.
    pub(crate) fn among(&self, range: RangeInclusive<u64>) -> u64 {
        self.with(|rng| rng.u64(range))
    }

    /// Draws whether something happens that happens so many times in a hundred.
    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.with(|rng| rng.u64(0..100)) < percent
    }

    /// Draws one of several.
    pub(crate) fn one<T: Clone>(&self, all: &[T]) -> T {
        all[self.with(|rng| rng.usize(0..all.len()))].clone()
    }

    fn with<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.0.lock().expect("nobody panics while drawing"))
    }
}
