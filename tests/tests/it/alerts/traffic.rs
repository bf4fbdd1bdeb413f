//! What goes on all the time: everybody reads, somebody writes, and callers come to the doors. A fault makes their requests fail, and they go on.

use std::time::Duration;

use neverstale_testkit::Client;
use tokio::{task::JoinSet, time::sleep};
use tokio_postgres::NoTls;

use crate::{house::House, question::session_token};

const READ_EVERY: Duration = Duration::from_millis(20);
const WRITE_EVERY: Duration = Duration::from_millis(150);
/// Nobody but a test's own fault touches the users after these.
pub(super) const USERS: u32 = 40;

/// All who read, write and call. They stop when it is dropped.
#[derive(Default)]
pub(super) struct Traffic(JoinSet<()>);

impl Traffic {
    /// Reads from every sidecar of a house, and writes into its database.
    pub(super) fn of(house: &House) -> Self {
        let mut traffic = Self::default();
        for sidecar in &house.sidecars {
            traffic.0.spawn(read(sidecar.api()));
        }
        traffic.0.spawn(write(house.database.url().to_owned()));
        traffic
    }

    /// Comes to a door as well.
    pub(super) fn through(mut self, door: u16) -> Self {
        self.0.spawn(call(Client::port(door)));
        self
    }
}

async fn read(mut client: Client) {
    for number in 0_u32.. {
        // Every third asks for what nobody has asked for yet, and takes a state that is a little old: it gets as far as fetching it.
        let (path, level) = if number % 3 == 0 {
            (format!("/v1/users/nobody-{number}"), "minimize-latency")
        } else {
            (format!("/v1/users/u{}/role", number % USERS + 1), "fully-consistent")
        };
        client.get_with(&path, &[("Neverstale-Consistency", level)]).await.ok();
        sleep(READ_EVERY).await;
    }
}

/// With a new connection whenever Postgres has closed the last.
async fn write(url: String) {
    for round in 0_u32.. {
        if let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await {
            tokio::select! {
                _ = connection => {}
                () = rename(&client, round) => {}
            }
        }
        sleep(WRITE_EVERY).await;
    }
}

async fn rename(client: &tokio_postgres::Client, round: u32) {
    let sql = "UPDATE \"user\" SET name = $1 WHERE id = $2";
    for number in 0.. {
        let (name, id) = (format!("{round}.{number}"), format!("u{}", number % USERS + 1));
        if client.execute(sql, &[&name, &id]).await.is_err() {
            return;
        }
        sleep(WRITE_EVERY).await;
    }
}

async fn call(mut client: Client) {
    let token = format!("Bearer {}", session_token("u2", "stamp-2", None));
    loop {
        for path in ["/api/v1/auths/", "/static/app.js"] {
            client.get_with(path, &[("Authorization", &token)]).await.ok();
            sleep(READ_EVERY).await;
        }
    }
}
