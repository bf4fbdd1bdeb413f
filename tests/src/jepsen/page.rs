//! The history as a page that needs nothing but itself: the timeline of any register around any moment, in a browser.
//!
//! Millions of reads are too many for a page, and most say the same as the one before. So the reads of one process that show the same version of a
//! register one after the other become one run, with the spans of its first and its last read; nothing that the judge objected to is left out.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    judge::Violation,
    level::Level,
    record::{Heard, History, Moment, Read, Seen},
    report::Report,
};

const TEMPLATE: &str = include_str!("page.html");
/// Where the data go in the template.
const DATA: &str = "/*data*/null";
/// Violations that a page lists; the file of the history has all.
const VIOLATIONS_MAX: usize = 500;

/// Reads of one process and level that show the same version of a register.
struct Run {
    process: u16,
    level: Level,
    register: u16,
    version: u32,
    write: u32,
    first: (Moment, Moment),
    last: (Moment, Moment),
    count: u32,
    is_flagged: bool,
}

/// Writes the page.
pub(crate) fn write(path: &Path, report: &Report) -> Result<()> {
    let data = data(report).to_string().replace("</", "<\\/");
    let page = TEMPLATE.replacen(DATA, &data, 1);
    fs::write(path, page).with_context(|| format!("write {}", path.display()))
}

fn data(report: &Report) -> Value {
    let history = &report.history;
    let runs = runs(history, &report.violations);
    let writes: Vec<Value> = history.writes.iter().map(write_of).collect();
    let faults: Vec<Value> = history
        .faults
        .iter()
        .map(|fault| json!([micros(fault.start), micros(fault.end), fault.family, fault.what]))
        .collect();
    let violations: Vec<Value> = report
        .violations
        .iter()
        .take(VIOLATIONS_MAX)
        .map(violation_of)
        .collect();
    json!({
        "registers": history.registers,
        "processes": history.processes,
        "levels": Level::ALL.map(Level::name),
        "summary": report.to_string().trim(),
        "writes": writes,
        "faults": faults,
        "violations": violations,
        "rate": rate(history),
        "runs": flat(&runs),
    })
}

/// `[start, end, process, heard, id, [register, version, …]]`.
fn write_of(write: &super::record::Write) -> Value {
    let heard = match write.heard {
        Heard::Committed => 0,
        Heard::RolledBack => 1,
        Heard::Nothing => 2,
    };
    let made: Vec<u32> = write
        .made
        .iter()
        .flat_map(|(register, version)| [u32::from(*register), *version])
        .collect();
    json!([
        micros(write.start),
        micros(write.end),
        write.process,
        heard,
        write.id,
        made
    ])
}

fn violation_of(violation: &Violation) -> Value {
    json!([
        violation.kind.name(),
        micros(violation.start),
        micros(violation.end),
        violation.register,
        violation.story
    ])
}

/// One array of numbers, eleven for each run, and times as what is between them: a quarter of the size of what reads better.
fn flat(runs: &[Run]) -> Vec<i64> {
    let mut numbers = Vec::with_capacity(runs.len() * 11);
    let mut before = 0;
    for run in runs {
        let level = Level::ALL.iter().position(|level| *level == run.level).unwrap_or(0) as i64;
        let [start, end, last_start, last_end] =
            [run.first.0, run.first.1, run.last.0, run.last.1].map(|moment| micros(moment) as i64);
        numbers.extend([
            i64::from(run.process),
            level,
            i64::from(run.register),
            i64::from(run.version),
        ]);
        numbers.extend([
            i64::from(run.write),
            start - before,
            end - start,
            last_start - start,
            last_end - last_start,
        ]);
        numbers.extend([i64::from(run.count), i64::from(run.is_flagged)]);
        before = start;
    }
    numbers
}

