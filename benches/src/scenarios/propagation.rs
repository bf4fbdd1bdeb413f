//! From a commit to its being known and visible on another sidecar, with and without Redis, against LISTEN/NOTIFY alone.
//!
//! Time runs from the moment the COMMIT is sent. All leases are 0, so no commit waits, and writers do not wait for the disk:
//! what is left is the word's way.

use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{Database, EventLines, Sidecar};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::{
    connection::{Connection, request},
    house::House,
    report::{Section, Table},
    series::{Series, Unit},
};

const CHANNEL: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(10);
/// Two commits are so far apart that the first one's work is over.
const PAUSE: Duration = Duration::from_millis(3);

/// A sidecar that did not relay the word itself, and a writer to its database.
struct Follower {
    writer: Client,
    /// The relay, which is another sidecar.
    _relay: Sidecar,
    sidecar: Sidecar,
    _database: Database,
    toggle: Toggle,
}

/// Changes one user's role with every commit.
#[derive(Default)]
struct Toggle(u32);

impl Toggle {
    fn next(&mut self) -> String {
        self.0 += 1;
        format!("role-{}", self.0)
    }
}

pub(super) async fn measure(house: &House) -> Result<Section> {
    let bare = house.bare_database(60).await?;
    let (mut notifications, listener_writer) = (listen(&bare).await?, writer(&bare).await?);
    let mut alone = follower(house, false).await?;
    let mut with_redis = follower(house, true).await?;

    let count = house.pick(60, 30);
    let mut series: [Series; 5] = Default::default();
    let mut toggle = Toggle::default();
    for _ in 0..house.pick(9, 3) {
        let mut told = Series::default();
        for _ in 0..count {
            told.push(notified(&listener_writer, &mut notifications, &mut toggle).await?);
            tokio::time::sleep(PAUSE).await;
        }
        series[0].push(told.median());
        for (at, follower) in [(1, &mut alone), (3, &mut with_redis)] {
            let mut events = follower.sidecar.api_by_socket().events("/v1/events", &[]).await?;
            let mut connection = Connection::open(follower.sidecar.api_port()).await?;
            let (mut told, mut seen) = (Series::default(), Series::default());
            for _ in 0..count {
                let [event, value] = seen_after_event(follower, &mut events, &mut connection).await?;
                told.push(event);
                seen.push(value);
                tokio::time::sleep(PAUSE).await;
            }
            series[at].push(told.median());
            series[at + 1].push(seen.median());
        }
    }
    let [listen, told, seen, told_by_redis, seen_by_redis] = series;
    let mut section = Section::new("From a commit to another sidecar");
    section.note(format!(
        "From sending COMMIT (lease 0, `synchronous_commit = off`) to the news on another sidecar that is not the relay: the \
         `invalidation` on\n`GET /v1/events`, and the answer with the new value of a `minimize-latency` read that follows it, fill \
         included. The yardstick is a\nbare `NOTIFY` in the same transaction without triggers, heard by a bare `LISTEN`. Fully \
         consistent reads wait for none of this: they see\na commit at once. Medians of {count} commits a round, {} rounds.",
        listen.rounds(),
    ));
    let table = Table::new("commit to news", Unit::Seconds, "LISTEN/NOTIFY alone", &listen)
        .line("event, every sidecar listens to Postgres", &told)
        .line("new value read, every sidecar listens to Postgres", &seen)
        .line("event, relay and Redis broadcast", &told_by_redis)
        .line("new value read, relay and Redis broadcast", &seen_by_redis);
    section.table(table);
    Ok(section)
}

async fn writer(database: &Database) -> Result<Client> {
    let client = database.connect().await?;
    client.batch_execute("SET synchronous_commit = off").await?;
    Ok(client)
}

async fn follower(house: &House, has_redis: bool) -> Result<Follower> {
    let database = house.database(60, 0).await?;
    let options = if has_redis {
        house.with_broadcasts(&database)
    } else {
        House::alone(&database)
    };
    let relay = house.sidecar(&options).await?;
    let deadline = Instant::now() + PATIENCE;
    while relay.metric("neverstale_relay").await? < 1.0 {
        ensure!(Instant::now() < deadline, "the first sidecar does not become the relay");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sidecar = house.sidecar(&options).await?;
    Ok(Follower {
        writer: writer(&database).await?,
        _relay: relay,
        sidecar,
        _database: database,
        toggle: Toggle::default(),
    })
}

/// Hears the notifications of a connection that does nothing else.
async fn listen(database: &Database) -> Result<mpsc::Receiver<()>> {
    let (client, mut connection) = tokio_postgres::connect(database.url(), NoTls).await?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if matches!(message, AsyncMessage::Notification(_)) && sender.send(()).await.is_err() {
                break;
            }
        }
    });
    client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
    // The connection lives as long as its client.
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(client);
    });
    Ok(receiver)
}

/// Writes a new role and commits it; gives the moment at which COMMIT was sent.
async fn commit(writer: &Client, role: &str, more: &str) -> Result<Instant> {
    writer
        .batch_execute(&format!(
            r#"BEGIN; UPDATE "user" SET role = '{role}' WHERE id = 'u7'; {more}"#
        ))
        .await?;
    let sent = Instant::now();
    writer.batch_execute("COMMIT").await?;
    Ok(sent)
}

async fn notified(writer: &Client, notifications: &mut mpsc::Receiver<()>, toggle: &mut Toggle) -> Result<f64> {
    let heard = async {
        notifications.recv().await.context("hear a notification")?;
        anyhow::Ok(Instant::now())
    };
    let role = toggle.next();
    let (sent, heard) = tokio::try_join!(commit(writer, &role, "NOTIFY bench, '1'"), heard)?;
    Ok((heard - sent).as_secs_f64())
}

/// The time until a read that follows the event has the new value, too.
async fn seen_after_event(
    follower: &mut Follower,
    events: &mut EventLines,
    connection: &mut Connection,
) -> Result<[f64; 2]> {
    let role = follower.toggle.next();
    let request = request("/v1/users/u7", "Neverstale-Consistency: minimize-latency\r\n");
    let seen = async {
        next_invalidation(events).await?;
        let told = Instant::now();
        let body = connection.ask(&request).await?;
        ensure!(
            body.windows(role.len()).any(|text| text == role.as_bytes()),
            "a read after the event shows the old value"
        );
        anyhow::Ok((told, Instant::now()))
    };
    let (sent, (told, seen)) = tokio::try_join!(commit(&follower.writer, &role, ""), seen)?;
    Ok([(told - sent).as_secs_f64(), (seen - sent).as_secs_f64()])
}

async fn next_invalidation(events: &mut EventLines) -> Result<()> {
    loop {
        let line = events.next().await?.context("follow the events")?;
        if line.trim() == "event: invalidation" {
            return Ok(());
        }
    }
}
