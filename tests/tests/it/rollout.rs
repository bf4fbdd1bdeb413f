//! Rolling restarts, upgrades and rollbacks in the order of a cluster: the installation first, then each replica in turn leaves the service,
//! ends, and its successor comes, under load.
//!
//! The release before this one is the binary that `NEVERSTALE_PREVIOUS_BIN` names; `cargo xtask rollout` builds it from the last tag or from
//! any revision, `cargo xtask test` from the last tag. Without one, the other release is this binary with another flavour: it watches
//! something else, so that the installation changes and the incarnation with it, and its view gives other bytes, so that a value of one
//! that the other took from Redis would show.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{
    Application, Client, Scratch, Sidecar, SidecarOptions, neverstale, run, run_binary, workspace,
};
use serde_json::Value;
use tokio::{sync::RwLock, task::JoinSet, time::sleep};

use crate::house::{House, Plan, role};

const REPLICAS: usize = 3;
const READERS: usize = 4;
const USER: &str = "u2";

/// What the readers know: where the replicas in service listen, and which roles may be shown.
struct Service {
    /// A place is empty while its replica is out of service, which begins when no call to it is under way any more.
    replicas: Vec<RwLock<Option<Replica>>>,
    /// The role that was being set last.
    begun: AtomicU64,
    /// The role whose setting was acknowledged last.
    acknowledged: AtomicU64,
    is_over: AtomicBool,
}

#[derive(Debug, Clone)]
struct Replica {
    port: u16,
    /// What its answers say of their release, where that can be seen.
    mark: Option<Value>,
}

/// What a release is made of.
struct Release {
    binary: PathBuf,
    /// The flavour, where it is not the one that is recognised.
    schema: Option<PathBuf>,
    mark: Option<Value>,
    /// Holds the flavour's file.
    _home: Option<Scratch>,
}

impl Release {
    fn this() -> Result<Self> {
        Ok(Self {
            binary: neverstale()?,
            schema: None,
            mark: Some(Value::Null),
            _home: None,
        })
    }

    /// The release before this one, or one that differs from it in what matters.
    fn previous() -> Result<Self> {
        if let Some(binary) = std::env::var_os("NEVERSTALE_PREVIOUS_BIN") {
            return Ok(Self {
                binary: binary.into(),
                mark: None,
                ..Self::this()?
            });
        }
        let text = std::fs::read_to_string(workspace().join("flavours/openwebui-0.12.toml"))?;
        let mut other = text.clone();
        for (what, instead) in [
            ("\"role\", \"username\",", "\"role\", \"last_active_at\", \"username\","),
            ("'super_admin', (u.role", "'release', 'other', 'super_admin', (u.role"),
        ] {
            ensure!(other.contains(what), "the flavour has no {what} any more");
            other = other.replacen(what, instead, 1);
        }
        let home = Scratch::new()?;
        let schema = home.path().join("other.toml");
        std::fs::write(&schema, other)?;
        Ok(Self {
            binary: neverstale()?,
            schema: Some(schema),
            mark: Some(Value::from("other")),
            _home: Some(home),
        })
    }

    fn schema(&self) -> Option<(&'static str, String)> {
        let schema = self.schema.as_ref()?;
        Some(("NEVERSTALE_DATABASE__SCHEMA", schema.display().to_string()))
    }

    /// Runs a command of the release: `install` is what the hook before an upgrade does.
    async fn run(&self, command: &str, house: &House) -> Result<()> {
        let schema = self.schema();
        let mut environment = vec![("DATABASE_URL", house.database.url())];
        environment.extend(schema.iter().map(|(name, value)| (*name, value.as_str())));
        run_binary(&self.binary, &[command], &environment).await.map(drop)
    }

    async fn start(&self, options: &SidecarOptions) -> Result<Sidecar> {
        let mut options = options.clone();
        options
            .environment
            .extend(self.schema().map(|(name, value)| (name.to_owned(), value)));
        Sidecar::start_binary(&self.binary, &options).await
    }

