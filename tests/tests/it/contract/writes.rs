//! Settings are written one path at a time, by whoever has read what is there, and no edit is lost.

mod refused;

use std::time::Duration;

use neverstale_testkit::{Answer, Application, Client, Link, Postgres, Sidecar};
use serde_json::{Value, json};

use super::{expect_problem, token};
use crate::house::{House, Plan, trusted, until};

const PATIENCE: Duration = Duration::from_secs(20);
/// What every flavour's population has.
const TOP_K: &str = "rag.top_k";

fn writable(application: Application) -> Plan {
    Plan::of(application).with("NEVERSTALE_API__WRITES_ALLOWED", true)
}

async fn patch(client: &mut Client, place: &str, condition: (&str, &str), path: &str, value: &Value) -> Answer {
    let body = json!({ "path": path, "value": value }).to_string();
    client
        .send("PATCH", place, &[condition], body.as_bytes())
        .await
        .unwrap()
}

/// The value, and the ETag to write it by.
async fn value(sidecar: &Sidecar, path: &str) -> (Value, String) {
    let answer = trusted(sidecar)
        .get(&format!("/v1/views/config-value/{path}"))
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let etag = answer.header("etag").unwrap().to_owned();
    (answer.json().unwrap()["value"].clone(), etag)
}

/// Where each flavour has a value of one user's own: the user, the path, the text in the table that holds it.
fn own(application: Application) -> (&'static str, &'static str, &'static str) {
    match application {
        Application::Naga0518 => (
            "u1",
            "audio.tts.voice",
            "SELECT data::text FROM config WHERE email = 'user1@example.com'",
        ),
        _ => ("u2", "ui.theme", "SELECT settings::text FROM \"user\" WHERE id = 'u2'"),
    }
}

/// P24. No edit is lost. A write that is answered 200 changed what its caller named by `If-Match`, and nothing else; if
/// somebody was faster, on whichever sidecar or by plain SQL, it is refused with 412 and the value that is there. Its
/// token names a state that shows it, so that whoever reads at least as fresh sees it, and so does every
/// `fully-consistent` read that begins after the answer (P1). Any other problem than `outcome-unknown` means that
/// nothing was written.
#[tokio::test]
async fn a_write_is_made_if_its_writer_knows_what_is_there_and_the_next_read_elsewhere_shows_it() {
    for application in Application::ALL {
        let name = application.name();
        let house = writable(application).sidecars(2).open().await.unwrap();
        let mut client = trusted(&house.sidecars[0]);
        let plain = house.sidecars[1].get(&format!("/v1/config/{TOP_K}")).await.unwrap();
        let first = plain.header("etag").unwrap();
        let made = patch(&mut client, "/v1/config", ("If-Match", first), TOP_K, &json!(7)).await;
        assert_eq!(made.status, 200, "{name}: {}", made.text());
        assert_eq!(made.json().unwrap(), json!({"path": TOP_K, "value": 7}));
        let level = format!("at-least-as-fresh={}", token(&made).unwrap());
        let next = house.sidecars[1]
            .api()
            .get_with(&format!("/v1/config/{TOP_K}"), &[("Neverstale-Consistency", &level)])
            .await
            .unwrap();
        assert_eq!(next.json().unwrap()["value"], 7, "{name}: the next read is old");
        assert_eq!(next.header("etag"), made.header("etag"), "{name}");
        // Whoever comes with what was there before is told what there is now, and can go on from that.
        let late = patch(&mut client, "/v1/config", ("If-Match", first), TOP_K, &json!(8)).await;
        expect_problem(&late, 412, "precondition-failed").unwrap();
        assert_eq!(late.json().unwrap()["current"], json!({"path": TOP_K, "value": 7}));
        assert_eq!(late.header("etag"), made.header("etag"), "{name}");
        let etag = late.header("etag").unwrap();
        let again = patch(&mut client, "/v1/config", ("If-Match", etag), TOP_K, &json!([null])).await;
        assert_eq!(again.status, 200, "{name}: {}", again.text());
        assert_eq!(value(&house.sidecars[1], TOP_K).await.0, json!([null]));
        // What is not there yet.
        let absent = patch(&mut client, "/v1/config", ("If-Match", "*"), "new.one", &json!(1)).await;
        expect_problem(&absent, 412, "precondition-failed").unwrap();
        assert_eq!(absent.json().unwrap()["current"], Value::Null);
        for status in [200, 412] {
            let new = patch(
                &mut client,
                "/v1/config",
                ("If-None-Match", "*"),
                "new.one",
                &json!("é"),
            )
            .await;
            assert_eq!(new.status, status, "{name}: {}", new.text());
        }
        assert_eq!(value(&house.sidecars[1], "new.one").await.0, json!("é"));
    }
}

