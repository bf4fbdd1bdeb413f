//! Each register by itself: one sweep over time.
//!
//! A register whose versions are ordered by the database is linearizable iff no operation with an older version begins after an operation
//! with a newer one has ended, and none ends before the write of its version has begun. So it is enough to go through beginnings and ends in the
//! order of time and to remember the newest version that is known.

use super::{
    Kind, Violation, seconds,
    truth::{Truth, since},
};
use crate::jepsen::{
    level::Level,
    record::{History, Moment, NEVER, Read, Seen},
};

/// Who did it: a read or a write, by its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Read(u32),
    Write(u32),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Moment,
    /// Beginnings come before ends of the same moment: what touches does not follow.
    is_end: bool,
    version: u32,
    who: Who,
}

/// Judges the registers one after the other; flags each read that lies, once.
pub(super) fn judge(history: &History, truth: &Truth, is_flagged: &mut [bool], violations: &mut Vec<Violation>) {
    let mut events = vec![Vec::new(); truth.registers()];
    let since = since(history);
    for (place, read) in history.reads.iter().enumerate().filter(|(_, read)| read.is_answered()) {
        for seen in history.seen_by(read) {
            if let Some((kind, story)) = impossible(history, truth, read, *seen) {
                flag(history, is_flagged, violations, place, kind, *seen, story);
                continue;
            }
            let who = Who::Read(place as u32);
            events[usize::from(seen.register)].extend(span(since[place], read.end, seen.version, who));
        }
    }
    for (register, events) in events.iter_mut().enumerate() {
        for (version, place) in truth.versions(register) {
            let write = &history.writes[place as usize];
            events.extend(span(write.start, write.acknowledged(), version, Who::Write(place)));
        }
        events.sort_unstable();
        sweep(history, register as u16, events, is_flagged, violations);
    }
}

fn span(since: Moment, end: Moment, version: u32, who: Who) -> [Event; 2] {
    [(since, false), (end, true)].map(|(at, is_end)| Event {
        at,
        is_end,
        version,
        who,
    })
}

fn sweep(history: &History, register: u16, events: &[Event], is_flagged: &mut [bool], violations: &mut Vec<Violation>) {
    let mut newest: Option<Event> = None;
    for event in events {
        if event.is_end {
            if event.at != NEVER && newest.is_none_or(|newest| newest.version < event.version) {
                newest = Some(*event);
            }
            continue;
        }
        let Some(known) = newest.filter(|known| known.version > event.version) else {
            continue;
        };
        let by = match known.who {
            Who::Write(place) => format!("write {} was acknowledged", history.writes[place as usize].id),
            Who::Read(place) => {
                let process = history.reads[place as usize].process;
                format!("{} had seen it", history.processes[usize::from(process)])
            }
        };
        let name = &history.registers[usize::from(register)];
        let (version, newer) = (event.version, known.version);
        match event.who {
            Who::Read(place) => {
                let read = &history.reads[place as usize];
                let kind = match read.level {
                    Level::Full => Kind::Stale,
                    Level::Token => Kind::Token,
                    Level::Bounded => Kind::Bound,
                };
                let late = (read.start.saturating_sub(known.at)) as f64 / 1e6;
                let story = format!(
                    "shows version {version} of {name}; version {newer} was known since {} ({by}), {late:.3} ms before the read began",
                    seconds(known.at)
                );
                let seen = Seen {
                    register,
                    version,
                    write: 0,
                };
                flag(history, is_flagged, violations, place as usize, kind, seen, story);
            }
            Who::Write(place) => {
                let write = &history.writes[place as usize];
                violations.push(Violation {
                    kind: Kind::Database,
                    read: None,
                    register: Some(register),
                    start: write.start,
                    end: write.end,
                    story: format!(
                        "write {} made version {version} of {name} after version {newer} was known ({by})",
                        write.id
                    ),
                });
            }
        }
    }
}

/// What no order could explain: a value that nobody committed, or one from the future.
fn impossible(history: &History, truth: &Truth, read: &Read, seen: Seen) -> Option<(Kind, String)> {
    let name = history
        .registers
        .get(usize::from(seen.register))
        .map_or("what is no register", String::as_str);
    if seen.version == Seen::ABSENT {
        return Some((Kind::Absent, format!("does not show {name}")));
    }
    let Seen { version, write, .. } = seen;
    match truth.maker(history, seen) {
        Err(()) => {
            let story = format!("shows version {version} of {name} by write {write}, which was never committed");
            Some((Kind::Unwritten, story))
        }
        Ok(Some(maker)) if read.end < history.writes[maker as usize].start => {
            let story = format!("shows version {version} of {name} before its write {write} began");
            Some((Kind::Future, story))
        }
        Ok(_) => None,
    }
}

fn flag(
    history: &History,
    is_flagged: &mut [bool],
    violations: &mut Vec<Violation>,
    place: usize,
    kind: Kind,
    seen: Seen,
    story: String,
) {
    if std::mem::replace(&mut is_flagged[place], true) {
        return;
    }
    let read = &history.reads[place];
    let story = format!(
        "{}: a read at {} by {} {story}",
        seconds(read.start),
        read.level.name(),
        history.processes[usize::from(read.process)]
    );
    violations.push(Violation {
        kind,
        read: Some(place),
        register: Some(seen.register),
        start: read.start,
        end: read.end,
        story,
    });
}
