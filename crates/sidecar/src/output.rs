//! What a command tells the person or script that called it.
//!
//! Results go to standard output, everything else to standard error. A reader that has gone away (`| head`) is no
//! failure of ours.

use std::io::{self, Write};

use serde::Serialize;

/// Writes a result.
pub(crate) fn result(text: &str) {
    let mut out = io::stdout().lock();
    best_effort(out.write_all(text.as_bytes()).and_then(|()| {
        if text.ends_with('\n') {
            Ok(())
        } else {
            out.write_all(b"\n")
        }
    }));
}

/// Writes a result as indented JSON.
pub(crate) fn json(value: &impl Serialize) {
    result(&serde_json::to_string_pretty(value).expect("our reports always serialise"));
}

/// Writes what went wrong.
pub(crate) fn error(text: &str) {
    best_effort(writeln!(io::stderr().lock(), "neverstale: {text}"));
}

/// Lets a failed write pass: nobody is there to be told.
pub(crate) fn best_effort(written: io::Result<()>) {
    drop(written);
}