fn runs(history: &History, violations: &[Violation]) -> Vec<Run> {
    let mut is_flagged = vec![false; history.reads.len()];
    for read in violations.iter().filter_map(|violation| violation.read) {
        is_flagged[read] = true;
    }
    let mut runs: Vec<Run> = Vec::new();
    // The open run of each process, level and register.
    let width = history.registers.len();
    let mut open = vec![None; history.processes.len() * Level::ALL.len() * width];
    for (place, read) in history.reads.iter().enumerate().filter(|(_, read)| read.is_answered()) {
        for seen in history
            .seen_by(read)
            .iter()
            .filter(|seen| usize::from(seen.register) < width)
        {
            let level = Level::ALL.iter().position(|level| *level == read.level).unwrap_or(0);
            let slot = (usize::from(read.process) * Level::ALL.len() + level) * width + usize::from(seen.register);
            match open[slot].map(|run: usize| &mut runs[run]) {
                Some(run) if goes_on(run, *seen, is_flagged[place]) => {
                    run.last = (read.start, read.end);
                    run.count += 1;
                }
                _ => {
                    open[slot] = Some(runs.len());
                    runs.push(begin(read, *seen, is_flagged[place]));
                }
            }
        }
    }
    runs
}

fn goes_on(run: &Run, seen: Seen, is_flagged: bool) -> bool {
    run.version == seen.version && run.write == seen.write && !run.is_flagged && !is_flagged
}

fn begin(read: &Read, seen: Seen, is_flagged: bool) -> Run {
    Run {
        process: read.process,
        level: read.level,
        register: seen.register,
        version: seen.version,
        write: seen.write,
        first: (read.start, read.end),
        last: (read.start, read.end),
        count: 1,
        is_flagged,
    }
}

/// Answered and refused questions of each tenth of a second.
fn rate(history: &History) -> Value {
    let mut rate: Vec<[u32; 2]> = Vec::new();
    for read in &history.reads {
        let tenth = (read.end / 100_000_000) as usize;
        if rate.len() <= tenth {
            rate.resize(tenth + 1, [0, 0]);
        }
        rate[tenth][usize::from(!read.is_answered())] += u32::from(read.questions);
    }
    json!(rate)
}

fn micros(moment: Moment) -> u64 {
    moment / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jepsen::{judge::Kind, record::ReadLog};

    fn history(versions: &[u32]) -> History {
        let mut log = ReadLog::default();
        for (turn, version) in versions.iter().enumerate() {
            let start = turn as Moment * 10;
            let read = Read {
                process: 0,
                asked: Level::Full,
                level: Level::Full,
                status: 200,
                is_fence: false,
                questions: 1,
                seen_count: 0,
                seen_from: 0,
                basis: None,
                position: 0,
                start,
                end: start + 5,
            };
            let seen = Seen {
                register: 0,
                version: *version,
                write: *version,
            };
            log.push(read, &[seen]);
        }
        let mut history = History {
            registers: vec!["a".to_owned()],
            processes: vec!["reader".to_owned()],
            ..History::default()
        };
        history.take_reads(log);
        history
    }

    fn shape(history: &History, violations: &[Violation]) -> Vec<(u32, u32, bool)> {
        let runs = runs(history, violations);
        runs.iter()
            .map(|run| (run.version, run.count, run.is_flagged))
            .collect()
    }

    #[test]
    fn equal_reads_become_one_run_and_a_lie_stands_by_itself() {
        let history = history(&[1, 1, 1, 2, 1]);
        assert_eq!(shape(&history, &[]), [(1, 3, false), (2, 1, false), (1, 1, false)]);
        let lie = Violation {
            kind: Kind::Stale,
            read: Some(1),
            register: Some(0),
            start: 10,
            end: 15,
            story: String::new(),
        };
        let expected = [(1, 1, false), (1, 1, true), (1, 1, false), (2, 1, false), (1, 1, false)];
        assert_eq!(shape(&history, &[lie]), expected);
    }

    #[test]
    fn the_page_has_one_place_for_its_data_and_asks_nobody_for_anything() {
        assert_eq!(TEMPLATE.matches(DATA).count(), 1);
        for asks in ["http:", "https:", "src=", "@import", "<link", "fetch("] {
            assert!(!TEMPLATE.contains(asks), "{asks}");
        }
    }
}
