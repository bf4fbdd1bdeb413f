//! The history as a file: one JSON array a line, so that any tool can read it and a billion of bytes need not be held.
//!
//! `["register", number, name]` · `["process", number, name]` · `["fault", start, end, family, what]` ·
//! `["write", start, end, process, heard, id, [[register, version], …]]` (what the database says that it made) ·
//! `["read", start, end, process, asked, kept, status, position, basis, [[register, version, write], …]]`, where `basis` is the line of the read
//! whose token it was given, counted among reads, or null · `["violation", kind, start, end, story]`. Times are nanoseconds since the run began.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    judge::Violation,
    record::{Heard, History},
};

/// Writes the whole history.
pub(crate) fn write(path: &Path, history: &History, violations: &[Violation]) -> Result<()> {
    let file = File::create(path).with_context(|| format!("write {}", path.display()))?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    for (number, name) in history.registers.iter().enumerate() {
        writeln!(file, "{}", json!(["register", number, name]))?;
    }
    for (number, name) in history.processes.iter().enumerate() {
        writeln!(file, "{}", json!(["process", number, name]))?;
    }
    for fault in &history.faults {
        writeln!(
            file,
            "{}",
            json!(["fault", fault.start, fault.end, fault.family, fault.what])
        )?;
    }
    for write in &history.writes {
        let heard = match write.heard {
            Heard::Committed => "committed",
            Heard::RolledBack => "rolled back",
            Heard::Nothing => "nothing",
        };
        let line = json!([
            "write",
            write.start,
            write.end,
            write.process,
            heard,
            write.id,
            write.made
        ]);
        writeln!(file, "{line}")?;
    }
    for read in &history.reads {
        let (asked, kept) = (read.asked.name(), read.level.name());
        let basis = history
            .basis_of(read)
            .map_or_else(|| "null".to_owned(), |basis| basis.to_string());
        // By hand: these are the many.
        write!(
            file,
            "[\"read\",{},{},{},\"{asked}\",\"{kept}\",{},{},{basis},[",
            read.start, read.end, read.process, read.status, read.position
        )?;
        for (place, seen) in history.seen_by(read).iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(file, "{comma}[{},{},{}]", seen.register, seen.version, seen.write)?;
        }
        writeln!(file, "]]")?;
    }
    for violation in violations {
        let line = json!([
            "violation",
            violation.kind.name(),
            violation.start,
            violation.end,
            violation.story
        ]);
        writeln!(file, "{line}")?;
    }
    file.flush().context("write the history")
}
