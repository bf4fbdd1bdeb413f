//! What a run has to say: operations, faults, availability, violations, and how much that proves.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    Options, READERS,
    judge::{Kind, Violation},
    level::Level,
    nemesis::FAMILIES,
    record::{Heard, History, Moment, Read},
    stage::SIDECARS,
};

/// In nanoseconds.
const TENTH: Moment = 100_000_000;
/// Violations that are told in full.
const TOLD_MAX: usize = 8;

/// A judged run.
pub struct Report {
    pub(crate) history: History,
    pub(crate) violations: Vec<Violation>,
    problems: Vec<String>,
    judging: Duration,
    without: Option<String>,
    seed: u64,
}

impl Report {
    pub(crate) fn of(
        options: &Options,
        history: History,
        violations: Vec<Violation>,
        problems: Vec<String>,
        judging: Duration,
    ) -> Self {
        Self {
            history,
            violations,
            problems,
            judging,
            without: options.without.clone(),
            seed: options.seed,
        }
    }

    /// Questions that were answered, those of batches one by one.
    pub fn answered(&self) -> u64 {
        self.questions(Read::is_answered)
    }

    /// Writes whose commit was acknowledged.
    pub fn committed(&self) -> usize {
        self.history
            .writes
            .iter()
            .filter(|write| write.heard == Heard::Committed)
            .count()
    }

    /// Faults that were made, in vain or not.
    pub fn faults(&self) -> usize {
        self.history.faults.len()
    }

    /// How many reads, or writes, contradict the promises.
    pub fn violations(&self) -> usize {
        self.violations.len()
    }

    /// What else is wrong: a sidecar that ended, or did not recover, or whose auditor found something.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether the run says what it should: nothing wrong; or, without a safeguard, that something is.
    pub fn is_as_it_should_be(&self) -> bool {
        let is_clean = self.violations.is_empty() && self.problems.is_empty();
        is_clean != self.without.is_some()
    }

    fn questions(&self, which: impl Fn(&Read) -> bool) -> u64 {
        let reads = self.history.reads.iter().filter(|read| which(read));
        reads.map(|read| u64::from(read.questions)).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { history, .. } = self;
        let answered = self.answered();
        let asked = self.questions(|_| true);
        let share = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
        writeln!(
            f,
            "\nreads      {answered} answered of {asked} ({:.2} %)",
            share(answered, asked)
        )?;
        for level in Level::ALL {
            let asked = self.questions(|read| read.asked == level);
            let answered = self.questions(|read| read.asked == level && read.is_answered());
            writeln!(
                f,
                "           {:<18} {answered} of {asked} ({:.2} %)",
                level.name(),
                share(answered, asked)
            )?;
        }
        let batches = history
            .reads
            .iter()
            .filter(|read| read.is_answered() && read.questions > 1)
            .count();
        writeln!(f, "           {batches} batches among them; {}", self.refusals())?;
        let (available, longest) = self.availability();
        writeln!(
            f,
            "available  a sidecar answers in {available:.1} % of all tenths of a second; the longest time without is {longest:.1} s"
        )?;
        let heard = |heard: Heard| history.writes.iter().filter(|write| write.heard == heard).count();
        let unheard = history
            .writes
            .iter()
            .filter(|write| write.heard == Heard::Nothing && !write.made.is_empty())
            .count();
        writeln!(
            f,
            "writes     {} acknowledged, {} rolled back, {} never heard of ({unheard} of these were committed)",
            self.committed(),
            heard(Heard::RolledBack),
            heard(Heard::Nothing)
        )?;
        writeln!(f, "faults     {}", history.faults.len())?;
        for (family, what) in FAMILIES {
            let of_family = || history.faults.iter().filter(|fault| fault.family == family);
            let in_vain = of_family().filter(|fault| fault.what.starts_with("in vain")).count();
            let note = if in_vain > 0 {
                format!(" ({in_vain} in vain)")
            } else {
                String::new()
            };
            writeln!(f, "           {family:<12} {:>4}{note}  {what}", of_family().count())?;
        }
        for problem in &self.problems {
            writeln!(f, "problem    {problem}")?;
        }
        self.tell_violations(f)?;
        writeln!(
            f,
            "judged     {} reads that show {} versions, in {:.1} s (seed {})",
            history.reads.iter().filter(|read| read.is_answered()).count(),
            history.seen.len(),
            self.judging.as_secs_f64(),
            self.seed
        )?;
        if self.violations.is_empty() {
            let bound = 3.0 / answered.max(1) as f64;
            writeln!(
                f,
                "bound      of {answered} reads none is wrong: with 95 % confidence fewer than 1 in {:.0} is (3/n = {bound:.1e})",
                1.0 / bound
            )?;
        }
        Ok(())
    }
}

impl Report {
    fn refusals(&self) -> String {
        let mut by_status: BTreeMap<u16, usize> = BTreeMap::new();
        for read in self.history.reads.iter().filter(|read| !read.is_answered()) {
            *by_status.entry(read.status).or_default() += 1;
        }
        let words: Vec<String> = by_status
            .into_iter()
            .map(|(status, count)| match status {
                0 => format!("{count} without an answer"),
                status => format!("{count} × {status}"),
            })
            .collect();
        if words.is_empty() {
            "none refused".to_owned()
        } else {
            words.join(", ")
        }
    }

    /// How much of the time sidecars answered, by tenths of a second, and the longest time that one did not.
    fn availability(&self) -> (f64, f64) {
        let (mut good, mut all, mut longest) = (0, 0, 0);
        for sidecar in 0..SIDECARS {
            let readers = sidecar * READERS..(sidecar + 1) * READERS;
            let reads = || {
                self.history
                    .reads
                    .iter()
                    .filter(|read| readers.contains(&usize::from(read.process)))
            };
            let mut answered = vec![false; (reads().map(|read| read.end).max().unwrap_or(0) / TENTH + 1) as usize];
            for read in reads().filter(|read| read.is_answered()) {
                answered[(read.end / TENTH) as usize] = true;
            }
            good += answered.iter().filter(|answered| **answered).count();
            all += answered.len();
            longest = answered
                .split(|answered| *answered)
                .map(<[bool]>::len)
                .max()
                .unwrap_or(0)
                .max(longest);
        }
        (100.0 * good as f64 / all.max(1) as f64, longest as f64 / 10.0)
    }

    fn tell_violations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_kind: BTreeMap<Kind, usize> = BTreeMap::new();
        for violation in &self.violations {
            *by_kind.entry(violation.kind).or_default() += 1;
        }
        let kinds: Vec<String> = by_kind
            .iter()
            .map(|(kind, count)| format!("{count} {}", kind.name()))
            .collect();
        let first = self
            .violations
            .first()
            .map(|violation| format!("; the first {:.1} s after the beginning", violation.start as f64 / 1e9));
        writeln!(
            f,
            "violations {}  {}{}",
            self.violations.len(),
            kinds.join(", "),
            first.unwrap_or_default()
        )?;
        for violation in self.violations.iter().take(TOLD_MAX) {
            writeln!(f, "           {}: {}", violation.kind.name(), violation.story)?;
        }
        Ok(())
    }
}
