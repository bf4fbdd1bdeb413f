//! Prometheus over the sidecars of one test: what fires, and that nothing else does.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use neverstale_testkit::{Prometheus, Sidecar, workspace};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::house::until;

/// As often as the chart has sidecars scraped, which is every thirty seconds.
const SCRAPED_EVERY: Duration = Duration::from_millis(500);
/// How often all sidecars are scraped before a fault is made: for longer than the shortest spans that rules look back over.
const SILENT_SCRAPES: u32 = 12;
/// A busy machine gives what an alert needs late, and a fault's alert may need a quarter of a minute.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The rules as they are shipped.
pub(super) fn rules() -> Result<String> {
    fs::read_to_string(workspace().join("helm/neverstale/rules/neverstale.yaml")).context("read the chart's rules")
}

/// The names of all alerts.
pub(super) fn names(rules: &str) -> impl Iterator<Item = &str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "))
}

/// An alert as it is expected of one pod, by its place among those that are scraped.
pub(super) fn of(alert: &str, pod: usize) -> String {
    format!("{alert} demo chat-{pod}")
}

/// An alert as it is expected of all pods together.
pub(super) fn of_all(alert: &str) -> String {
    format!("{alert} demo")
}

/// Who watches, and what it has been told to expect so far.
pub(super) struct Watch {
    prometheus: Prometheus,
    expected: BTreeSet<String>,
}

impl Watch {
    /// Begins to watch over sidecars that are ready, and sees that nothing fires while all is well.
    pub(super) async fn over(sidecars: impl IntoIterator<Item = &Sidecar>) -> Result<Self> {
        let ports: Vec<u16> = sidecars.into_iter().map(Sidecar::admin_port).collect();
        let rules = rules()?;
        let prometheus = Prometheus::start_with_rules(&ports, SCRAPED_EVERY, &hurried(&rules)?).await?;
        let watch = Self {
            prometheus,
            expected: BTreeSet::new(),
        };
        // Until Prometheus has found whom to scrape, nobody is there.
        until(
            "all sidecars are scraped and all rules evaluated",
            PATIENCE,
            async || {
                sleep(LOOK_EVERY).await;
                let evaluated = watch.prometheus.rules().await?;
                let healthy = evaluated.iter().filter(|rule| rule["health"] == "ok").count();
                let all = names(&rules).count();
                Ok(watch.counts("count(neverstale_build_info)", ports.len()).await?
                    && healthy == all
                    && watch.firing().await?.is_empty())
            },
        )
        .await?;
        let scraped = format!("count(count_over_time(neverstale_build_info[1m]) >= {SILENT_SCRAPES})");
        until("all sidecars are scraped so often", PATIENCE, async || {
            sleep(LOOK_EVERY).await;
            // Not an error of the condition, which would only be asked again.
            let firing = watch.firing().await.unwrap();
            assert!(firing.is_empty(), "fires without a fault: {firing:?}");
            watch.counts(&scraped, ports.len()).await
        })
        .await?;
        Ok(watch)
    }

    /// Waits until all of `alerts` fire at once. Beside them may fire what has been expected before, which goes on for as long as its rule looks
    /// back, and what `company` names; anything else fails.
    pub(super) async fn sees(&mut self, alerts: &[String], company: &[String]) -> Result<()> {
        self.expected.extend(alerts.iter().cloned());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let firing = self.firing().await?;
            let strangers: Vec<&String> = firing
                .iter()
                .filter(|alert| !self.expected.contains(*alert) && !company.contains(alert))
                .collect();
            ensure!(strangers.is_empty(), "{strangers:?} fire beside {alerts:?}");
            let missing: Vec<&String> = alerts.iter().filter(|alert| !firing.contains(*alert)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{missing:?} do not fire, but {firing:?}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Checks that these alerts, each of some pod, have been expected and thus seen, and no others.
    pub(super) fn has_shown(&self, alerts: &[&str]) {
        let shown: BTreeSet<&str> = self
            .expected
            .iter()
            .filter_map(|alert| alert.split(' ').next())
            .collect();
        assert_eq!(shown, alerts.iter().copied().collect());
    }

    /// Whether a query gives this number.
    async fn counts(&self, query: &str, number: usize) -> Result<bool> {
        let series = self.prometheus.now(query).await?;
        let given = series.first().and_then(|series| series["value"][1].as_str());
        Ok(given.and_then(|given| given.parse().ok()) == Some(number))
    }

    /// What fires now: its name, and namespace and pod where it has them.
    async fn firing(&self) -> Result<BTreeSet<String>> {
        let alerts = self.prometheus.alerts().await?;
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.map(named).collect()
    }
}

fn named(alert: &Value) -> Result<String> {
    let labels = ["alertname", "namespace", "pod"].map(|label| alert["labels"][label].as_str());
    let summary = alert["annotations"]["summary"].as_str().context("a summary")?;
    // Whoever is woken by it must read there which pod it is.
    if let [_, _, Some(pod)] = labels {
        ensure!(summary.contains(pod), "{summary}");
    }
    ensure!(alert["labels"]["severity"].is_string(), "no severity: {alert}");
    Ok(labels.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

/// The rules in a time of their own: a minute is a second, and an hour a minute. Nothing else of them is changed, no threshold and no label.
fn hurried(rules: &str) -> Result<String> {
    let mut hurried = String::new();
    for line in rules.lines() {
        if let Some((before, duration)) = line.split_once("for: ") {
            hurried += &format!("{before}for: {}\n", sixtieth(duration)?);
            continue;
        }
        let mut pieces = line.split('[');
        hurried += pieces.next().unwrap_or_default();
        for piece in pieces {
            let (duration, rest) = piece.split_once(']').with_context(|| format!("read {line}"))?;
            hurried += &format!("[{}]{rest}", sixtieth(duration)?);
        }
        hurried.push('\n');
    }
    Ok(hurried)
}

fn sixtieth(duration: &str) -> Result<String> {
    let (count, unit) = duration.split_at(duration.len().saturating_sub(1));
    let count: u32 = count.parse().with_context(|| format!("read {duration}"))?;
    match unit {
        "m" => Ok(format!("{count}s")),
        "h" => Ok(format!("{count}m")),
        _ => bail!("{duration} are neither minutes nor hours"),
    }
}

#[test]
fn nothing_but_time_is_changed_in_the_rules() {
    let rules = "expr: |\n  rate(a{b=\"c\"}[5m])\n    / rate(a[1h]) > 10\nfor: 15m\nlabels: { severity: warning }\n";
    let hurried_rules =
        "expr: |\n  rate(a{b=\"c\"}[5s])\n    / rate(a[1m]) > 10\nfor: 15s\nlabels: { severity: warning }\n";
    assert_eq!(hurried(rules).unwrap(), hurried_rules);
    assert!(hurried("for: 5d").is_err());
}
