//! Connections to the application that are used again: nothing is sent twice, and nothing of one answer is ever another's.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use neverstale_testkit::Client;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Door, read_until};

/// An application that does with its connections what a path says.
struct Moody {
    port: u16,
    /// The connection's number, and the request line.
    seen: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Moody {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (port, seen) = (listener.local_addr()?.port(), Arc::<Mutex<Vec<_>>>::default());
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, number, Arc::clone(&shared)));
                number += 1;
            }
        });
        Ok(Self { port, seen })
    }

    async fn door(&self) -> Result<Door> {
        let url = format!("http://127.0.0.1:{}", self.port);
        // Longer than any test, so that nothing is closed for its age.
        Door::open_with(&[("UPSTREAM", &url), ("UPSTREAM_KEEP_ALIVE_MS", "60000")]).await
    }

    /// On which connections a request came.
    fn connections(&self, line: &str) -> Vec<usize> {
        let seen = self.seen.lock().unwrap();
        let of_it = seen.iter().filter(|(_, seen)| seen.starts_with(line));
        of_it.map(|(connection, _)| *connection).collect()
    }
}

async fn serve(mut stream: TcpStream, number: usize, seen: Arc<Mutex<Vec<(usize, String)>>>) -> Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let head = read_until(&mut stream, "\r\n\r\n").await?;
        let line = head.lines().next().unwrap_or_default().to_owned();
        seen.lock().unwrap().push((number, line.clone()));
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        match line.split(' ').nth(1).unwrap_or_default() {
            "/close" => {
                stream.write_all(ok.as_bytes()).await?;
                return Ok(());
            }
            "/vanish" => return Ok(()),
            "/more" => {
                let unasked = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
                stream.write_all(format!("{ok}{unasked}").as_bytes()).await?;
            }
            "/half" => {
                let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ";
                stream.write_all(half.as_bytes()).await?;
            }
            "/deaf" => std::future::pending().await,
            _ => stream.write_all(ok.as_bytes()).await?,
        }
    }
}

async fn post(client: &mut Client, path: &str) -> (u16, String) {
    let answer = client.send("POST", path, &[], b"").await.unwrap();
    (answer.status, answer.text())
}

/// Who sends a request again whose answer did not come may do twice what was asked once.
#[tokio::test]
async fn a_request_whose_answer_does_not_come_is_not_sent_again() {
    let moody = Moody::start().await.unwrap();
    let door = moody.door().await.unwrap();
    let mut client = door.client();
    assert_eq!(post(&mut client, "/first").await.0, 200);
    for _ in 0..3 {
        assert_eq!(post(&mut client, "/vanish").await.0, 502);
    }
    assert_eq!(post(&mut client, "/last").await, (200, "ok".to_owned()));
    // The first went out on the connection that was kept, and each exactly once.
    assert_eq!(moody.connections("POST /first"), [0]);
    assert_eq!(moody.connections("POST /vanish"), [0, 1, 2]);
    assert_eq!(moody.connections("POST /last"), [3]);
    assert_eq!(door.passed("broken-off").await.unwrap(), 3);
}

#[tokio::test]
async fn a_connection_that_the_application_has_closed_is_not_used_again() {
    let moody = Moody::start().await.unwrap();
    let door = moody.door().await.unwrap();
    let mut client = door.client();
    for _ in 0..20 {
        assert_eq!(post(&mut client, "/close").await, (200, "ok".to_owned()));
    }
    assert_eq!(moody.connections("POST /close"), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_comes_unasked_is_nobodys_answer() {
    let moody = Moody::start().await.unwrap();
    let door = moody.door().await.unwrap();
    let mut client = door.client();
    for _ in 0..5 {
        assert_eq!(post(&mut client, "/more").await, (200, "ok".to_owned()));
        assert_eq!(post(&mut client, "/next").await, (200, "ok".to_owned()));
    }
    let (more, next) = (moody.connections("POST /more"), moody.connections("POST /next"));
    assert!(
        more.iter().zip(&next).all(|(more, next)| more != next),
        "{more:?} {next:?}"
    );
}

#[tokio::test]
async fn an_answer_that_was_not_read_to_its_end_takes_its_connection_with_it() {
    let moody = Moody::start().await.unwrap();
    let door = moody.door().await.unwrap();
    let mut leaving = door.connect().await.unwrap();
    leaving
        .write_all(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut leaving, "half ").await.unwrap();
    drop(leaving);
    assert_eq!(post(&mut door.client(), "/next").await, (200, "ok".to_owned()));
    assert_eq!(moody.connections("POST /next"), [1]);
}

/// The application answers before it has read the body: what it did not read must not be the beginning of another request.
#[tokio::test]
async fn a_body_that_was_not_sent_to_its_end_takes_its_connection_with_it() {
    let moody = Moody::start().await.unwrap();
    let door = moody.door().await.unwrap();
    let mut stream = door.connect().await.unwrap();
    let head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let answer = read_until(&mut stream, "ok").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(950));
    // The door may have closed already.
    let _ = stream.write_all(smuggled.as_bytes()).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(post(&mut door.client(), "/next").await, (200, "ok".to_owned()));
    assert_eq!(moody.connections("POST /next"), [1]);
    assert!(moody.connections("GET /smuggled").is_empty());
}

/// A simple caller sends all that it has to say before it listens.
#[tokio::test]
async fn an_answer_that_comes_early_is_read_by_who_still_sends() {
    let moody = Moody::start().await.unwrap();
    let door = moody.door().await.unwrap();
    let mut stream = door.connect().await.unwrap();
    let head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n";
    stream.write_all(head).await.unwrap();
    stream.write_all(&vec![b'x'; 8_388_608]).await.unwrap();
    let answer = read_until(&mut stream, "ok").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A body that is not read is not asked for more, so its own limits never come to an end.
#[tokio::test]
async fn an_application_that_reads_no_further_and_never_answers_is_late() {
    let moody = Moody::start().await.unwrap();
    let url = format!("http://127.0.0.1:{}", moody.port);
    let limits = [
        ("UPSTREAM", url.as_str()),
        ("FIRST_BYTE_SECONDS", "1"),
        ("IDLE_SECONDS", "1"),
    ];
    let door = Door::open_with(&limits).await.unwrap();
    let (mut reading, mut writing) = door.connect().await.unwrap().into_split();
    let sending = tokio::spawn(async move {
        let head = b"POST /deaf HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n";
        writing.write_all(head).await?;
        // More than what lies between the two can hold.
        let piece = vec![b'x'; 65_536];
        while writing.write_all(&piece).await.is_ok() {}
        Ok::<_, anyhow::Error>(())
    });
    let answer = read_until(&mut reading, "\r\n\r\n").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert_eq!(door.passed("late").await.unwrap(), 1);
    sending.await.unwrap().unwrap();
}
