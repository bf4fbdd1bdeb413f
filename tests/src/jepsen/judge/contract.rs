//! What an answer may be at all: refused in the ways that the contract names, and never at a weaker level than was asked for.

use super::{Kind, Violation, seconds};
use crate::jepsen::{
    level::Level,
    record::{History, Read},
};

/// No answer, an answer, too many requests, unavailable, too late.
const STATUSES: [u16; 5] = [0, 200, 429, 503, 504];

pub(super) fn judge(history: &History, violations: &mut Vec<Violation>) {
    for (place, read) in history.reads.iter().enumerate() {
        let story = if !STATUSES.contains(&read.status) {
            format!("was answered with status {}", read.status)
        } else if read.is_answered() && is_weaker(read) {
            format!("was answered at {}", read.level.name())
        } else {
            continue;
        };
        let process = &history.processes[usize::from(read.process)];
        violations.push(Violation {
            kind: Kind::Contract,
            read: Some(place),
            register: None,
            start: read.start,
            end: read.end,
            story: format!(
                "{}: a read at {} by {process} {story}",
                seconds(read.start),
                read.asked.name()
            ),
        });
    }
}

/// A token of another incarnation makes a read fully consistent, and a fresher answer than asked for is none too few.
fn is_weaker(read: &Read) -> bool {
    match read.asked {
        Level::Full => read.level != Level::Full,
        Level::Token => read.level == Level::Bounded,
        Level::Bounded => false,
    }
}
