//! A right that ends by plain SQL ends at once: the first request sent after the commit is refused, at each of three doors, while
//! clients hammer them and what carries the news fails.

use std::{
    env, fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use neverstale_testkit::{Application, Client, api_key};

use super::{Doors, actors::actors};
use crate::house::until;

/// How often: `NEVERSTALE_DOOR_TRIES` says otherwise.
const TRIES: usize = 200;
/// Every so many tries there is a fault. It shares no factor with the rights, the doors and the faults, so that each meets each.
const FAULT_EVERY: usize = 7;

/// What goes wrong while a right ends.
#[derive(Clone, Copy)]
enum Fault {
    /// All of the sidecars' connections to Postgres are cut, right after the commit.
    Cut,
    /// The sidecar that is asked first sleeps through the commit, and knows nothing of it when it wakes.
    Asleep,
}

/// What came of the tries of one right.
#[derive(Default)]
struct Tally {
    tries: usize,
    cut: usize,
    asleep: usize,
    refused: usize,
    /// While something was wrong: who can't know does not let anybody in.
    undecided: usize,
    /// While nothing was wrong but the machine, which was busy for longer than a decision waits.
    late: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tries,
            cut,
            asleep,
            refused,
            undecided,
            late,
        } = self;
        write!(
            formatter,
            "{tries} tries at three doors, {cut} with connections cut, {asleep} with a door asleep: {refused} refused, \
             {undecided} undecided, {late} undecided without a fault, none let in"
        )
    }
}

/// A right, how it ends, and how it begins again.
struct Right {
    name: &'static str,
    ends: &'static str,
    begins: &'static str,
    by_key: bool,
    path: &'static str,
    body: &'static str,
}

const RIGHTS: [Right; 5] = [
    Right {
        name: "a grant of a function",
        ends: "UPDATE neverstale.access_overlay SET access_control = '{}' WHERE resource_id = 'fa'",
        begins: "UPDATE neverstale.access_overlay SET access_control = '{\"read\": {\"group_ids\": [\"team-a\"]}}' WHERE resource_id = 'fa'",
        by_key: false,
        path: "/api/chat/actions/fa",
        body: r#"{"model": "ma"}"#,
    },
    Right {
        name: "a grant of a model",
        ends: "DELETE FROM access_grant WHERE id = 'model-a'",
        begins: "INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at)
                 VALUES ('model-a', 'model', 'ma', 'group', 'team-a', 'read', 1)",
        by_key: false,
        path: "/api/chat/completions",
        body: r#"{"model": "ma", "messages": []}"#,
    },
    Right {
        name: "a membership",
        ends: "DELETE FROM group_member WHERE group_id = 'team-a'",
        begins: "INSERT INTO group_member (id, group_id, user_id, created_at, updated_at) VALUES ('team-a', 'team-a', 'u4', 1, 1)",
        by_key: false,
        path: "/api/chat/completions",
        body: r#"{"model": "ma", "messages": []}"#,
    },
    Right {
        name: "a role",
        ends: "UPDATE \"user\" SET role = 'pending' WHERE id = 'u4'",
        begins: "UPDATE \"user\" SET role = 'user' WHERE id = 'u4'",
        by_key: false,
        path: "/api/chat/completions",
        body: r#"{"model": "ma", "messages": []}"#,
    },
    Right {
        name: "an API key",
        ends: "UPDATE api_key SET key = 'sk-gone' WHERE user_id = 'u4'",
        begins: "UPDATE api_key SET key = 'sk-00000000000000000000000000000004' WHERE user_id = 'u4'",
        by_key: true,
        path: "/api/chat/completions",
        body: r#"{"model": "ma", "messages": []}"#,
    },
];

