//! Numbers of one thing over the rounds of a run: median, spread, and the ratio to another thing round by round.
//!
//! No mean anywhere: one disturbed round must not move a result.

use std::fmt::Write;

use crate::load::Outcome;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Something a second.
    PerSecond,
    /// Time, kept in seconds.
    Seconds,
    /// Memory or size, kept in bytes.
    Bytes,
    /// A ratio.
    Times,
    /// A share, kept as a fraction.
    Percent,
    /// A number of things.
    Count,
}

impl Unit {
    /// Writes a number with its unit, three digits of it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond if value >= 1e6 => format!("{} M/s", digits(value / 1e6)),
            Self::PerSecond if value >= 1e3 => format!("{} k/s", digits(value / 1e3)),
            Self::PerSecond => format!("{}/s", digits(value)),
            Self::Seconds if value.abs() >= 1.0 => format!("{} s", digits(value)),
            Self::Seconds if value.abs() >= 1e-3 => format!("{} ms", digits(value * 1e3)),
            Self::Seconds if value.abs() >= 1e-6 => format!("{} µs", digits(value * 1e6)),
            Self::Seconds => format!("{} ns", digits(value * 1e9)),
            Self::Bytes if value >= 1024.0 * 1024.0 => format!("{} MiB", digits(value / (1024.0 * 1024.0))),
            Self::Bytes => format!("{value:.0} bytes"),
            Self::Times => format!("{value:.2} ×"),
            Self::Percent => format!("{:.1} %", value * 100.0),
            Self::Count => digits(value),
        }
    }
}

fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// One number a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// A series of one round.
    pub(crate) fn one(value: f64) -> Self {
        Self(vec![value])
    }

    /// Adds a round.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Counts the rounds.
    pub(crate) fn rounds(&self) -> usize {
        self.0.len()
    }

    /// Gives the middle round; NaN without any.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.as_slice() {
            [] => f64::NAN,
            sorted if sorted.len() % 2 == 1 => sorted[sorted.len() / 2],
            sorted => f64::midpoint(sorted[sorted.len() / 2 - 1], sorted[sorted.len() / 2]),
        }
    }

    /// Gives how far the median may be off by chance: its standard error, estimated from the median deviation of the rounds, so
    /// that a few disturbed rounds do not count.
    pub(crate) fn uncertainty(&self) -> f64 {
        /// From a median deviation to a standard deviation, and from a mean's standard error to a median's.
        const OF_MEDIAN_DEVIATION: f64 = 1.4826 * 1.2533;
        let median = self.median();
        let deviations = Self(self.0.iter().map(|round| (round - median).abs()).collect());
        OF_MEDIAN_DEVIATION * deviations.median() / (self.rounds() as f64).sqrt()
    }

    /// Gives the smallest and the largest round.
    pub(crate) fn range(&self) -> (f64, f64) {
        let fold = |by: fn(f64, f64) -> f64, from| self.0.iter().copied().fold(from, by);
        (fold(f64::min, f64::INFINITY), fold(f64::max, f64::NEG_INFINITY))
    }

    /// Combines two series round by round; rounds that only one has are left out.
    pub(crate) fn with(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(mine, others)| combine(*mine, *others))
                .collect(),
        )
    }

    /// Divides by another series, round by round.
    pub(crate) fn over(&self, other: &Self) -> Self {
        self.with(other, |mine, others| mine / others)
    }

    /// Writes median and spread.
    pub(crate) fn show(&self, unit: Unit) -> String {
        let mut text = unit.show(self.median());
        if self.rounds() > 1 {
            let (low, high) = self.range();
            let _ = write!(text, " ({} – {})", unit.show(low), unit.show(high));
        }
        text
    }
}

/// One server's rounds.
#[derive(Default)]
pub(crate) struct Rounds {
    pub(crate) rate: Series,
    pub(crate) p50: Series,
    pub(crate) p99: Series,
    pub(crate) busy: Series,
}

impl Rounds {
    pub(crate) fn push(&mut self, outcome: Outcome) {
        self.rate.push(outcome.rate);
        self.p50.push(outcome.p50);
        self.p99.push(outcome.p99);
        self.busy.push(outcome.busy.unwrap_or(f64::NAN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbed_round_moves_the_spread_and_not_the_median() {
        let series = Series(vec![1.0, 100.0, 2.0]);
        assert_eq!(series.show(Unit::Times), "2.00 × (1.00 × – 100.00 ×)");
        assert_eq!(
            Series(vec![1.0, 2.0]).show(Unit::Percent),
            "150.0 % (100.0 % – 200.0 %)"
        );
    }

    #[test]
    fn the_median_is_as_certain_as_its_rounds_are_alike_and_many() {
        let alike = Series(vec![1.0, 1.01, 0.99, 1.0, 50.0]);
        let apart = Series(vec![1.0, 1.2, 0.8, 1.1, 0.9]);
        assert!(alike.uncertainty() < 0.01 && apart.uncertainty() > 0.05);
        let more = Series(apart.0.repeat(4));
        assert!((more.uncertainty() - apart.uncertainty() / 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_ratio_is_taken_within_the_round() {
        let ratio = Series(vec![10.0, 30.0]).over(&Series(vec![5.0, 10.0]));
        assert_eq!(ratio.range(), (2.0, 3.0));
    }

    #[test]
    fn numbers_are_written_with_the_unit_that_suits_them() {
        let shown = [
            Unit::PerSecond.show(123_456.0),
            Unit::Seconds.show(0.000_012_34),
            Unit::Seconds.show(0.000_000_05),
            Unit::Bytes.show(15.0 * 1024.0 * 1024.0),
        ];
        assert_eq!(shown, ["123 k/s", "12.3 µs", "50.0 ns", "15.0 MiB"]);
    }
}
