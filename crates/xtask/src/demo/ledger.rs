//! The judge: what an answer may be, given when it was asked for and when each change began and was acknowledged.
//!
//! A register is one value in the database with one writer. A read may return any version that no acknowledged, and no already seen, newer
//! version had replaced before the read began, and that was begun before the read ended. That is linearizability of one register with one
//! writer; nothing here knows how the product works.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// One version of a register.
#[derive(Debug)]
struct Version {
    value: String,
    begun: Instant,
    acknowledged: Option<Instant>,
    /// The end of the first read that returned it: no later read may return an older one, acknowledged or not.
    seen: Option<Instant>,
}

/// What a read returned, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may be so.
    Fresh,
    /// It may not; what it should have been, at the oldest.
    Stale(String),
}

/// All registers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    registers: Mutex<HashMap<String, Vec<Version>>>,
}

impl Ledger {
    /// Enters a register with the value that it has had for a while.
    pub(crate) fn enter(&self, register: &str, value: &str) {
        let now = Instant::now();
        let version = Version {
            value: value.to_owned(),
            begun: now,
            acknowledged: Some(now),
            seen: None,
        };
        self.with(|registers| registers.insert(register.to_owned(), vec![version]));
    }

    /// Notes that a change begins, before its first statement is sent.
    pub(crate) fn begin(&self, register: &str, value: &str) {
        let version = Version {
            value: value.to_owned(),
            begun: Instant::now(),
            acknowledged: None,
            seen: None,
        };
        self.with(|registers| registers.entry(register.to_owned()).or_default().push(version));
    }

    /// Notes that the newest change was acknowledged.
    pub(crate) fn acknowledge(&self, register: &str) {
        let now = Instant::now();
        self.with(|registers| {
            if let Some(version) = registers.get_mut(register).and_then(|versions| versions.last_mut()) {
                version.acknowledged = Some(now);
            }
        });
    }

    /// Judges a read; a register that was never entered may be anything.
    pub(crate) fn judge(&self, register: &str, asked: Instant, answered: Instant, value: &str) -> Verdict {
        self.with(|registers| match registers.get_mut(register) {
            Some(versions) => judge(versions, asked, answered, value),
            None => Verdict::Fresh,
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Vec<Version>>) -> T) -> T {
        act(&mut self.registers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn judge(versions: &mut [Version], asked: Instant, answered: Instant, value: &str) -> Verdict {
    let is_before = |moment: Option<Instant>| moment.is_some_and(|moment| moment < asked);
    let oldest = versions
        .iter()
        .rposition(|version| is_before(version.acknowledged) || is_before(version.seen))
        .unwrap_or(0);
    let candidates = versions.get_mut(oldest..).unwrap_or_default();
    // The oldest that fits: values come again, and a younger one would forbid answers that are right.
    match candidates
        .iter_mut()
        .find(|version| version.value == value && version.begun <= answered)
    {
        Some(version) => {
            version.seen = Some(version.seen.map_or(answered, |seen| seen.min(answered)));
            Verdict::Fresh
        }
        None => Verdict::Stale(
            candidates
                .first()
                .map(|version| version.value.clone())
                .unwrap_or_default(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn version(value: &str, begun: Instant, acknowledged: Option<Instant>) -> Version {
        Version {
            value: value.to_owned(),
            begun,
            acknowledged,
            seen: None,
        }
    }

    #[test]
    fn an_old_value_is_stale_only_for_reads_that_begin_after_the_acknowledgement() {
        let at = |ms| Instant::now() + Duration::from_millis(ms);
        let (start, begun, acknowledged) = (at(0), at(10), at(20));
        let versions = || {
            vec![
                version("user", start, Some(start)),
                version("admin", begun, Some(acknowledged)),
            ]
        };
        let during = acknowledged.checked_sub(Duration::from_millis(5)).unwrap();
        let later = acknowledged + Duration::from_millis(1);
        assert_eq!(judge(&mut versions(), during, later, "user"), Verdict::Fresh);
        assert_eq!(judge(&mut versions(), during, later, "admin"), Verdict::Fresh);
        assert_eq!(
            judge(&mut versions(), later, later, "user"),
            Verdict::Stale("admin".to_owned())
        );
        assert_eq!(
            judge(&mut versions(), start, start, "admin"),
            Verdict::Stale("user".to_owned()),
            "before it was begun"
        );
    }

    #[test]
    fn what_somebody_saw_may_not_be_unseen() {
        let at = |ms| Instant::now() + Duration::from_millis(ms);
        let (start, begun, first, second) = (at(0), at(10), at(20), at(30));
        let mut versions = vec![version("user", start, Some(start)), version("admin", begun, None)];
        assert_eq!(judge(&mut versions, first, first, "admin"), Verdict::Fresh);
        assert_eq!(
            judge(&mut versions, second, second, "user"),
            Verdict::Stale("admin".to_owned())
        );
    }
}
