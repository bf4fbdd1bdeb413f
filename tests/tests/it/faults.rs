//! What breaks, breaks for real: processes are stopped and killed, stores restarted, connections cut. Reads stay right, and recover within two seconds
//! of the cause's end (the issue, point 6).

mod clocks;
mod failover;
mod poolers;
mod postgres;
mod sidecars;
mod silence;
mod stores;
mod writers;

use std::time::Duration;

use anyhow::{Result, ensure};
use neverstale_testkit::Sidecar;
use tokio::time::Instant;

use crate::house::{role, until};

/// What is promised (docs/CONSISTENCY.md, P22).
const RECOVERY: Duration = Duration::from_secs(2);
/// A debug build beside other tests is granted a little for being scheduled.
const LENIENCE: Duration = Duration::from_millis(700);

/// Waits until a sidecar answers a fully consistent read again, and checks that it took no longer than promised and shows what is true.
async fn recovered(sidecar: &Sidecar, user: &str, expected: &str, cause_ended: Instant) -> Result<()> {
    let path = format!("/v1/users/{user}/role");
    until("reads recover", Duration::from_secs(20), async || {
        let answer = sidecar
            .api()
            .with_timeout(Duration::from_secs(5))
            .get_with(&path, &[("Neverstale-Timeout-Ms", "500")])
            .await?;
        if answer.status == 200 {
            ensure!(
                role(&answer)? == expected,
                "an old value after the fault: {}",
                answer.text()
            );
        }
        Ok(answer.status == 200)
    })
    .await?;
    let took = cause_ended.elapsed();
    ensure!(
        took < RECOVERY + LENIENCE,
        "reads came back after {took:?}:\n{}",
        sidecar.log()
    );
    Ok(())
}
