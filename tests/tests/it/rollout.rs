//! A rolling restart in the order of a cluster: each replica in turn leaves the service, ends, and comes back, under load.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{Application, Client, Sidecar};
use tokio::{sync::RwLock, task::JoinSet, time::sleep};

use crate::house::{Plan, role};

const REPLICAS: usize = 3;
const READERS: usize = 4;
const USER: &str = "u2";

/// What the readers know: where the replicas in service listen, and which roles may be shown.
struct Service {
    /// A place is empty while its replica is out of service, which begins when no call to it is under way any more.
    replicas: Vec<RwLock<Option<u16>>>,
    /// The role that was being set last.
    begun: AtomicU64,
    /// The role whose setting was acknowledged last.
    acknowledged: AtomicU64,
    is_over: AtomicBool,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_read_and_shows_none_old() {
    let mut house = Plan::of(Application::OpenWebUi012)
        .sidecars(REPLICAS)
        .with_redis()
        .open()
        .await
        .unwrap();
    let service = Arc::new(Service {
        replicas: house
            .sidecars
            .iter()
            .map(|one| RwLock::new(Some(one.api_port())))
            .collect(),
        acknowledged: AtomicU64::new(0),
        begun: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    house.set_role(USER, &role_of(0)).await.unwrap();
    let writer = house.database.connect().await.unwrap();
    let mut at_work = JoinSet::new();
    at_work.spawn(write(writer, Arc::clone(&service)));
    for place in 0..READERS {
        at_work.spawn(read(place, Arc::clone(&service)));
    }
    for place in 0..REPLICAS {
        sleep(Duration::from_millis(300)).await;
        // As a cluster does: no new calls to it, then the signal, then its successor, and calls again when that is ready.
        *service.replicas[place].write().await = None;
        assert_eq!(house.sidecars[place].terminate().await.unwrap(), 0);
        house.sidecars[place] = Sidecar::start(&house.options).await.unwrap();
        *service.replicas[place].write().await = Some(house.sidecars[place].api_port());
    }
    sleep(Duration::from_millis(300)).await;
    service.is_over.store(true, Ordering::SeqCst);
    let done: Vec<u64> = at_work.join_all().await.into_iter().collect::<Result<_>>().unwrap();
    assert!(done.iter().all(|count| *count > 10), "writes and reads: {done:?}");
}

fn role_of(number: u64) -> String {
    format!("role {number}")
}

/// Changes the role until it is over, and gives how often.
async fn write(writer: tokio_postgres::Client, service: Arc<Service>) -> Result<u64> {
    let mut number = 0;
    while !service.is_over.load(Ordering::SeqCst) {
        number += 1;
        service.begun.store(number, Ordering::SeqCst);
        let sql = "UPDATE \"user\" SET role = $1 WHERE id = $2";
        writer.execute(sql, &[&role_of(number), &USER]).await?;
        service.acknowledged.store(number, Ordering::SeqCst);
    }
    Ok(number)
}

/// Reads the role from one replica in service after the other until it is over, and gives how often.
async fn read(reader: usize, service: Arc<Service>) -> Result<u64> {
    let mut clients = HashMap::new();
    let mut reads = 0;
    while !service.is_over.load(Ordering::SeqCst) {
        let place = (reader + reads as usize) % REPLICAS;
        reads += 1;
        let replica = service.replicas[place].read().await;
        let Some(port) = *replica else {
            continue;
        };
        let client = clients.entry(port).or_insert_with(|| Client::port(port));
        let least = service.acknowledged.load(Ordering::SeqCst);
        let answer = client
            .get(&format!("/v1/users/{USER}/role"))
            .await
            .context("a failed read")?;
        let most = service.begun.load(Ordering::SeqCst);
        let shown = role(&answer)?;
        ensure!(
            (least..=most).any(|number| role_of(number) == shown),
            "{shown} is not one of {least} to {most}"
        );
    }
    Ok(reads)
}
