//! Raising and lowering the lease in the safe order [4].

use std::time::{Duration, Instant};

use anyhow::Result;
use neverstale_installation::{InstallationError, set_lease};

use crate::app::{App, column};

const NUMBERS: &str = "SELECT lease_ms || ' ' || last_value FROM neverstale.installation, neverstale.wait";

#[tokio::test]
async fn a_writer_with_an_old_snapshot_waits_as_long_as_the_new_lease() -> Result<()> {
    let app = App::installed().await?;
    let writer = app.connect().await?;
    writer
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; UPDATE app.post SET title = 'x' WHERE id = 1")
        .await?;
    set_lease(&app.owner, 200).await?;
    assert_eq!(column(&app.owner, NUMBERS).await?, ["200 200"]);
    let begin = Instant::now();
    writer.batch_execute("COMMIT").await?;
    assert!(begin.elapsed() >= Duration::from_millis(200), "{:?}", begin.elapsed());
    Ok(())
}

#[tokio::test]
async fn raising_waits_for_every_commit_that_may_have_read_the_old_wait() -> Result<()> {
    let app = App::installed().await?;
    // Such a commit holds the mark; this one takes its time.
    let holder = app.connect().await?;
    holder
        .batch_execute("BEGIN; SELECT pg_advisory_xact_lock_shared(lock_class, 0) FROM neverstale.installation")
        .await?;
    let watcher = app.connect().await?;
    let release = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let meanwhile = column(&watcher, NUMBERS).await?;
        holder.batch_execute("COMMIT").await?;
        anyhow::Ok(meanwhile)
    };
    let begin = Instant::now();
    let (raised, meanwhile) = tokio::join!(set_lease(&app.owner, 30), release);
    raised?;
    assert!(begin.elapsed() >= Duration::from_millis(700));
    assert_eq!(meanwhile?, ["0 30"], "the wait is raised first");
    assert_eq!(column(&app.owner, NUMBERS).await?, ["30 30"]);
    Ok(())
}

#[tokio::test]
async fn lowering_waits_the_old_lease_out_before_commits_get_faster() -> Result<()> {
    let app = App::installed().await?;
    set_lease(&app.owner, 600).await?;
    let watcher = app.connect().await?;
    let look = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        column(&watcher, NUMBERS).await
    };
    let begin = Instant::now();
    let (lowered, meanwhile) = tokio::join!(set_lease(&app.owner, 0), look);
    lowered?;
    assert!(begin.elapsed() >= Duration::from_millis(600));
    assert_eq!(meanwhile?, ["0 600"], "the lease is lowered first");
    assert_eq!(column(&app.owner, NUMBERS).await?, ["0 0"]);
    Ok(())
}

#[tokio::test]
async fn of_two_who_change_the_lease_at_once_one_is_told_so() -> Result<()> {
    let app = App::installed().await?;
    set_lease(&app.owner, 400).await?;
    let other = app.connect().await?;
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        set_lease(&other, 40).await
    };
    let (first, second) = tokio::join!(set_lease(&app.owner, 20), later);
    assert!(matches!(first, Err(InstallationError::ChangedMeanwhile)), "{first:?}");
    second?;
    let numbers = column(&app.owner, NUMBERS).await?;
    assert_eq!(numbers, ["40 40"]);
    Ok(())
}

#[tokio::test]
async fn a_lease_beyond_the_bound_is_refused() -> Result<()> {
    let app = App::installed().await?;
    assert!(matches!(
        set_lease(&app.owner, 60_000).await,
        Err(InstallationError::LeaseTooLong { .. })
    ));
    Ok(())
}
