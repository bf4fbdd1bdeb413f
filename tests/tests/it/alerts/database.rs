//! Three databases of one server, each with a pod: somebody writes into the first without end, the triggers of the second are off, and a table of
//! the third is locked.

use std::time::Duration;

use anyhow::Result;
use neverstale_testkit::{Application, Client, Population, Sidecar};
use tokio::{task::JoinSet, time::sleep};

use super::{
    traffic::Traffic,
    watch::{Watch, of},
};
use crate::house::{House, Plan};

pub(super) const SHOWN: &[&str] = &[
    "NeverstaleFillsFailing",
    "NeverstaleLeasesRefused",
    "NeverstaleNotCached",
    "NeverstaleReadsRefused",
];

/// So many users in one transaction are too many tags for a lease to except (64).
const AT_ONCE: u32 = 70;
const BULK_WRITERS: u32 = 3;

/// A sidecar of a database of its own, in which each bulk writer has users to itself.
async fn open() -> Result<House> {
    let population = Population {
        users: AT_ONCE * (BULK_WRITERS + 1),
        ..Population::default()
    };
    let plan = Plan::of(Application::OpenWebUi012).sidecars(1);
    plan.population(population).open().await
}

/// Touches so many users in each transaction that nothing is left that a lease could cover, and does so without end.
async fn write_in_bulk(house: &House) -> Result<JoinSet<Result<()>>> {
    let mut writers = JoinSet::new();
    for writer in 0..BULK_WRITERS {
        let client = house.database.connect().await?;
        let (after, up_to) = (AT_ONCE * (writer + 1), AT_ONCE * (writer + 2));
        writers.spawn(async move {
            for number in 0_u32.. {
                let sql = format!(
                    "UPDATE \"user\" SET name = 'bulk {number}' WHERE substr(id, 2)::int > {after} AND substr(id, 2)::int <= {up_to}"
                );
                client.batch_execute(&sql).await?;
            }
            Ok(())
        });
    }
    Ok(writers)
}

/// Asks for what nobody has asked for yet and what lies in the table that is locked.
async fn ask_for_groups(mut client: Client) {
    for number in 0_u32.. {
        let path = format!("/v1/users/nobody-{number}/groups");
        client.get_with(&path, &[("Neverstale-Timeout-Ms", "50")]).await.ok();
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_without_end_triggers_that_are_off_and_a_table_that_is_locked() {
    let (bulk, unwatched, locked) = tokio::try_join!(open(), open(), open()).unwrap();
    let houses = [&bulk, &unwatched, &locked];
    let _traffic = houses.map(Traffic::of);
    let sidecars: Vec<&Sidecar> = houses.iter().flat_map(|house| &house.sidecars).collect();
    let mut watch = Watch::over(sidecars).await.unwrap();

    let _writers = write_in_bulk(&bulk).await.unwrap();
    unwatched
        .write("ALTER TABLE \"user\" DISABLE TRIGGER ALL")
        .await
        .unwrap();
    // As a migration does that never ends.
    let migration = locked.database.connect().await.unwrap();
    migration
        .batch_execute("BEGIN; LOCK TABLE \"group\" IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let mut asking = JoinSet::new();
    asking.spawn(ask_for_groups(locked.sidecars[0].api()));
    let alerts = [
        of("NeverstaleLeasesRefused", 0),
        of("NeverstaleNotCached", 1),
        of("NeverstaleFillsFailing", 2),
        of("NeverstaleReadsRefused", 2),
    ];
    watch.sees(&alerts, &[]).await.unwrap();
    watch.has_shown(SHOWN);
}
