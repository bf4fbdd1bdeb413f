//! Finds the backends of a postmaster: each is a session of its own, so that no process group reaches them all.

use std::{fs, process::Command};

use rustix::process::Pid;

/// The processes whose parent is `parent`: from `/proc` where there is one, else from `ps`.
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let wanted = parent.as_raw_nonzero().to_string();
    let table = fs::read_dir("/proc").ok().map(|entries| {
        let stats = entries
            .flatten()
            .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        // "pid (command) state ppid …", where the command may hold spaces and parentheses.
        stats
            .filter_map(|stat| {
                let pid = stat.split(' ').next()?.to_owned();
                let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.to_owned();
                Some((pid, parent))
            })
            .collect::<Vec<_>>()
    });
    let table = table.filter(|table| !table.is_empty()).unwrap_or_else(|| {
        let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
        let text = output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        let pair = |line: &str| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        };
        text.lines().filter_map(pair).collect()
    });
    let children = table.iter().filter(|(_, of)| *of == wanted);
    children
        .filter_map(|(pid, _)| pid.parse().ok().and_then(Pid::from_raw))
        .collect()
}
