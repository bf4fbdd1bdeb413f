//! The life of the process: start, readiness, drain, exit codes, what is read again while it runs, restart.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use neverstale_testkit::{
    Application, Client, Postgres, PostgresVersion, Scratch, Sidecar, SidecarOptions, command, free_port,
};
use serde_json::json;
use tokio::{net::TcpStream, time::Instant};

use crate::house::{Plan, role, until};

#[tokio::test]
async fn a_sidecar_is_ready_soon_after_it_is_started() {
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(0)
        .with_redis()
        .open()
        .await
        .unwrap();
    let began = Instant::now();
    let sidecar = Sidecar::start(&house.options).await.unwrap();
    // A debug build on a busy machine; the benches hold the release build to 150 ms.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(role(&sidecar.get("/v1/users/u1/role").await.unwrap()).unwrap(), "admin");
}

#[tokio::test]
async fn without_an_installation_it_lives_says_why_and_becomes_ready_when_there_is_one() {
    let database = Postgres::shared()
        .await
        .unwrap()
        .fresh_database(Application::OpenWebUi012)
        .await
        .unwrap();
    let client = database.connect().await.unwrap();
    Application::OpenWebUi012
        .populate(&client, neverstale_testkit::Population::default())
        .await
        .unwrap();
    let sidecar = Sidecar::launch(&SidecarOptions::new(database.url())).unwrap();
    until("it says why it is not ready", Duration::from_secs(10), async || {
        let answer = sidecar.admin().get("/readyz").await?;
        Ok(answer.status == 503 && answer.text().contains("install"))
    })
    .await
    .unwrap();
    assert_eq!(sidecar.admin().get("/livez").await.unwrap().status, 200);
    assert_eq!(sidecar.admin().get("/startupz").await.unwrap().status, 503);
    neverstale_testkit::run(&["install"], &[("DATABASE_URL", database.url())])
        .await
        .unwrap();
    sidecar.ready(Duration::from_secs(5)).await.unwrap();
    assert_eq!(sidecar.admin().get("/startupz").await.unwrap().status, 200);
    assert_eq!(sidecar.get("/v1/users/u2").await.unwrap().status, 200);
}

/// Whoever takes the log may go away, and the disk that it goes to may be full.
#[tokio::test]
async fn a_log_that_cannot_be_written_ends_nothing() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(0).open().await.unwrap();
    let (home, api, admin) = (Scratch::new().unwrap(), free_port().unwrap(), free_port().unwrap());
    let (api, admin_listen) = (format!("127.0.0.1:{api}"), format!("127.0.0.1:{admin}"));
    let socket = home.path().join("api.sock");
    let mut serve = command(&[
        "serve",
        "--api-listen",
        &api,
        "--admin-listen",
        &admin_listen,
        "--api-socket",
    ])
    .unwrap();
    serve.arg(socket).env("DATABASE_URL", house.database.url());
    serve.envs(house.options.environment.iter().map(|(name, value)| (name, value)));
    let mut process = serve.stderr(Stdio::piped()).spawn().unwrap();
    drop(process.stderr.take());
    let outlived = async {
        let mut client = Client::port(admin);
        until("it is ready", Duration::from_secs(20), async || {
            Ok(client.get("/readyz").await?.status == 200)
        })
        .await?;
        // It has something to say about that.
        house.write("UPDATE boot SET id = gen_random_uuid()").await?;
        until("it has met another incarnation", Duration::from_secs(20), async || {
            let metrics = client.get("/metrics").await?.text();
            Ok(metrics.contains("neverstale_incarnation_changes_total{reason=\"incarnation\"} 1\n"))
        })
        .await?;
        Ok::<u16, anyhow::Error>(client.get("/livez").await?.status)
    };
    let outlived = outlived.await;
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(outlived.unwrap(), 200);
}

