//! Each alert of the chart fires under its own fault, and none without one: a real Prometheus scrapes real sidecars and evaluates the chart's own
//! rules, in a time in which a minute is a second ([`watch`]).
//!
//! Beside `helm/tests/alerts.yaml`, where made-up numbers show from which value on an alert fires, this shows that the numbers move. Faults that
//! take nothing from each other are made at once. What else fires under a fault, because it must or because it may, stands with the fault;
//! anything beyond fails the test.

mod database;
mod doors;
mod pods;
mod primary;
mod traffic;
mod watch;

use std::collections::BTreeSet;

/// The alerts whose fault each test makes, and sees; a new alert wants a new fault.
#[test]
fn no_alert_of_the_chart_is_without_its_fault() {
    let shown = [database::SHOWN, doors::SHOWN, pods::SHOWN, primary::SHOWN].concat();
    let shown: BTreeSet<&str> = shown.into_iter().collect();
    let rules = watch::rules().unwrap();
    let alerts: BTreeSet<&str> = watch::names(&rules).collect();
    assert_eq!(shown, alerts);
}
