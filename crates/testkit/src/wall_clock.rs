//! A wall clock that can be stepped for the processes that are started with it, by libfaketime where it is installed.
//!
//! Only what asks the C library for the wall clock is deceived: PostgreSQL is, and the Rust binary, which reads the kernel's clocks by itself, is not.
//! Monotonic clocks are left alone, as a stepped machine's are.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Context, Result};

use crate::scratch::Scratch;

/// A wall clock.
#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    home: Scratch,
    ahead_seconds: Mutex<i64>,
}

impl WallClock {
    /// Makes a clock that is right; `None` where libfaketime (Debian: `libfaketime`) is not installed.
    pub fn find() -> Result<Option<Self>> {
        let Some(library) = library() else { return Ok(None) };
        let home = Scratch::new()?;
        // The server runs as somebody else.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).context("open the clock's directory")?;
        let clock = Self {
            library,
            home,
            ahead_seconds: Mutex::new(0),
        };
        clock.step(0)?;
        Ok(Some(clock))
    }

    /// What a process must have in its environment to go by this clock.
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        [
            ("LD_PRELOAD", text(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.file())),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Steps the clock, for all its processes at once; gives by how much it is ahead then.
    pub fn step(&self, seconds: i64) -> Result<i64> {
        let mut ahead = self
            .ahead_seconds
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *ahead += seconds;
        // Put in place whole, for processes read it at every look at the clock.
        let fresh = self.home.path().join("fresh");
        fs::write(&fresh, format!("{:+}\n", *ahead)).context("write the clock")?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644)).context("open the clock")?;
        fs::rename(&fresh, self.file()).context("set the clock")?;
        Ok(*ahead)
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("clock")
    }
}

fn library() -> Option<PathBuf> {
    let mut places = vec![PathBuf::from("/usr/lib/faketime"), PathBuf::from("/usr/lib64/faketime")];
    let architectures = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    places.extend(architectures.map(|entry| entry.path().join("faketime")));
    places
        .into_iter()
        .map(|place| place.join("libfaketime.so.1"))
        .find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Postgres, PostgresVersion};

    #[tokio::test]
    async fn a_server_goes_by_the_stepped_clock() {
        // Where it can't be had, the jepsen run says that it goes without.
        let Some(clock) = WallClock::find().unwrap() else {
            return;
        };
        let postgres = Postgres::start_in_environment(
            PostgresVersion::from_environment(),
            &[("fsync", "off")],
            &clock.environment(),
        )
        .await
        .unwrap();
        let client = postgres.connect("postgres").await.unwrap();
        let now = async || -> f64 {
            client
                .query_one("SELECT extract(epoch FROM clock_timestamp())::float8", &[])
                .await
                .unwrap()
                .get(0)
        };
        let before = now().await;
        assert_eq!(clock.step(100).unwrap(), 100);
        let forward = now().await - before;
        assert!((100.0..130.0).contains(&forward), "{forward}");
        clock.step(-150).unwrap();
        let back = now().await - before;
        assert!((-50.0..-20.0).contains(&back), "{back}");
    }
}