async fn status(client: &mut Client, credential: &str, right: &Right) -> Result<u16> {
    let headers = [("Authorization", credential), ("Content-Type", "application/json")];
    Ok(client
        .send("POST", right.path, &headers, right.body.as_bytes())
        .await?
        .status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_after_a_right_has_ended_is_refused_at_every_door() {
    let tries = env::var("NEVERSTALE_DOOR_TRIES").map_or(TRIES, |tries| tries.parse().unwrap());
    let doors = Arc::new(Doors::open(Application::OpenWebUi012, 3, &[]).await.unwrap());
    doors.upstream.will_answer("{}", false);
    let actors = actors(Application::OpenWebUi012);
    let member = actors.iter().find(|actor| actor.user == Some("u4")).unwrap();
    let session = member.header.clone().unwrap();
    let key = format!("Bearer {}", api_key(4));

    let (done, hammered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let hammers: Vec<_> = (0..3)
        .map(|door| {
            let (doors, done, hammered) = (Arc::clone(&doors), Arc::clone(&done), Arc::clone(&hammered));
            let credentials = [session.clone(), key.clone()];
            tokio::spawn(async move {
                let mut client = doors.client(door);
                while !done.load(Relaxed) {
                    for right in &RIGHTS {
                        // What it gets is not judged: nobody knows whether it was sent before the commit or after.
                        let credential = &credentials[usize::from(right.by_key)];
                        let _ = status(&mut client, credential, right).await;
                        hammered.fetch_add(1, Relaxed);
                    }
                    doors.upstream.take_reached();
                }
            })
        })
        .collect();

    let mut clients = [doors.client(0), doors.client(1), doors.client(2)];
    let tried = hunt(&doors, &mut clients, [&session, &key], tries).await;
    done.store(true, Relaxed);
    for hammer in hammers {
        hammer.await.unwrap();
    }
    let tallies = tried.unwrap();
    for (right, tally) in RIGHTS.iter().zip(&tallies) {
        println!("{}: {tally}", right.name);
        assert!(tally.cut > 0 && tally.asleep > 0, "{tally}");
        assert!(
            tally.refused > tally.undecided && tally.late * 20 <= tally.tries,
            "{tally}"
        );
    }
    assert!(hammered.load(Relaxed) > tries as u64, "nobody hammered");
}

async fn hunt(
    doors: &Doors,
    clients: &mut [Client; 3],
    credentials: [&str; 2],
    tries: usize,
) -> Result<[Tally; RIGHTS.len()]> {
    let mut tallies: [Tally; RIGHTS.len()] = Default::default();
    for number in 0..tries {
        let (right, tally) = (&RIGHTS[number % RIGHTS.len()], &mut tallies[number % RIGHTS.len()]);
        let credential = credentials[usize::from(right.by_key)];
        let first = number / RIGHTS.len() % 3;
        for client in clients.iter_mut() {
            until("the right is there", Duration::from_secs(30), async || {
                Ok(status(client, credential, right).await? == 200)
            })
            .await
            .with_context(|| format!("try {number}, {}", right.name))?;
        }
        let fault = (number % FAULT_EVERY == FAULT_EVERY - 1).then_some(match number / FAULT_EVERY % 2 {
            0 => Fault::Cut,
            _ => Fault::Asleep,
        });
        end(doors, right, first, fault).await?;
        tally.tries += 1;
        match fault {
            Some(Fault::Cut) => tally.cut += 1,
            Some(Fault::Asleep) => tally.asleep += 1,
            None => {}
        }
        for door in [first, (first + 1) % 3, (first + 2) % 3] {
            match status(&mut clients[door], credential, right).await {
                Ok(401 | 403) => tally.refused += 1,
                Ok(503 | 504) if fault.is_some() => tally.undecided += 1,
                Ok(503 | 504) => tally.late += 1,
                got => bail!(
                    "try {number}: {} had ended, and door {door} answered {got:?}",
                    right.name
                ),
            }
        }
        doors.house.write(right.begins).await?;
    }
    Ok(tallies)
}

/// Ends a right, and what goes wrong with it.
async fn end(doors: &Doors, right: &Right, first: usize, fault: Option<Fault>) -> Result<()> {
    let sidecar = &doors.house.sidecars[first];
    match fault {
        None => doors.house.write(right.ends).await,
        Some(Fault::Cut) => {
            doors.house.write(right.ends).await?;
            let others = "datname = current_database() AND pid <> pg_backend_pid()";
            let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}");
            doors.house.write(&cut).await
        }
        Some(Fault::Asleep) => {
            sidecar.pause()?;
            let ended = doors.house.write(right.ends).await;
            sidecar.resume()?;
            ended
        }
    }
}
