//! The load generator: several kept connections that each ask, wait for the answer and ask again, from one thread.
//!
//! It runs in a process of its own, on a core of its own, and says how busy the server was meanwhile: a server that was not
//! busy was not what limited the rate. Latencies also: of anything asked one after the other, in this process.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::connection::{Connection, request};

/// Before it is measured, a load runs this long.
const WARM_UP: Duration = Duration::from_millis(300);
/// The kernel counts a process's time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// What to ask, of whom, how much and for how long.
#[derive(Clone, Debug, Args)]
pub(crate) struct Load {
    /// The loopback port.
    #[arg(long)]
    pub(crate) port: u16,
    /// The server's process id, to see how busy it was.
    #[arg(long)]
    pub(crate) process: u32,
    /// The path; `{n}` counts from 1 to `keys`.
    #[arg(long)]
    pub(crate) path: String,
    /// Further headers, each ended by CRLF; `{sampled:P}` is `01` in the first P requests of all keys, and `00` in the others.
    #[arg(long, default_value = "")]
    pub(crate) headers: String,
    /// How many different paths there are.
    #[arg(long)]
    pub(crate) keys: u32,
    /// How many connections ask at the same time.
    #[arg(long)]
    pub(crate) connections: u32,
    /// For how long it is measured.
    #[arg(long)]
    pub(crate) milliseconds: u64,
}

/// What came of a load; times in seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Answers a second.
    pub(crate) rate: f64,
    /// Half of the answers came within this time.
    pub(crate) p50: f64,
    /// Of a hundred answers, ninety-nine came within this time.
    pub(crate) p99: f64,
    /// The share of the time that the server used a core; NaN where the kernel does not say.
    pub(crate) busy: Option<f64>,
}

impl Load {
    /// Writes itself as the arguments of a process.
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let Self {
            port,
            process,
            path,
            headers,
            keys,
            connections,
            milliseconds,
        } = self;
        vec![
            format!("--port={port}"),
            format!("--process={process}"),
            format!("--path={path}"),
            format!("--headers={headers}"),
            format!("--keys={keys}"),
            format!("--connections={connections}"),
            format!("--milliseconds={milliseconds}"),
        ]
    }

    fn headers_of(&self, number: u32) -> String {
        let sampled = || {
            let (before, rest) = self.headers.split_once("{sampled:")?;
            let (first, after) = rest.split_once('}')?;
            let flags = if number <= first.parse().ok()? { "01" } else { "00" };
            Some(format!("{before}{flags}{after}"))
        };
        sampled().unwrap_or_else(|| self.headers.clone())
    }

    /// Makes the load.
    pub(crate) async fn run(&self) -> Result<Outcome> {
        let requests: Vec<Vec<u8>> = (1..=self.keys)
            .map(|n| request(&self.path.replace("{n}", &n.to_string()), &self.headers_of(n)))
            .collect();
        let requests: &'static [Vec<u8>] = requests.leak();
        let begin = Instant::now() + WARM_UP;
        let end = begin + Duration::from_millis(self.milliseconds);
        let mut asking = Vec::new();
        for number in 0..self.connections as usize {
            let connection = Connection::open(self.port).await?;
            // Connections begin far apart, so that they do not ask for the same at the same time.
            let first = number * requests.len() / self.connections as usize;
            asking.push(tokio::spawn(ask(connection, requests, first, begin, end)));
        }
        tokio::time::sleep_until(begin.into()).await;
        let before = processor_seconds(self.process);
        tokio::time::sleep_until(end.into()).await;
        let used = processor_seconds(self.process)
            .zip(before)
            .map(|(after, before)| after - before);
        let mut all = histogram()?;
        for asked in asking {
            all.add(asked.await??)?;
        }
        let seconds = (end - begin).as_secs_f64();
        Ok(Outcome {
            rate: all.len() as f64 / seconds,
            p50: all.value_at_quantile(0.5) as f64 / 1e9,
            p99: all.value_at_quantile(0.99) as f64 / 1e9,
            busy: used.map(|used| used / seconds),
        })
    }
}

async fn ask(
    mut connection: Connection,
    requests: &'static [Vec<u8>],
    first: usize,
    begin: Instant,
    end: Instant,
) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut next = first;
    let mut since = Instant::now();
    while since < end {
        connection.ask(&requests[next % requests.len()]).await?;
        next += 1;
        let now = Instant::now();
        if since >= begin && now < end {
            latencies.record((now - since).as_nanos() as u64)?;
        }
        since = now;
    }
    Ok(latencies)
}

/// The median and the 99th percentile of something done one after the other, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Does something `count` times, one after the other, after a tenth as often for warming up.
///
/// # Errors
/// The first failure ends it.
pub(crate) async fn one_by_one(count: usize, mut once: impl AsyncFnMut(usize) -> Result<()>) -> Result<Latency> {
    for number in 0..count / 10 {
        once(number).await?;
    }
    let mut latencies = histogram()?;
    for number in 0..count {
        let since = Instant::now();
        once(number).await?;
        latencies.record(since.elapsed().as_nanos() as u64)?;
    }
    let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e9;
    Ok(Latency {
        p50: at(0.5),
        p99: at(0.99),
    })
}

/// From a nanosecond to a minute, three digits.
fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).context("make a histogram")
}

/// The processor time that a process has used, as Linux counts it.
pub(crate) fn processor_seconds(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // "pid (command) state …", where the command may hold spaces; user and system time are the 14th and 15th word.
    let mut words = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let ticks: f64 = words.next()?.parse::<f64>().ok()? + words.next()?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}