    fn replica(&self, sidecar: &Sidecar) -> Replica {
        Replica {
            port: sidecar.api_port(),
            mark: self.mark.clone(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_read_and_shows_none_old() {
    roll(&Release::this().unwrap(), &Release::this().unwrap(), Way::Installed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_fails_no_read_and_shows_none_old() {
    roll(&Release::previous().unwrap(), &Release::this().unwrap(), Way::Installed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_fails_no_read_and_shows_none_old() {
    roll(&Release::this().unwrap(), &Release::previous().unwrap(), Way::Installed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_while_suspended_fails_no_read_and_shows_none_old() {
    roll(&Release::previous().unwrap(), &Release::this().unwrap(), Way::Suspended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_while_suspended_fails_no_read_and_shows_none_old() {
    roll(&Release::this().unwrap(), &Release::previous().unwrap(), Way::Suspended).await;
}

/// How the installation gets from one release to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The new one installs over the old one.
    Installed,
    /// The old one suspends, and the new one resumes: meanwhile nothing is cached, so that neither has to understand what the other left.
    Suspended,
}

/// Replaces all replicas of one release by those of another, while everybody reads and somebody writes.
async fn roll(from: &Release, to: &Release, way: Way) {
    let mut house = Plan::of(Application::OpenWebUi012)
        .sidecars(0)
        .with_redis()
        .open()
        .await
        .unwrap();
    // From nothing, so that what stands there is what this release makes.
    run(&["uninstall"], &[("DATABASE_URL", house.database.url())])
        .await
        .unwrap();
    from.run("install", &house).await.unwrap();
    for _ in 0..REPLICAS {
        house.sidecars.push(from.start(&house.options).await.unwrap());
    }
    let service = Arc::new(Service {
        replicas: house
            .sidecars
            .iter()
            .map(|one| RwLock::new(Some(from.replica(one))))
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
    sleep(Duration::from_millis(300)).await;
    if way == Way::Suspended {
        from.run("suspend", &house).await.unwrap();
        to.run("resume", &house).await.unwrap();
    } else {
        to.run("install", &house).await.unwrap();
    }
    for place in 0..REPLICAS {
        sleep(Duration::from_millis(300)).await;
        // As a cluster does: no new calls to it, then the signal, then its successor, and calls again when that is ready.
        *service.replicas[place].write().await = None;
        assert_eq!(house.sidecars[place].terminate().await.unwrap(), 0);
        house.sidecars[place] = to.start(&house.options).await.unwrap();
        *service.replicas[place].write().await = Some(to.replica(&house.sidecars[place]));
    }
    sleep(Duration::from_millis(300)).await;
    service.is_over.store(true, Ordering::SeqCst);
    let done: Vec<u64> = at_work.join_all().await.into_iter().collect::<Result<_>>().unwrap();
    assert!(done.iter().all(|count| *count > 10), "writes and reads: {done:?}");
    for sidecar in &house.sidecars {
        let bypass = sidecar.metric("neverstale_bypass").await.unwrap();
        assert!(bypass < 0.5, "none is left without its triggers");
    }
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
        let Some(Replica { port, mark }) = &*replica else {
            continue;
        };
        let client = clients.entry(*port).or_insert_with(|| Client::port(*port));
        let least = service.acknowledged.load(Ordering::SeqCst);
        let answer = client
            .get(&format!("/v1/users/{USER}/role"))
            .await
            .context("a failed read")?;
        let most = service.begun.load(Ordering::SeqCst);
        if let Some(mark) = mark {
            let body = answer.json()?;
            ensure!(body["release"] == *mark, "a value of the other release: {body}");
        }
        let shown = role(&answer)?;
        ensure!(
            (least..=most).any(|number| role_of(number) == shown),
            "{shown} is not one of {least} to {most}"
        );
    }
    Ok(reads)
}
