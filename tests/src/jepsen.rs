//! A run of several real sidecars over real PostgreSQL and Redis, under faults, whose whole history is judged.
//!
//! In the manner of Jepsen: processes read and write, a nemesis breaks things, everything is recorded with its beginning and end, and afterwards a
//! judge that knows nothing of the product says whether a single copy of the database could have answered so. Started by `cargo xtask jepsen`; a short
//! piece of it runs with the tests. What it can't show: anything about machines other than this one, since all processes share one.

mod client;
mod judge;
mod level;
mod nemesis;
mod page;
mod readers;
mod record;
mod registers;
mod report;
mod stage;
mod story;
mod writers;

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::time::{Instant, sleep};

pub use report::Report;

use self::{
    nemesis::{FAMILIES, Nemesis},
    readers::Readers,
    record::{Clock, Faults, History},
    registers::Registers,
    stage::{SIDECARS, STALENESS_BOUND, Stage},
    writers::{Session, Writers},
};
use crate::dice::Dice;

/// Readers of each sidecar; the last one comes by its Unix socket and may see secrets.
const READERS: usize = 3;
const WRITERS: [Session; 6] = [
    Session::Own,
    Session::Own,
    Session::Own,
    Session::Own,
    Session::Pooled,
    Session::Pooled,
];
const WRITERS_PACE: Duration = Duration::from_millis(60);
const WARM_UP: Duration = Duration::from_millis(500);
/// From the end of all faults until every question must be answered by every sidecar.
const RECOVERY: Duration = Duration::from_secs(15);
const WORD_EVERY: Duration = Duration::from_secs(10);

/// What a run is asked for.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How long faults go on, in minutes; fractions are welcome.
    #[arg(long, default_value_t = 1.0)]
    pub minutes: f64,
    /// What all random choices follow from; how processes interleave does not.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The families of faults, separated by commas; all unless given, none with `none`.
    #[arg(long, value_delimiter = ',')]
    pub faults: Vec<String>,
    /// Takes safeguards away, by their names, separated by commas: the run then succeeds if it finds that out. Needs a sidecar built with `mutants`.
    #[arg(long)]
    pub without: Option<String>,
    /// Milliseconds between two bursts of a reader.
    #[arg(long, default_value_t = 5)]
    pub pace_ms: u64,
    /// The directory for the history and its page; without it neither is written.
    #[arg(long)]
    pub into: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            minutes: 1.0,
            seed: 1,
            faults: Vec::new(),
            without: None,
            pace_ms: 5,
            into: None,
        }
    }
}

impl Options {
    fn families(&self) -> Result<Vec<&'static str>> {
        let all = || FAMILIES.iter().map(|(name, _)| *name);
        match self.faults.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] | ["all"] => Ok(all().collect()),
            ["none"] => Ok(Vec::new()),
            ref chosen => chosen
                .iter()
                .map(|chosen| match all().find(|name| name == chosen) {
                    Some(name) => Ok(name),
                    None => bail!(
                        "there is no family `{chosen}`; there are {}",
                        all().collect::<Vec<_>>().join(", ")
                    ),
                })
                .collect(),
        }
    }
}

/// Sets the stage, lets everybody play, heals, and judges.
pub async fn run(options: &Options) -> Result<Report> {
    let families = options.families()?;
    let stage = Arc::new(Stage::set(options.without.as_deref()).await?);
    let play = Play::begin(options, &stage);
    let problems = play.until_the_end(&families, options).await?;
    let history = play.history().await?;
    drop(stage);
    let judging = Instant::now();
    let violations = judge::judge(&history);
    let report = Report::of(options, history, violations, problems, judging.elapsed());
    if let Some(directory) = &options.into {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        story::write(&directory.join("history.jsonl"), &report.history, &report.violations)?;
        page::write(&directory.join("history.html"), &report)?;
    }
    Ok(report)
}

/// Everybody who plays.
struct Play {
    stage: Arc<Stage>,
    clock: Clock,
    readers: Arc<Readers>,
    writers: Arc<Writers>,
    nemesis: Arc<Nemesis>,
    reading: std::sync::Mutex<Vec<tokio::task::JoinHandle<record::ReadLog>>>,
    writing: std::sync::Mutex<Vec<tokio::task::JoinHandle<()>>>,
    last_words: std::sync::Mutex<Vec<record::ReadLog>>,
}

impl Play {
    fn begin(options: &Options, stage: &Arc<Stage>) -> Self {
        let clock = Clock::start();
        let mut dice = Dice::new(options.seed);
        let pace = Duration::from_millis(options.pace_ms);
        let readers = Arc::new(Readers::new(clock, stage.registers.clone(), pace));
        let writers = Arc::new(Writers::new(Arc::clone(stage), clock, WRITERS_PACE));
        let room = (options.minutes * 60_000.0 / (options.pace_ms.max(1) as f64) * 8.0) as usize;
        let mut reading = Vec::new();
        for (process, (place, number)) in reading_processes().into_iter().enumerate() {
            let door = stage.places[place].door(number + 1 == READERS);
            let dice = Dice::new(dice.next());
            reading.push(tokio::spawn(Arc::clone(&readers).read(
                process as u16,
                door,
                dice,
                room,
            )));
        }
        let first = names_of_readers().len();
        let mut writing = Vec::new();
        for (number, session) in WRITERS.into_iter().enumerate() {
            let dice = Dice::new(dice.next());
            writing.push(tokio::spawn(Arc::clone(&writers).write(
                (first + number) as u16,
                session,
                dice,
            )));
        }
        let nemesis = Arc::new(Nemesis {
            stage: Arc::clone(stage),
            writers: Arc::clone(&writers),
            clock,
            faults: Faults::default(),
            is_over: AtomicBool::new(false),
            process: (first + WRITERS.len()) as u16,
        });
        Self {
            stage: Arc::clone(stage),
            clock,
            readers,
            writers,
            nemesis,
            reading: reading.into(),
            writing: writing.into(),
            last_words: std::sync::Mutex::default(),
        }
    }

