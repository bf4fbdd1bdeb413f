//! How long to wait before the next attempt: doubling, capped, and never in step with other processes.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The delays between attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `min`; no delay is longer than `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        assert!(
            min <= max && !min.is_zero(),
            "the shortest delay is above zero and at most the longest"
        );
        Self { min, max, next: min }
    }

    /// Gives the delay before the next attempt, between a half and the whole of a span that doubles each time.
    pub fn next_delay(&mut self) -> Duration {
        let span = self.next;
        self.next = (span * 2).min(self.max);
        let half = span / 2;
        let jitter_nanos = (half.as_nanos() as u64).max(1);
        half + Duration::from_nanos(random_u64() % jitter_nanos)
    }

    /// Starts again at the shortest delay, after a success.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

/// Gives a number that nobody needs to predict or repeat: for jitter and sampling, never for cryptography.
pub fn random_u64() -> u64 {
    #[cfg(feature = "simulation")]
    if let Some(drawn) = crate::simulated::draw() {
        return drawn;
    }
    // Each `RandomState` has keys of its own, seeded by the operating system once a thread.
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_again() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(80));
        let mut backoff = Backoff::new(min, max);
        for span in [10, 20, 40, 80, 80, 80].map(Duration::from_millis) {
            let delay = backoff.next_delay();
            assert!(delay >= span / 2 && delay <= span, "{delay:?} of {span:?}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= min);
    }
}
