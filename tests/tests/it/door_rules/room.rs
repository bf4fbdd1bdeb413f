//! Bodies that are judged have a room in common; and a door that only observes lets pass what it can't judge.

use std::time::Duration;

use neverstale_testkit::{Answer, Application, Postgres, PostgresVersion};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Doors, actors::actors};
use crate::{contract::expect_problem, house::until};

const PATH: &str = "/api/chat/completions";
const KILOBYTE: usize = 1_024;
const SMALL: &str = r#"{"model": "ma", "messages": []}"#;

fn credential(name: &str) -> String {
    let actors = actors(Application::OpenWebUi012);
    let actor = actors.into_iter().find(|actor| actor.name == name).unwrap();
    actor.header.unwrap()
}

/// A chat of about so many kilobytes.
fn chat(kilobytes: usize) -> String {
    let content = "x".repeat(kilobytes * KILOBYTE);
    format!(r#"{{"model": "ma", "messages": [{{"role": "user", "content": "{content}"}}]}}"#)
}

async fn post(doors: &Doors, who: &str, body: &str) -> Answer {
    let credential = credential(who);
    let headers = [
        ("Authorization", credential.as_str()),
        ("Content-Type", "application/json"),
    ];
    let mut client = doors.client(0);
    client.send("POST", PATH, &headers, body.as_bytes()).await.unwrap()
}

/// How many bodies found no room.
async fn without_room(doors: &Doors) -> usize {
    let metrics = doors.house.sidecars[0].metrics().await.unwrap();
    let name = "neverstale_ingress_refusals_total{reason=\"room\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

/// Begins to send a chat, and holds back its last letter.
async fn begin(doors: &Doors, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", doors.ports[0])).await.unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        credential("admin A"),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body.as_bytes()[..body.len() - 1]).await.unwrap();
    stream
}

#[tokio::test]
async fn bodies_that_are_judged_share_a_room_and_who_finds_none_is_told() {
    let narrow = [
        ("JUDGED_BYTES_MAX", "49152"),
        ("JUDGED_BYTES_TOTAL_MAX", "65536"),
        ("DECISION_MS", "3000"),
    ];
    let doors = Doors::open_with(Application::OpenWebUi012, 1, &[], &narrow)
        .await
        .unwrap();
    doors.upstream.will_answer("{}", false);
    // The facts are known from here on, so that what follows waits for room alone.
    assert_eq!(post(&doors, "admin A", SMALL).await.status, 200);
    let chat = chat(40);
    // Beside the first there is hardly too little room for it: the two do not wait for each other halfway.
    let next = self::chat(25);
    let mut begun = begin(&doors, &chat).await;
    let mut answer = None;
    until("the first takes its room", Duration::from_secs(60), async || {
        // On a machine that is busy its own decision may come too late; then it is begun again.
        if begun.try_read(&mut [0; 1]).is_ok() {
            begun = begin(&doors, &chat).await;
        }
        let got = post(&doors, "admin A", &next).await;
        let is_refused = got.status == 503;
        answer = Some(got);
        Ok(is_refused)
    })
    .await
    .unwrap();
    let answer = answer.unwrap();
    expect_problem(&answer, 503, "unavailable").unwrap();
    assert_eq!(
        (answer.header("retry-after"), answer.header("connection")),
        (Some("1"), Some("close"))
    );
    assert!(without_room(&doors).await >= 1);
    // What is small still finds room; and the first, once it is whole, leaves its own to the next.
    assert_eq!(post(&doors, "admin A", SMALL).await.status, 200);
    begun.write_all(b"}").await.unwrap();
    let mut all = String::new();
    begun.read_to_string(&mut all).await.unwrap();
    assert!(all.starts_with("HTTP/1.1 200"), "{all}");
    assert_eq!(post(&doors, "admin A", &chat).await.status, 200);
    // Without the bound both are held at once.
    let doors = Doors::open(Application::OpenWebUi012, 1, &[]).await.unwrap();
    doors.upstream.will_answer("{}", false);
    let _begun = begin(&doors, &chat).await;
    assert_eq!(post(&doors, "admin A", &chat).await.status, 200);
    assert_eq!(without_room(&doors).await, 0);
}

#[tokio::test]
async fn a_door_that_only_observes_lets_pass_what_it_cannot_judge() {
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[("fsync", "off")])
        .await
        .unwrap();
    let narrow = [("JUDGED_BYTES_MAX", "4096"), ("DECISION_MS", "1500")];
    let application = Application::OpenWebUi012;
    let observe = [("MODE", "observe")];
    let doors = Doors::open_on(&postgres, application, 1, &observe, &narrow)
        .await
        .unwrap();
    doors.upstream.will_answer("{}", false);
    // Too large to be judged: what was read of it goes on before the rest.
    let chat = chat(400);
    assert_eq!(post(&doors, "outsider", &chat).await.status, 200);
    let reached = doors.upstream.take_reached();
    assert!(reached.len() == 1 && reached[0].body == chat);
    assert_eq!(doors.counted("observed").await.unwrap(), 1);
    // Nobody can say who asks.
    postgres.pause().unwrap();
    let observed = until("it can't be known any more", Duration::from_secs(30), async || {
        let answer = post(&doors, "outsider", SMALL).await;
        anyhow::ensure!(answer.status == 200, "{}", answer.text());
        Ok(doors.house.sidecars[0].log().contains("\"reason\":\"undecided\""))
    })
    .await;
    postgres.resume().unwrap();
    observed.unwrap();
    // Enforcing, the same is refused.
    let doors = Doors::open_with(application, 1, &[], &narrow).await.unwrap();
    assert_eq!(post(&doors, "admin A", &chat).await.status, 413);
    assert_eq!(doors.upstream.take_reached(), []);
}