#[tokio::test]
async fn a_users_own_settings_change_at_one_path_and_no_other_byte() {
    for application in Application::ALL {
        let house = writable(application).sidecars(1).open().await.unwrap();
        let mut client = trusted(&house.sidecars[0]);
        let (user, path, sql) = own(application);
        let text = async || house.writer.query_one(sql, &[]).await.unwrap().get::<_, String>(0);
        let before = text().await;
        let place = format!("/v1/users/{user}/settings");
        let read = client
            .get(&format!("/v1/users/{user}/own-settings/{path}"))
            .await
            .unwrap();
        let old = read.json().unwrap()["value"].to_string();
        assert!(before.contains(&old), "{before}");
        let etag = read.header("etag").unwrap().to_owned();
        let made = patch(
            &mut client,
            &place,
            ("If-Match", &etag),
            path,
            &json!({"b": 1, "a": 1.0}),
        )
        .await;
        assert_eq!(made.status, 200, "{}: {}", application.name(), made.text());
        assert_eq!(text().await, before.replace(&old, r#"{"b":1,"a":1.0}"#));
        let nobody = patch(
            &mut client,
            "/v1/users/nobody/settings",
            ("If-None-Match", "*"),
            path,
            &json!(1),
        )
        .await;
        expect_problem(&nobody, 404, "not-found").unwrap();
        let blocked = patch(
            &mut client,
            &place,
            ("If-None-Match", "*"),
            &format!("{path}.a.b"),
            &json!(1),
        )
        .await;
        expect_problem(&blocked, 400, "malformed").unwrap();
    }
}

/// P24: each of 40 increments lands, whoever makes it on whichever sidecar; made without the condition, one of two is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_lose_nothing_and_without_the_condition_they_do() {
    for application in Application::ALL {
        let house = writable(application).sidecars(2).open().await.unwrap();
        for counter in ["count.a", "count.b"] {
            let mut client = trusted(&house.sidecars[0]);
            patch(&mut client, "/v1/config", ("If-None-Match", "*"), counter, &json!(0)).await;
        }
        let [one, other] = [&house.sidecars[0], &house.sidecars[1]];
        let (a, b, c, d) = tokio::join!(
            increment(one, "count.a", 10),
            increment(other, "count.a", 10),
            increment(one, "count.b", 10),
            increment(other, "count.b", 10),
        );
        let refused = a + b + c + d;
        for counter in ["count.a", "count.b"] {
            let (count, _) = value(&house.sidecars[0], counter).await;
            assert_eq!(count, 20, "{}: an increment is lost", application.name());
        }
        println!("{}: {refused} of 40 increments were refused first", application.name());
        // The same without the safeguard: both read, then both write.
        let (count, _) = value(&house.sidecars[0], "count.a").await;
        for sidecar in &house.sidecars {
            let next = json!(count.as_u64().unwrap() + 1);
            let made = patch(&mut trusted(sidecar), "/v1/config", ("If-Match", "*"), "count.a", &next).await;
            assert_eq!(made.status, 200);
        }
        assert_eq!(
            value(&house.sidecars[0], "count.a").await.0,
            21,
            "two were made, one is lost"
        );
    }
}

/// Reads, adds one, writes; where somebody was faster it goes on from what the refusal tells. Gives how often that was.
async fn increment(sidecar: &Sidecar, counter: &str, times: usize) -> usize {
    let mut client = trusted(sidecar);
    let mut refused = 0;
    for _ in 0..times {
        let (mut count, mut etag) = value(sidecar, counter).await;
        loop {
            let next = json!(count.as_u64().unwrap() + 1);
            let answer = patch(&mut client, "/v1/config", ("If-Match", &etag), counter, &next).await;
            if answer.status == 200 {
                break;
            }
            expect_problem(&answer, 412, "precondition-failed").unwrap();
            refused += 1;
            count = answer.json().unwrap()["current"]["value"].clone();
            answer.header("etag").unwrap().clone_into(&mut etag);
        }
    }
    refused
}

/// P24, by plain SQL too: the row is locked before it is judged: who writes by plain SQL meanwhile is waited for, and not undone.
#[tokio::test]
async fn a_write_waits_for_whoever_holds_the_row_and_is_judged_after() {
    for application in Application::ALL {
        let house = writable(application).sidecars(1).open().await.unwrap();
        let (_, etag) = value(&house.sidecars[0], TOP_K).await;
        let mut client = trusted(&house.sidecars[0]);
        house
            .writer
            .batch_execute(&format!("BEGIN; {}", change(application)))
            .await
            .unwrap();
        let body = json!({"path": TOP_K, "value": 5}).to_string();
        let headers = [("If-Match", etag.as_str()), ("Neverstale-Timeout-Ms", "300")];
        let late = client
            .send("PATCH", "/v1/config", &headers, body.as_bytes())
            .await
            .unwrap();
        expect_problem(&late, 504, "deadline-exceeded").unwrap();
        let headers = [("If-Match", etag.as_str()), ("Neverstale-Timeout-Ms", "20000")];
        let waiting = client.send("PATCH", "/v1/config", &headers, body.as_bytes());
        let (answer, ()) = tokio::join!(waiting, async {
            waits(&house, "wait_event_type = 'Lock'").await;
            house.writer.batch_execute("COMMIT").await.unwrap();
        });
        let answer = answer.unwrap();
        expect_problem(&answer, 412, "precondition-failed").unwrap();
        assert_eq!(answer.json().unwrap()["current"]["value"], 77);
        assert_eq!(value(&house.sidecars[0], TOP_K).await.0, 77, "{}", application.name());
    }
}

/// Sets the value to 77 by plain SQL.
fn change(application: Application) -> &'static str {
    match application {
        Application::OpenWebUi012 => "UPDATE config SET value = '77' WHERE key = 'rag.top_k'",
        Application::OpenWebUi06 => "UPDATE config SET data = jsonb_set(data::jsonb, '{rag,top_k}', '77')::json",
        Application::Naga0518 => {
            "UPDATE config SET data = jsonb_set(data::jsonb, '{rag,top_k}', '77')::json WHERE email = 'system@default'"
        }
    }
}

