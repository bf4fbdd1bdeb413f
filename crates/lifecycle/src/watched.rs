//! Files whose contents count without restart: read at the start, looked at every second, parsed again when they change.
//!
//! Kubernetes replaces mounted secrets by renaming links, so contents are compared, not times. What can't be read or parsed
//! later is logged once, and what was read before stays in force.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{task::spawn_blocking, time::sleep};

use crate::Tasks;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("read `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its contents can't be used; they are not repeated, because they are secrets.
    #[error("use `{path}`: {reason}")]
    Useless {
        /// The file, or the first of those that belong together.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What the files say now. Clones share it.
pub struct Watched<T>(Arc<ArcSwap<T>>);

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads and parses the files, and goes on watching them in a task of this name.
    ///
    /// # Errors
    /// A file can't be read now, or its contents can't be used.
    pub fn start<P>(task: &'static str, paths: Vec<PathBuf>, parse: P, tasks: &Tasks) -> Result<Self, FileError>
    where
        P: Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    {
        let mut contents = read(&paths)?;
        let parsed = parse(&contents).map_err(|reason| FileError::Useless {
            path: paths[0].clone(),
            reason,
        })?;
        let current = Arc::new(ArcSwap::from_pointee(parsed));
        let watched = Self(Arc::clone(&current));
        let shutdown = tasks.shutdown();
        tasks.spawn(task, async move {
            let mut has_complained = false;
            let watching = async {
                loop {
                    sleep(LOOK_EVERY).await;
                    let to_read = paths.clone();
                    let Ok(read) = spawn_blocking(move || read(&to_read)).await else { continue };
                    let outcome = match read {
                        Ok(read) if read == contents => continue,
                        Ok(read) => {
                            contents = read;
                            parse(&contents).map_err(|reason| FileError::Useless { path: paths[0].clone(), reason })
                        }
                        Err(error) => Err(error),
                    };
                    match outcome {
                        Ok(parsed) => {
                            current.store(Arc::new(parsed));
                            has_complained = false;
                            tracing::info!(path = %paths[0].display(), "a file has changed and counts from now on");
                        }
                        Err(error) if !has_complained => {
                            has_complained = true;
                            tracing::warn!(%error, "a file has changed and is of no use: what it said before stays in force");
                        }
                        Err(_) => {}
                    }
                }
            };
            shutdown.run_until_cancelled(watching).await;
        });
        Ok(watched)
    }
}

impl<T> Watched<T> {
    /// Gives something that will not change.
    pub fn fixed(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// Gives what the files say now.
    pub fn load(&self) -> arc_swap::Guard<Arc<T>> {
        self.0.load()
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|source| FileError::Unreadable {
            path: path.clone(),
            source,
        })
    };
    paths.iter().map(read).collect()
}
