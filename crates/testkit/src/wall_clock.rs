//! A wall clock for a server that a test can step: libfaketime in front of the real one, the monotonic clocks left alone.
//!
//! It reaches programs that ask the C library for the time, such as PostgreSQL. Ours asks the kernel itself, and is not reached.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    provision::libfaketime,
    scratch::{Scratch, open_to_all},
};

/// A clock that is as far from the machine's as it was last told.
#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    home: Scratch,
}

impl WallClock {
    /// Makes a clock that shows the machine's time.
    pub fn new() -> Result<Self> {
        let library = libfaketime()?.path;
        let home = Scratch::new()?;
        open_to_all(home.path())?;
        let clock = Self { library, home };
        clock.set(0)?;
        Ok(clock)
    }

    /// Steps the clock, at once and for every process under it, to this many seconds from the machine's time.
    pub fn set(&self, seconds: i32) -> Result<()> {
        let file = self.file();
        let next = file.with_extension("next");
        fs::write(&next, format!("{seconds:+}s\n")).context("write a clock's file")?;
        open_to_all(&next)?;
        fs::rename(next, file).context("step a clock")
    }

    /// Steps it by so many seconds from where it is, and says how far it is from the machine's time then.
    pub fn step(&self, seconds: i32) -> Result<i32> {
        let text = fs::read_to_string(self.file()).context("read a clock's file")?;
        let before: i32 = text
            .trim()
            .trim_end_matches('s')
            .parse()
            .context("read a clock's file")?;
        self.set(before + seconds)?;
        Ok(before + seconds)
    }

    /// What a process needs in its environment to live by it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        [
            ("LD_PRELOAD", text(self.library.clone())),
            ("FAKETIME_TIMESTAMP_FILE", text(self.file())),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("clock")
    }
}
