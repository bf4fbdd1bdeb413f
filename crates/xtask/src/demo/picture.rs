//! What a person sees: in a terminal a picture that is drawn anew four times a second, elsewhere plain lines; at the end a summary.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;
use neverstale_testkit::{Client, Sidecar, api_key, user_id};
use serde_json::Value;

use super::{
    load::{Load, Tiers},
    stage::{BY_HAND, Stage},
    story::{Story, Told},
};

const STORY_LINES: usize = 12;
const COMPLAINT_LINES: usize = 5;
/// Without a terminal the table comes this often.
const TABLE_EVERY: Duration = Duration::from_secs(5);

/// The picture and what it remembers from one frame to the next.
pub(crate) struct Picture {
    is_live: bool,
    began: Instant,
    drawn: Option<Instant>,
    admins: Vec<Client>,
    before: Vec<u64>,
    told: VecDeque<String>,
    complaints: VecDeque<String>,
    slowest: Duration,
}

impl Picture {
    /// Begins; `is_live` draws in place.
    pub(crate) fn new(is_live: bool, stage: &Stage) -> Self {
        Self {
            is_live,
            began: Instant::now(),
            drawn: None,
            admins: stage.sidecars.iter().map(Sidecar::admin).collect(),
            before: vec![0; stage.sidecars.len()],
            told: VecDeque::new(),
            complaints: VecDeque::new(),
            slowest: Duration::ZERO,
        }
    }

    /// Draws one frame, or writes the lines that are new.
    pub(crate) async fn draw(&mut self, stage: &Stage, load: &Load, story: &Story) -> Result<()> {
        self.gather(load, story);
        let is_due = self.is_live || self.drawn.is_none_or(|drawn| drawn.elapsed() >= TABLE_EVERY);
        if !is_due {
            return Ok(());
        }
        let table = self.table(load).await;
        self.drawn = Some(Instant::now());
        if !self.is_live {
            print!("{table}");
            return Ok(());
        }
        let mut frame = format!(
            "Neverstale · three sidecars, one Postgres, one writer · {:.0} s\n\n{table}\n",
            self.began.elapsed().as_secs_f64()
        );
        frame.push_str("what was written, when it was committed, and when each sidecar answered with it\n");
        for line in &self.told {
            writeln!(frame, "  {line}")?;
        }
        writeln!(frame, "\n{}", verdict(load, story))?;
        for complaint in &self.complaints {
            writeln!(frame, "  {complaint}")?;
        }
        writeln!(frame, "\n{}", by_hand(stage))?;
        // Home, each line to its end, and what is left below: nothing flickers.
        let frame = frame.replace('\n', "\x1b[K\n");
        let mut out = std::io::stdout().lock();
        let clear = if self.told.is_empty() { "\x1b[2J" } else { "" };
        write!(out, "{clear}\x1b[H{frame}\x1b[J")?;
        out.flush()?;
        Ok(())
    }