/// F12. the process is told to end: it stops being ready at once, finishes what is under way, and exits with 0.
#[tokio::test]
async fn sigterm_takes_readiness_away_at_once_and_answers_what_is_under_way() {
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[("fsync", "off")])
        .await
        .unwrap();
    let house = Plan::of(Application::OpenWebUi012)
        .lease_ms(0)
        .sidecars(1)
        .with("NEVERSTALE_FEED__FENCE_PATIENCE_MS", 20_000)
        .open_on(&postgres)
        .await
        .unwrap();
    let sidecar = &house.sidecars[0];
    let mut kept = sidecar.api();
    assert_eq!(kept.get("/v1/users/u2").await.unwrap().status, 200);
    let events = sidecar.api().events("/v1/events", &[]).await.unwrap();
    postgres.pause().unwrap();
    let mut client = sidecar.api();
    let under_way = tokio::spawn(async move {
        client
            .get_with("/v1/users/u3/role", &[("Neverstale-Timeout-Ms", "20000")])
            .await
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    sidecar.ask_to_end().unwrap();
    let took = until("readiness is off", Duration::from_secs(2), async || {
        // A listener that is closed is not ready either.
        Ok(sidecar
            .admin()
            .get("/readyz")
            .await
            .map_or(true, |answer| answer.status == 503))
    });
    assert!(took.await.unwrap() < Duration::from_millis(500));
    postgres.resume().unwrap();
    let answer = under_way.await.unwrap().unwrap();
    assert_eq!(role(&answer).unwrap(), "user");
    assert_eq!(answer.header("connection"), Some("close"));
    // A stream of events would go on for ever: it ends. An idle connection is closed.
    drop(events);
    assert_eq!(
        sidecar.exited(Duration::from_secs(10)).await.unwrap(),
        0,
        "{}",
        sidecar.log()
    );
    assert!(TcpStream::connect(("127.0.0.1", sidecar.api_port())).await.is_err());
}

#[tokio::test]
async fn an_open_stream_of_events_does_not_hold_up_the_end() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await.unwrap();
    let sidecar = &house.sidecars[0];
    let mut events = sidecar.api().events("/v1/events", &[]).await.unwrap();
    let began = Instant::now();
    assert_eq!(sidecar.terminate().await.unwrap(), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    while let Ok(Some(_)) = events.next().await {}
}

#[tokio::test]
async fn reads_go_on_while_the_process_drains() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await.unwrap();
    let sidecar = &house.sidecars[0];
    let mut busy = sidecar.api();
    assert_eq!(busy.get("/v1/users/u2/role").await.unwrap().status, 200);
    sidecar.ask_to_end().unwrap();
    until("it drains", Duration::from_secs(2), async || {
        Ok(sidecar.log().contains("draining"))
    })
    .await
    .unwrap();
    // The connection was there before: its next request is still answered, and told to be the last.
    let answer = busy.get("/v1/users/u2/role").await.unwrap();
    assert_eq!(
        (role(&answer).unwrap().as_str(), answer.header("connection")),
        ("user", Some("close"))
    );
    assert_eq!(sidecar.exited(Duration::from_secs(10)).await.unwrap(), 0);
}