/// Waits until a session of the sidecar's is in a state of `pg_stat_activity`.
async fn waits(house: &House, state: &str) {
    let observer = house.database.connect().await.unwrap();
    let sql = format!("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND {state}");
    until("a write waits", PATIENCE, async || {
        Ok(!observer.query(&sql, &[]).await?.is_empty())
    })
    .await
    .unwrap();
}

/// P24: a COMMIT whose answer is lost may have been made, and this one was: only then nobody can say.
#[tokio::test]
async fn a_write_whose_commit_is_not_answered_is_neither_made_nor_refused() {
    let mut house = writable(Application::OpenWebUi012).sidecars(0).open().await.unwrap();
    let link = Link::to(Postgres::shared().await.unwrap().port()).await.unwrap();
    house.options.database_url = house.database.url_through(link.port());
    house.sidecars.push(Sidecar::start(&house.options).await.unwrap());
    let hold = "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER zz_hold AFTER UPDATE ON config DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold();
        SELECT pg_advisory_lock(4711)";
    let (_, etag) = value(&house.sidecars[0], TOP_K).await;
    house.writer.batch_execute(hold).await.unwrap();
    let mut client = trusted(&house.sidecars[0]);
    let body = json!({"path": TOP_K, "value": 5}).to_string();
    let headers = [("If-Match", etag.as_str()), ("Neverstale-Timeout-Ms", "20000")];
    let waiting = client.send("PATCH", "/v1/config", &headers, body.as_bytes());
    let (answer, ()) = tokio::join!(waiting, async {
        waits(&house, "query = 'COMMIT' AND wait_event_type = 'Lock'").await;
        link.keep_answers();
        house
            .writer
            .batch_execute("SELECT pg_advisory_unlock(4711)")
            .await
            .unwrap();
        let sql = "SELECT value::text FROM config WHERE key = 'rag.top_k'";
        until("it is committed", PATIENCE, async || {
            Ok(house.writer.query_one(sql, &[]).await?.get::<_, String>(0) == "5")
        })
        .await
        .unwrap();
        link.cut();
    });
    expect_problem(&answer.unwrap(), 504, "outcome-unknown").unwrap();
}
