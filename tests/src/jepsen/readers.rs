//! Readers: each keeps one connection to one sidecar and asks, in bursts, at all levels, singly and in batches.
//!
//! Tokens go round: what one reader was given, any other may ask with, of its own sidecar. A burst is sent as one piece, so that a read costs little;
//! each read in it began when the burst was sent, which makes the judge the milder and never the stricter.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};

use super::{
    client::Connection,
    level::Level,
    record::{Clock, Origin, Read, ReadLog, Seen},
    registers::{Question, Registers, scan},
    stage::Door,
};
use crate::dice::Dice;

/// Longer than any pause of the nemesis, so that what a sidecar says when it wakes is heard.
const PATIENCE: Duration = Duration::from_secs(8);
const BURST_MAX: u64 = 12;
const BATCH_MAX: u64 = 16;
/// How long a read may take at the sidecar; a refusal after that is an answer too.
const DEADLINE_MS: u32 = 600;
/// As a caller would wait, though shorter.
const AFTER_A_REFUSAL: Duration = Duration::from_millis(30);
/// Tokens in circulation.
const TOKENS_MAX: usize = 64;

/// What all readers share.
pub(crate) struct Readers {
    pub(crate) clock: Clock,
    pub(crate) registers: Registers,
    pub(crate) is_over: AtomicBool,
    /// Between two bursts of a reader.
    pub(crate) pace: Duration,
    pub(crate) answered: AtomicU64,
    pub(crate) failed: AtomicU64,
    tokens: Mutex<VecDeque<(String, Origin)>>,
}

/// A read that was sent and is not yet answered.
struct Sent<'q> {
    level: Level,
    basis: Option<Origin>,
    questions: Vec<&'q Question>,
}

impl Readers {
    pub(crate) fn new(clock: Clock, registers: Registers, pace: Duration) -> Self {
        Self {
            clock,
            registers,
            is_over: AtomicBool::new(false),
            pace,
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            tokens: Mutex::default(),
        }
    }

    /// Reads through a door until it is over; gives the log.
    pub(crate) async fn read(self: Arc<Self>, process: u16, door: Door, mut dice: Dice, room: usize) -> ReadLog {
        let mut reader = Reader {
            shared: &self,
            process,
            door,
            log: ReadLog::with_room(room),
            seen: Vec::new(),
            connection: None,
        };
        while !self.is_over.load(Ordering::Relaxed) {
            let (sent, request) = reader.compose(&mut dice);
            if reader.burst(&sent, &request).await.is_err() {
                reader.connection = None;
                sleep(AFTER_A_REFUSAL).await;
            } else if !reader.log.reads.last().is_some_and(Read::is_answered) {
                sleep(AFTER_A_REFUSAL).await;
            }
            sleep(self.pace.mul_f64(dice.between(50, 150) as f64 / 100.0)).await;
        }
        reader.log
    }