#[tokio::test]
async fn it_can_be_asked_to_quit_from_the_same_machine() {
    let house = Plan::of(Application::Naga0518).sidecars(1).open().await.unwrap();
    let sidecar = &house.sidecars[0];
    assert_eq!(sidecar.admin().get("/quitquitquit").await.unwrap().status, 405);
    assert_eq!(sidecar.get("/v1/users/u2").await.unwrap().status, 200);
    let asked = sidecar.admin().send("POST", "/quitquitquit", &[], &[]).await.unwrap();
    assert!((200..300).contains(&asked.status), "{}", asked.status);
    assert_eq!(sidecar.exited(Duration::from_secs(10)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_changed_file_of_tokens_counts_without_a_restart() {
    let scratch = Scratch::new().unwrap();
    let file = scratch.path().join("tokens");
    std::fs::write(&file, "old\n").unwrap();
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(1)
        .with("NEVERSTALE_API__TOKEN_FILE", file.display())
        .open()
        .await
        .unwrap();
    let status = async |token: &str| {
        let authorization = format!("Bearer {token}");
        let mut client = house.sidecars[0].api();
        client
            .get_with("/v1/users/u2", &[("Authorization", &authorization)])
            .await
            .map(|answer| answer.status)
    };
    assert_eq!((status("old").await.unwrap(), status("new").await.unwrap()), (200, 401));
    // As Kubernetes does it: another file takes the place of the old one.
    let next = scratch.path().join("next");
    std::fs::write(&next, "new\n").unwrap();
    std::fs::rename(&next, &file).unwrap();
    until("the new token counts", Duration::from_secs(10), async || {
        Ok(status("new").await? == 200)
    })
    .await
    .unwrap();
    assert_eq!(status("old").await.unwrap(), 401);
    // A file that is of no use changes nothing.
    std::fs::write(&file, "").unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(status("new").await.unwrap(), 200);
}

/// P20. A restart of a sidecar is not a cold start. What the sidecars left in Redis stays usable as far back as the log
/// reaches.
#[tokio::test]
async fn a_restart_is_not_a_cold_start() {
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(1)
        .with_redis()
        .open()
        .await
        .unwrap();
    let read = async |sidecar: &Sidecar| sidecar.get("/v1/users/u2/permissions").await;
    let before = read(&house.sidecars[0]).await.unwrap();
    // The value goes to Redis behind the answer.
    let redis = house.redis.as_ref().unwrap();
    until("the value is in Redis", Duration::from_secs(5), async || {
        Ok(redis.command(&["DBSIZE"]).await? != "0")
    })
    .await
    .unwrap();
    assert_eq!(house.sidecars[0].terminate().await.unwrap(), 0);
    let restarted = Sidecar::start(&house.options).await.unwrap();
    let after = read(&restarted).await.unwrap();
    assert_eq!(
        (after.header("cache-status"), &after.body),
        (Some("neverstale; hit; detail=l2"), &before.body)
    );
    // And what was written in between is not taken from there.
    assert_eq!(restarted.terminate().await.unwrap(), 0);
    house
        .write("UPDATE config SET value = '{\"workspace\": {\"since\": true}}' WHERE key = 'user.permissions'")
        .await
        .unwrap();
    let restarted = Sidecar::start(&house.options).await.unwrap();
    assert!(read(&restarted).await.unwrap().text().contains("since"));
}

/// Runs the binary with nothing but these words and variables.
async fn bare(words: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = command(words).unwrap();
    command.env_clear().envs(variables.iter().copied());
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    (
        status.code().unwrap(),
        String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr),
    )
}

#[tokio::test]
async fn wrong_settings_are_all_told_at_once_with_their_places_and_exit_code_2() {
    let variables = [
        ("DATABASE_URL", "mysql://nobody@nowhere/nothing"),
        ("NEVERSTALE_API__BODY_BYTES_MAX", "many"),
        ("NEVERSTALE_FEED__POLL_MS", "1"),
        ("NEVERSTALE_NO__SUCH", "1"),
        ("NEVERSTALE_API__TOKEN_FILE", "/nowhere/tokens"),
    ];
    for words in [&["serve"], &["check"]] {
        let (code, text) = bare(words, &variables).await;
        assert_eq!(code, 2, "{text}");
        for named in [
            "DATABASE_URL",
            "BODY_BYTES_MAX",
            "POLL_MS",
            "NEVERSTALE_NO__SUCH",
            "TOKEN_FILE",
        ] {
            assert!(text.contains(named), "{words:?} does not tell of {named}:\n{text}");
        }
    }
    assert_eq!(bare(&["serve"], &[]).await.0, 2);
    assert_eq!(bare(&["no-such-command"], &[]).await.0, 2);
    assert_eq!(bare(&["serve", "--no-such-flag"], &[]).await.0, 2);
    assert_eq!(bare(&["--help"], &[]).await.0, 0);
    assert_eq!(bare(&["--version"], &[]).await.0, 0);
}

#[tokio::test]
async fn each_kind_of_failure_has_its_exit_code() {
    let nobody = format!("postgresql://nobody@127.0.0.1:{}/nothing", free_port().unwrap());
    assert_eq!(bare(&["verify"], &[("DATABASE_URL", &nobody)]).await.0, 4);
    assert_eq!(bare(&["install"], &[("DATABASE_URL", &nobody)]).await.0, 4);
    let database = Postgres::shared()
        .await
        .unwrap()
        .fresh_database(Application::OpenWebUi06)
        .await
        .unwrap();
    assert_eq!(bare(&["verify"], &[("DATABASE_URL", database.url())]).await.0, 3);
    let empty = Postgres::shared()
        .await
        .unwrap()
        .database_with("empty", "SELECT 1")
        .await
        .unwrap();
    let (code, text) = bare(&["install"], &[("DATABASE_URL", empty.url())]).await;
    assert!([1, 3].contains(&code), "{code}: {text}");
}

/// A port that is taken is nothing to wait for: whoever restarts the process decides. A wrong address is a wrong setting.
#[tokio::test]
async fn a_port_that_is_taken_ends_serve_with_exit_code_1_and_names_the_setting() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let free = format!("127.0.0.1:{}", free_port().unwrap());
    let nobody = "postgresql://nobody@127.0.0.1:1/nothing";
    let serve = async |admin: &str, api: &str| {
        let variables = [
            ("DATABASE_URL", nobody),
            ("NEVERSTALE_DATABASE__SCHEMA", "openwebui-0.12"),
            ("NEVERSTALE_API__SESSION_REVOCATION_CHECKED", "false"),
            ("NEVERSTALE_ADMIN__LISTEN", admin),
            ("NEVERSTALE_API__LISTEN", api),
        ];
        bare(&["serve"], &variables).await
    };
    for (admin, api, setting) in [(&taken, &free, "admin.listen"), (&free, &taken, "api.listen")] {
        let (code, text) = serve(admin, api).await;
        assert_eq!(code, 1, "{text}");
        assert!(
            text.contains(&taken) && text.contains(&format!("choose another by {setting}")),
            "{text}"
        );
    }
    assert_eq!(serve("nonsense", &free).await.0, 2);
    assert_eq!(serve(&free, "nonsense").await.0, 2);
}

#[tokio::test]
async fn a_secret_in_the_settings_is_never_shown() {
    let url = "postgresql://somebody:hunter2-password@127.0.0.1:1/nothing";
    let sidecar =
        Sidecar::launch(&SidecarOptions::new(url).with("NEVERSTALE_API__SESSION_SECRET", "hunter2-session")).unwrap();
    until("it tries", Duration::from_secs(10), async || {
        Ok(sidecar.admin().get("/readyz").await?.status == 503)
    })
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut shown = sidecar.log();
    for path in ["/readyz", "/status", "/metrics", "/"] {
        shown += &sidecar.admin().get(path).await.unwrap().text();
    }
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(sidecar.terminate().await.unwrap(), 0);
}

#[tokio::test]
async fn the_auditor_finds_nothing_and_the_audit_command_agrees() {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await.unwrap();
    let sidecar = &house.sidecars[0];
    let mut client = sidecar.api();
    for round in 0..40 {
        house
            .set_role("u2", if round % 2 == 0 { "admin" } else { "user" })
            .await
            .unwrap();
        for user in ["u2", "u3", "u4"] {
            assert_eq!(client.get(&format!("/v1/users/{user}/role")).await.unwrap().status, 200);
        }
        client
            .post("/v1/batch", &json!({"reads": ["/v1/users/u2", "/v1/users/u2/groups"]}))
            .await
            .unwrap();
    }
    let address = format!("127.0.0.1:{}", sidecar.api_port());
    let words = ["audit", "--sidecar", address.as_str(), "--users", "20"];
    neverstale_testkit::run(&words, &[("DATABASE_URL", house.database.url())])
        .await
        .unwrap();
    let mismatches: Vec<String> = sidecar
        .metrics()
        .await
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("neverstale_audits_total") && line.contains("mismatch"))
        .map(str::to_owned)
        .collect();
    assert!(
        !mismatches.is_empty() && mismatches.iter().all(|line| line.ends_with(" 0")),
        "{mismatches:?}"
    );
}