    /// The summary of the whole run.
    pub(crate) async fn finish(&mut self, stage: &Stage, load: &Load, story: &Story) -> String {
        self.gather(load, story);
        let mut summary = format!("\n{}", self.table(load).await);
        for complaint in &self.complaints {
            writeln!(summary, "{complaint}").ok();
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let total: u64 = (0..stage.sidecars.len())
            .filter_map(|sidecar| load.measured(sidecar, |one| one.tiers.total()))
            .sum();
        let changes = story.told();
        writeln!(summary, "{total} reads in {seconds:.1} s, {changes} changes").ok();
        if story.stale() == 0 {
            let slowest = milliseconds(self.slowest);
            writeln!(
                summary,
                "each change was seen on every sidecar at most {slowest} after its commit, by the first read"
            )
            .ok();
        }
        summary.push_str(&verdict(load, story));
        summary
    }

    fn gather(&mut self, load: &Load, story: &Story) {
        for told in story.news() {
            self.slowest = told.seen.iter().flatten().copied().fold(self.slowest, Duration::max);
            let line = line_of(&told);
            if !self.is_live {
                println!("{line}");
            }
            self.told.push_back(line);
            let instead = told.seen.iter().find_map(|seen| seen.as_ref().err());
            self.complaints
                .extend(instead.map(|instead| format!("STALE: after its commit, {instead}")));
        }
        for complaint in load.complaints().into_iter().chain(story.complaints()) {
            if !self.is_live {
                println!("{complaint}");
            }
            self.complaints.push_back(complaint);
        }
        while self.told.len() > STORY_LINES {
            self.told.pop_front();
        }
        while self.complaints.len() > COMPLAINT_LINES {
            self.complaints.pop_front();
        }
    }

    async fn table(&mut self, load: &Load) -> String {
        let elapsed = self
            .drawn
            .map_or_else(|| self.began.elapsed(), |drawn| drawn.elapsed())
            .as_secs_f64()
            .max(0.001);
        let mut table =
            "sidecar     reads/s     l1 %    l2 %  fill %    p50      p99      lease left  position    lag\n"
                .to_owned();
        for (number, admin) in self.admins.iter_mut().enumerate() {
            let measured = load.measured(number, |one| {
                let quantiles = [one.recent.value_at_quantile(0.5), one.recent.value_at_quantile(0.99)];
                one.recent.reset();
                (one.tiers, quantiles, overall(&one.latency))
            });
            let Some((tiers, [mut p50, mut p99], whole)) = measured else {
                continue;
            };
            if p99 == 0 {
                [p50, p99] = whole;
            }
            let before = self.before.get_mut(number);
            let reads = before.map_or(0, |before| tiers.total() - std::mem::replace(before, tiers.total()));
            let status = admin
                .get("/status")
                .await
                .and_then(|answer| answer.json())
                .unwrap_or(Value::Null);
            let state = |pointer: &str, unit: &str| {
                status
                    .pointer(pointer)
                    .and_then(Value::as_u64)
                    .map_or_else(|| "–".to_owned(), |value| format!("{value}{unit}"))
            };
            writeln!(
                table,
                "{:<8} {:>10.0} {:>8} {:>7} {:>7} {:>6} µs {:>6} µs {:>11} {:>9} {:>6}",
                number + 1,
                reads as f64 / elapsed,
                share(tiers.l1, tiers),
                share(tiers.l2, tiers),
                share(tiers.fills, tiers),
                p50,
                p99,
                state("/feed/lease_remaining_ms", " ms"),
                state("/feed/applied", ""),
                state("/feed/lag_ms", " ms"),
            )
            .ok();
        }
        table
    }
}

fn overall(latency: &Histogram<u64>) -> [u64; 2] {
    [latency.value_at_quantile(0.5), latency.value_at_quantile(0.99)]
}

fn share(part: u64, tiers: Tiers) -> String {
    format!("{:.1}", part as f64 * 100.0 / (tiers.total().max(1)) as f64)
}

fn line_of(told: &Told) -> String {
    let seen: Vec<String> = told
        .seen
        .iter()
        .map(|seen| match seen {
            Ok(after) => format!("+{}", milliseconds(*after)),
            Err(_) => "STALE".to_owned(),
        })
        .collect();
    let stale = told.seen.iter().filter(|seen| seen.is_err()).count();
    format!(
        "{:>6.2} s  {:<44} commit {:>8} · seen {} · stale reads: {stale}",
        told.at.as_secs_f64(),
        told.title,
        milliseconds(told.commit),
        seen.join(" ")
    )
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}

fn verdict(load: &Load, story: &Story) -> String {
    let (stale, failed) = (load.stale() + story.stale(), load.failed() + story.failed());
    format!(
        "stale reads: {stale} · failed: {failed} · judged against the writer's own record: {}",
        load.judged()
    )
}

/// What to type in another terminal.
fn by_hand(stage: &Stage) -> String {
    let mut text = "try it in another terminal (Ctrl-C here ends everything):\n".to_owned();
    let (user, psql) = (user_id(BY_HAND), stage.postgres.binaries().join("psql"));
    let update = format!("UPDATE \\\"user\\\" SET role = 'admin' WHERE id = '{user}'");
    writeln!(text, "  {} {} -c \"{update}\"", psql.display(), stage.database.url()).ok();
    for sidecar in &stage.sidecars {
        writeln!(
            text,
            "  curl -i http://127.0.0.1:{}/v1/users/{user}/role",
            sidecar.api_port()
        )
        .ok();
    }
    if let Some(sidecar) = stage.sidecars.first() {
        let key = api_key(BY_HAND);
        let socket = sidecar.socket();
        let body = format!("'{{\"api_key\": \"{key}\"}}'");
        writeln!(
            text,
            "  curl --unix-socket {} -H 'content-type: application/json' -d {body} http://sidecar/v1/api-keys/resolve",
            socket.display()
        )
        .ok();
        writeln!(text, "  curl http://127.0.0.1:{}/status", sidecar.admin_port()).ok();
    }
    writeln!(text, "  redis-cli -p {} flushall", stage.redis.port()).ok();
    text
}
