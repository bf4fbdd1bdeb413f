//! Loopback ports for servers under test, each given to one asker on this machine.
//!
//! A port that the kernel picks is free only until somebody else is given it: another test's server, or any outgoing connection.
//! These lie below the kernel's own range, and a locked file beside the throw-away directories says whose each is.

use std::{
    collections::hash_map::RandomState,
    fs::{self, File},
    hash::{BuildHasher, Hasher},
    net::TcpListener,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::scratch::base;

const FIRST: u16 = 10_000;
/// Where Linux begins to pick ports for outgoing connections, unless told otherwise.
const USUAL_END: u16 = 32_768;

/// A loopback port that nobody listens on, and that no other test is given while this process lives.
pub fn free_port() -> Result<u16> {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let directory = base().join(format!("neverstale-ports-{}", rustix::process::getuid().as_raw()));
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let count = end_of_ours() - FIRST;
    let start = RandomState::new().build_hasher().finish();
    for step in 0..count {
        let port = FIRST + u16::try_from((start % u64::from(count) + u64::from(step)) % u64::from(count))?;
        if let Some(lock) = reserve(&directory, port)? {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
            return Ok(port);
        }
    }
    bail!("every loopback port from {FIRST} to {} is taken", FIRST + count)
}

/// `None` when another test has the port, or anybody listens on it.
fn reserve(directory: &Path, port: u16) -> Result<Option<File>> {
    let path = directory.join(port.to_string());
    let lock = File::create(&path).with_context(|| format!("open {}", path.display()))?;
    let is_ours = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    Ok((is_ours && TcpListener::bind(("127.0.0.1", port)).is_ok()).then_some(lock))
}

fn end_of_ours() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first_of_kernel = range.split_whitespace().next().and_then(|first| first.parse().ok());
    // A kernel that leaves us next to nothing shares.
    first_of_kernel.filter(|end| *end >= FIRST + 1_000).unwrap_or(USUAL_END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut ports: Vec<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
    }

    #[test]
    fn a_port_that_somebody_has_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port().unwrap();
        let held = reserve(directory.path(), port).unwrap();
        assert!(held.is_some());
        assert!(
            reserve(directory.path(), port).unwrap().is_none(),
            "another test has it"
        );
        drop(held);
        let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert!(reserve(directory.path(), port).unwrap().is_none(), "somebody listens");
    }
}