    /// Asks every question once, at the strictest level, until each is answered or patience is over.
    pub(crate) async fn read_everything(&self, process: u16, door: Door, patience: Duration) -> Result<ReadLog> {
        let mut reader = Reader {
            shared: self,
            process,
            door,
            log: ReadLog::default(),
            seen: Vec::new(),
            connection: None,
        };
        let deadline = self.clock.elapsed() + patience;
        for question in &self.registers.questions {
            if question.is_secret && !reader.door.shows_secrets() {
                continue;
            }
            let sent = [Sent {
                level: Level::Full,
                basis: None,
                questions: vec![question],
            }];
            let mut request = String::new();
            sent[0].write(&mut request, None);
            loop {
                let exchanged = reader.burst(&sent, &request).await;
                if exchanged.is_ok() && reader.log.reads.last().is_some_and(Read::is_answered) {
                    break;
                }
                if exchanged.is_err() {
                    reader.connection = None;
                }
                let last = reader.log.reads.last().map_or(0, |read| read.status);
                if self.clock.elapsed() > deadline {
                    exchanged
                        .with_context(|| format!("{} is not answered after all is healed ({last})", question.path))?;
                    anyhow::bail!("{} is not answered after all is healed ({last})", question.path);
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(reader.log)
    }

    fn give_token(&self, text: &[u8], origin: Origin) {
        let mut tokens = self.tokens.lock().expect("no holder panics");
        if tokens.len() >= TOKENS_MAX {
            tokens.pop_front();
        }
        tokens.push_back((String::from_utf8_lossy(text).into_owned(), origin));
    }

    /// A token that somebody was given, the newer the likelier.
    fn some_token(&self, dice: &mut Dice) -> Option<(String, Origin)> {
        let tokens = self.tokens.lock().expect("no holder panics");
        let back = dice.below(tokens.len().max(1)).min(dice.below(tokens.len().max(1)));
        tokens.iter().rev().nth(back).cloned()
    }
}

struct Reader<'s> {
    shared: &'s Readers,
    process: u16,
    door: Door,
    log: ReadLog,
    seen: Vec<Seen>,
    connection: Option<Connection>,
}

impl<'s> Reader<'s> {
    fn compose(&self, dice: &mut Dice) -> (Vec<Sent<'s>>, String) {
        let mut request = String::with_capacity(4096);
        let mut burst = Vec::new();
        for _ in 0..dice.between(1, BURST_MAX) {
            let count = if dice.one_in(3) { dice.between(2, BATCH_MAX) } else { 1 };
            let questions = (0..count).map(|_| self.question(dice, count > 1)).collect();
            let (level, token) = match dice.below(10) {
                0..6 => (Level::Full, None),
                6..9 => match self.shared.some_token(dice) {
                    Some(token) => (Level::Token, Some(token)),
                    None => (Level::Full, None),
                },
                _ => (Level::Bounded, None),
            };
            let basis = token.as_ref().map(|(_, origin)| *origin);
            let sent = Sent {
                level,
                basis,
                questions,
            };
            sent.write(&mut request, token.map(|(text, _)| text));
            burst.push(sent);
        }
        (burst, request)
    }

    fn question(&self, dice: &mut Dice, is_in_batch: bool) -> &'s Question {
        loop {
            let all = &self.shared.registers.questions;
            let question = &all[dice.below(all.len())];
            let is_for_batches = !question.is_secret && !question.is_fence;
            let is_shown = !question.is_secret || self.door.shows_secrets();
            if is_for_batches || (is_shown && !is_in_batch) {
                return question;
            }
        }
    }

    /// Sends, and logs every read, answered or not.
    async fn burst(&mut self, burst: &[Sent<'s>], request: &str) -> Result<()> {
        let start = self.shared.clock.now();
        let mut answered = 0;
        let exchanged = timeout(PATIENCE, async {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.door.connect().await?,
            };
            connection.send(request.as_bytes()).await?;
            for sent in burst {
                self.take_answer(&mut connection, sent, start).await?;
                answered += 1;
            }
            self.connection = Some(connection);
            anyhow::Ok(())
        })
        .await;
        for sent in &burst[answered..] {
            self.push(sent, sent.level, 0, 0, start, &[]);
        }
        exchanged?
    }

    async fn take_answer(&mut self, connection: &mut Connection, sent: &Sent<'s>, start: u64) -> Result<()> {
        let answer = connection.answer().await?;
        let level = connection
            .header(&answer, b"neverstale-consistency")
            .and_then(Level::from_header)
            .unwrap_or(sent.level);
        let token = connection.header(&answer, b"neverstale-position");
        let position = token.map_or(0, position);
        let mut seen = std::mem::take(&mut self.seen);
        seen.clear();
        let mut status = answer.status;
        if status == 200 || status == 404 {
            scan(connection.body(&answer), &mut seen);
            sent.add_absent(&mut seen);
            // A 404 for what is there is an answer, and a wrong one.
            status = 200;
        }
        let place = self.push(sent, level, status, position, start, &seen);
        if let (200, Some(token)) = (status, token) {
            let origin = Origin {
                process: self.process,
                place,
            };
            let is_fence = self.log.reads.last().is_some_and(|read| read.is_fence);
            if is_fence || place.is_multiple_of(4) {
                self.shared.give_token(token, origin);
            }
        }
        self.seen = seen;
        Ok(())
    }

    fn push(&mut self, sent: &Sent<'_>, level: Level, status: u16, position: u64, start: u64, seen: &[Seen]) -> u32 {
        let counter = if status == 200 {
            &self.shared.answered
        } else {
            &self.shared.failed
        };
        counter.fetch_add(sent.questions.len() as u64, Ordering::Relaxed);
        let read = Read {
            process: self.process,
            asked: sent.level,
            level,
            status,
            is_fence: sent.questions.iter().all(|question| question.is_fence),
            questions: sent.questions.len() as u16,
            seen_count: 0,
            seen_from: 0,
            basis: sent.basis,
            position,
            start,
            end: self.shared.clock.now(),
        };
        self.log.push(read, seen)
    }
}

impl Sent<'_> {
    fn write(&self, request: &mut String, token: Option<String>) {
        let level = match (self.level, token) {
            (Level::Token, Some(token)) => format!("at-least-as-fresh={token}"),
            (level, _) => level.name().to_owned(),
        };
        let (path, body) = match &self.questions[..] {
            [one] => (one.path.as_str(), one.body.clone()),
            many => {
                let paths: Vec<String> = many.iter().map(|question| format!("\"{}\"", question.path)).collect();
                ("/v1/batch", format!("{{\"reads\": [{}]}}", paths.join(",")))
            }
        };
        let method = if body.is_empty() { "GET" } else { "POST" };
        write!(
            request,
            "{method} {path} HTTP/1.1\r\nHost: jepsen\r\nNeverstale-Consistency: {level}\r\nNeverstale-Timeout-Ms: {DEADLINE_MS}\r\n"
        )
        .expect("a text takes everything");
        if !body.is_empty() {
            write!(
                request,
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            )
            .expect("a text takes everything");
        }
        request.push_str("\r\n");
        request.push_str(&body);
    }

    /// Notes what should have been shown and was not, and keeps one of each.
    fn add_absent(&self, seen: &mut Vec<Seen>) {
        for register in self.questions.iter().flat_map(|question| &question.shows) {
            if !seen.iter().any(|one| one.register == *register) {
                seen.push(Seen {
                    register: *register,
                    version: Seen::ABSENT,
                    write: 0,
                });
            }
        }
        // The same register may be shown twice, by different views; each must be right, so only equal ones are dropped.
        seen.sort_unstable_by_key(|one| (one.register, one.version, one.write));
        seen.dedup();
        // What nobody asked for is somebody else's answer.
        let is_asked = |one: &Seen| {
            self.questions
                .iter()
                .any(|question| question.shows.contains(&one.register))
        };
        for one in seen.iter_mut().filter(|one| !is_asked(one)) {
            one.version = Seen::ABSENT;
        }
    }
}

/// The position in a token, `<incarnation>-<position in hexadecimal>`; for the story only.
fn position(token: &[u8]) -> u64 {
    let text = std::str::from_utf8(token).unwrap_or_default();
    let position = text.split_once('-').map(|(_, position)| position);
    position
        .and_then(|position| u64::from_str_radix(position, 16).ok())
        .unwrap_or(0)
}