    /// Plays with faults, then without; gives what is wrong beside what the judge will say.
    async fn until_the_end(&self, families: &[&'static str], options: &Options) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        sleep(WARM_UP).await;
        let lanes = self.nemesis.lanes(families, options.seed);
        let end = self.clock.elapsed() + Duration::from_secs_f64(options.minutes * 60.0);
        let mut next_word = self.clock.elapsed() + WORD_EVERY;
        while self.clock.elapsed() < end {
            sleep(Duration::from_millis(50)).await;
            if self.clock.elapsed() >= next_word {
                next_word += WORD_EVERY;
                self.say_how_it_goes();
            }
        }
        self.nemesis.is_over.store(true, Ordering::Relaxed);
        for lane in lanes {
            lane.await.context("a lane of the nemesis")?;
        }
        if let Err(error) = self.stage.heal().await {
            problems.push(format!("{error:#}"));
        }
        self.writers.is_over.store(true, Ordering::Relaxed);
        let writing = std::mem::take(&mut *self.writing.lock().expect("no holder panics"));
        for writer in writing {
            writer.await.context("a writer")?;
        }
        let first = reading_processes().len() as u16;
        for (number, place) in self.stage.places.iter().enumerate() {
            let process = first + number as u16;
            match self.readers.read_everything(process, place.door(true), RECOVERY).await {
                Ok(log) => self.last_words.lock().expect("no holder panics").push(log),
                Err(error) => {
                    problems.push(format!("sidecar {}: {error:#}", number + 1));
                    self.last_words
                        .lock()
                        .expect("no holder panics")
                        .push(record::ReadLog::default());
                }
            }
            problems.extend(self.mismatches(number).await);
        }
        self.readers.is_over.store(true, Ordering::Relaxed);
        Ok(problems)
    }

    /// What a sidecar's own auditor found.
    async fn mismatches(&self, number: usize) -> Option<String> {
        let sidecar = self.stage.places[number].sidecar.lock().await;
        let metrics = sidecar.as_ref()?.metrics().await.ok()?;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("neverstale_audits_total") && line.contains("\"mismatch\""))?;
        let is_clean = line.ends_with(" 0");
        (!is_clean).then(|| format!("the auditor of sidecar {} says {line}", number + 1))
    }

    fn say_how_it_goes(&self) {
        println!(
            "{:>5.0} s  {:>9} answered  {:>7} failed  {:>6} committed  {}",
            self.clock.elapsed().as_secs_f64(),
            self.readers.answered.load(Ordering::Relaxed),
            self.readers.failed.load(Ordering::Relaxed),
            self.writers.committed.load(Ordering::Relaxed),
            self.nemesis.faults.under_way(),
        );
    }

    /// Puts everybody's logs together.
    async fn history(&self) -> Result<History> {
        let mut processes = names_of_readers();
        processes.extend(WRITERS.iter().enumerate().map(|(number, session)| {
            let how = match session {
                Session::Own => "own session",
                Session::Pooled => "PgBouncer",
            };
            format!("writer {} ({how})", number + 1)
        }));
        processes.push("nemesis".to_owned());
        let mut history = History {
            registers: Registers::names(),
            processes,
            writes: self.writers.take().await?,
            faults: self.nemesis.faults.take(),
            staleness_bound: STALENESS_BOUND.as_nanos() as u64,
            ..History::default()
        };
        let reading = std::mem::take(&mut *self.reading.lock().expect("no holder panics"));
        for reader in reading {
            history.take_reads(reader.await.context("a reader")?);
        }
        for log in std::mem::take(&mut *self.last_words.lock().expect("no holder panics")) {
            history.take_reads(log);
        }
        Ok(history)
    }
}

/// Which sidecar, and which of its readers.
fn reading_processes() -> Vec<(usize, usize)> {
    (0..SIDECARS)
        .flat_map(|place| (0..READERS).map(move |number| (place, number)))
        .collect()
}

fn names_of_readers() -> Vec<String> {
    let readers = reading_processes()
        .into_iter()
        .map(|(place, number)| reader(place, number));
    readers
        .chain((0..SIDECARS).map(|place| format!("{}, at the end", reader(place, READERS - 1))))
        .collect()
}

fn reader(place: usize, number: usize) -> String {
    let way = if number + 1 == READERS { " (socket)" } else { "" };
    format!("sidecar {} reader {}{way}", place + 1, number + 1)
}
