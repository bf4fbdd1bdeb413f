//! What a sidecar takes when nobody uses it, what an entry takes, how soon it is ready, and how large its file is.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{Database, Scratch, Sidecar, SidecarOptions, free_port};

use crate::{
    connection::{Connection, request},
    house::{House, process},
    report::{Limit, Section},
    series::{Series, Unit},
};

const MIB: f64 = 1024.0 * 1024.0;
/// After this time a sidecar that nobody uses has settled.
const IDLE: Duration = Duration::from_secs(2);

pub(super) async fn measure(house: &House) -> Result<Section> {
    let entries = house.pick(40_000, 15_000);
    let database = house.database(entries, 50).await?;
    let options = house.with_redis(&database);
    let mut section = Section::new("Footprint");

    let ready = ready_times(house, &options).await?;
    let mut file_backed = Series::default();
    let (mut idle, mut memory, mut weighed) = (Series::default(), Series::default(), Series::default());
    for _ in 0..house.pick(3, 1) {
        let sidecar = house.sidecar(&options).await?;
        tokio::time::sleep(IDLE).await;
        idle.push(resident_bytes(process(&sidecar))?);
        file_backed.push(memory_bytes(process(&sidecar), "RssFile:")?);
        let (each, counted) = entry_bytes(house, &database, entries).await?;
        memory.push(each);
        weighed.push(counted);
    }
    let size = Series::one(stripped_bytes(&house.binary)?);

    section.note(format!(
        "Ready: from starting the program to 200 on `/readyz`, asked every millisecond, with both stores up and the schema to be detected. \
         Idle: resident\nmemory {} s after that. An entry: growth of resident memory while {entries} users are read once, without L2, key and \
         tags included, a\nbody of some 130 bytes; beside it, what the sidecar's own books say.",
        IDLE.as_secs(),
    ));
    section.numbers(&[
        ("exec to ready", ready.show(Unit::Seconds)),
        ("idle resident memory", idle.show(Unit::Bytes)),
        (
            "of which pages of the program's own file and libraries",
            file_backed.show(Unit::Bytes),
        ),
        ("memory per L1 entry", memory.show(Unit::Bytes)),
        ("memory per L1 entry, as weighed", weighed.show(Unit::Bytes)),
        ("release binary, stripped", size.show(Unit::Bytes)),
    ]);
    section.goal("exec to ready", Unit::Seconds, &ready, Limit::AtMost(0.150));
    section.goal("idle resident memory", Unit::Bytes, &idle, Limit::AtMost(20.0 * MIB));
    section.goal(
        "release binary, stripped",
        Unit::Bytes,
        &size,
        Limit::AtMost(15.0 * MIB),
    );
    Ok(section)
}

/// A process that is killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

async fn ready_times(house: &House, options: &SidecarOptions) -> Result<Series> {
    let mut series = Series::default();
    for _ in 0..house.pick(15, 5) {
        let home = Scratch::new()?;
        let (api, admin) = (free_port()?, free_port()?);
        let mut command = Command::new(&house.binary);
        command.args([
            "serve",
            "--api-listen",
            &format!("127.0.0.1:{api}"),
            "--admin-listen",
            &format!("127.0.0.1:{admin}"),
        ]);
        command
            .env_clear()
            .env("DATABASE_URL", &options.database_url)
            .current_dir(home.path());
        command.envs(options.redis_url.iter().map(|url| ("REDIS_URL", url)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let since = Instant::now();
        let mut child = Killed(command.spawn().context("start a sidecar")?);
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, admin);
        while !is_ready(address).await {
            ensure!(child.0.try_wait()?.is_none(), "the sidecar ended before it was ready");
            ensure!(
                since.elapsed() < Duration::from_secs(20),
                "the sidecar does not become ready"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        series.push(since.elapsed().as_secs_f64());
    }
    Ok(series)
}

async fn is_ready(admin: SocketAddrV4) -> bool {
    let Ok(mut connection) = Connection::open(admin.port()).await else {
        return false;
    };
    connection.ask(&request("/readyz", "")).await.is_ok()
}

/// What an entry takes by the growth of the process, and by the sidecar's own books.
async fn entry_bytes(house: &House, database: &Database, entries: u32) -> Result<(f64, f64)> {
    let sidecar = house
        .sidecar(&House::alone(database).with("NEVERSTALE_CACHE__L1__BYTES_MAX", 256 << 20))
        .await?;
    // Connections, statements and buffers are there before the first entry is counted.
    let warm = 500;
    read_users(&sidecar, 1..=warm).await?;
    let before = resident_bytes(process(&sidecar))?;
    read_users(&sidecar, warm + 1..=entries).await?;
    let after = resident_bytes(process(&sidecar))?;
    let books = Instant::now() + Duration::from_secs(15);
    // Its books are settled now and then.
    let (counted, bytes) = loop {
        let seen = (
            sidecar.metric("neverstale_l1_entries").await?,
            sidecar.metric("neverstale_l1_bytes").await?,
        );
        if seen.0 >= f64::from(entries) || Instant::now() > books {
            break seen;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    ensure!(
        counted > 0.99 * f64::from(entries),
        "only {counted} of {entries} entries are in L1"
    );
    Ok(((after - before) / f64::from(entries - warm), bytes / counted))
}

/// Reads users over a few connections at once.
async fn read_users(sidecar: &Sidecar, users: std::ops::RangeInclusive<u32>) -> Result<()> {
    let (first, last, step) = (*users.start(), *users.end(), 4);
    let mut reading = Vec::new();
    for offset in 0..step {
        let mut connection = Connection::open(sidecar.api_port()).await?;
        reading.push(tokio::spawn(async move {
            for number in (first + offset..=last).step_by(step as usize) {
                connection.ask(&request(&format!("/v1/users/u{number}"), "")).await?;
            }
            anyhow::Ok(())
        }));
    }
    for reading in reading {
        reading.await??;
    }
    Ok(())
}

fn resident_bytes(process: u32) -> Result<f64> {
    memory_bytes(process, "VmRSS:")
}

fn memory_bytes(process: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("read a process's memory")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .context("find a process's memory")?;
    let kibibytes: f64 = line
        .trim()
        .split(' ')
        .next()
        .unwrap_or_default()
        .parse()
        .context("read a process's memory")?;
    Ok(kibibytes * 1024.0)
}

/// The size of a copy without symbols; of the file itself where there is no `strip`.
fn stripped_bytes(binary: &Path) -> Result<f64> {
    let home = Scratch::new()?;
    let copy = home.path().join("stripped");
    let is_stripped = Command::new("strip")
        .arg("-o")
        .arg(&copy)
        .arg(binary)
        .status()
        .is_ok_and(|status| status.success());
    let measured = if is_stripped { &copy } else { binary };
    Ok(fs::metadata(measured).context("look at the binary")?.len() as f64)
}
