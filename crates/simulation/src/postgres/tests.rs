//! The same scripts, played on a real PostgreSQL and on the model of it, by the same code: what they answer must be the same.
//!
//! Incarnations are named in the order in which they appear, and positions are told as they are, but for the leap that sequences
//! may take in a crash.

mod scripts;
mod stage;

use stage::{Stage, Told};

use crate::run::paused_runtime;

/// Plays a script on both, each on a server as `own` says: shared with other tests, or one that may be crashed.
fn same(lease_ms: u32, own: bool, script: impl AsyncFn(&Stage, &mut Told)) {
    let real = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut told = Told::default();
        script(&Stage::real(lease_ms, own).await, &mut told).await;
        told.lines
    });
    let model = paused_runtime().block_on(async {
        let mut told = Told::default();
        script(&Stage::model(lease_ms), &mut told).await;
        told.lines
    });
    assert!(real.len() > 3, "the script tells too little: {real:?}");
    assert_eq!(model, real, "left: the model, right: PostgreSQL");
}

#[test]
fn commits_are_told_alike() {
    same(0, false, scripts::commits);
}

#[test]
fn commits_with_a_lease_are_announced_alike() {
    same(2_000, false, scripts::announcements);
}

#[test]
fn a_writer_that_is_ended_in_its_commit_leaves_the_same_behind() {
    same(2_000, false, scripts::ended_writer);
}

#[test]
fn rows_are_locked_alike() {
    same(0, false, scripts::row_locks);
}

#[test]
fn bells_are_rung_alike() {
    same(0, false, scripts::bells);
}

#[test]
fn pruning_leaves_the_same() {
    same(0, false, scripts::pruning);
}

#[test]
fn altered_triggers_are_another_incarnation_in_both() {
    same(0, false, scripts::triggers);
}

#[test]
fn sessions_lose_settings_and_locks_alike() {
    same(0, false, scripts::sessions);
}

#[test]
fn crashes_and_restarts_leave_the_same() {
    same(0, true, scripts::crashes);
}
