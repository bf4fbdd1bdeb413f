//! The commands against a real database: install, verify, lease, suspend, resume, doctor, uninstall, and the life of `serve`.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use neverstale_testkit::{Application, Database, Population, Postgres, PostgresVersion, Redis};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Gives the binary a bare environment, because other variables may be settings that it does not know.
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neverstale"));
    command.args(words).env_clear();
    command
}

/// Runs the binary against a database.
async fn neverstale(words: &[&str], database: &Database, more: &[(&str, &str)]) -> Output {
    let mut command = command(words);
    command.env("DATABASE_URL", database.url()).envs(more.iter().copied());
    tokio::task::spawn_blocking(move || command.output().expect("the binary runs"))
        .await
        .expect("it ends")
}

async fn expect(code: i32, words: &[&str], database: &Database) -> String {
    let output = neverstale(words, database, &[]).await;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(code), "{words:?}\n{out}{err}");
    out.into_owned()
}

async fn database() -> Database {
    let postgres = Postgres::shared().await.expect("a server");
    postgres
        .fresh_database(Application::OpenWebUi012)
        .await
        .expect("a database")
}

fn levels(report: &str) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(report).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let text = |finding: &Value, name: &str| finding[name].as_str().expect("a text").to_owned();
    findings
        .iter()
        .map(|finding| (text(finding, "check"), text(finding, "level")))
        .collect()
}

#[tokio::test]
async fn an_installation_from_its_first_to_its_last_day() {
    let database = database().await;
    expect(3, &["verify"], &database).await;
    assert!(
        expect(0, &["install", "--print-sql"], &database)
            .await
            .contains("CREATE SCHEMA")
    );
    expect(3, &["verify"], &database).await;

    expect(0, &["install", "--lease-ms", "20"], &database).await;
    assert!(
        expect(0, &["install"], &database)
            .await
            .contains("nothing was to be done")
    );
    expect(0, &["verify"], &database).await;
    assert!(expect(0, &["lease"], &database).await.contains("the lease is 20 ms"));
    expect(0, &["lease", "0"], &database).await;
    expect(2, &["lease", "999999"], &database).await;

    let client = database.connect().await.expect("a connection");
    client
        .batch_execute("ALTER TABLE \"user\" DISABLE TRIGGER ALL")
        .await
        .expect("disabled");
    assert!(expect(3, &["verify", "--json"], &database).await.contains("disabled"));
    expect(0, &["install"], &database).await;
    expect(0, &["verify"], &database).await;

    expect(0, &["suspend"], &database).await;
    expect(3, &["verify"], &database).await;
    expect(0, &["resume"], &database).await;
    expect(0, &["verify"], &database).await;

    expect(0, &["uninstall"], &database).await;
    expect(0, &["uninstall"], &database).await;
    expect(3, &["verify"], &database).await;
}

#[tokio::test]
async fn the_doctor_finds_nothing_to_mend_in_a_sound_deployment() {
    let (database, redis) = (database().await, Redis::start().await.expect("a redis"));
    expect(0, &["install", "--lease-ms", "10"], &database).await;
    let words = ["doctor", "--json", "--measure-commit"];
    let settings = [
        ("REDIS_URL", redis.url()),
        ("NEVERSTALE_API__WRITES_ALLOWED", "true".to_owned()),
    ];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let output = neverstale(&words, &database, &settings).await;
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{report}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let levels = levels(&report);
    assert!(levels.iter().all(|(_, level)| level != "fail"), "{report}");
    for check in [
        "database.primary",
        "database.replica_role",
        "pooler.sessions",
        "pooler.notify",
        "schema.flavour",
        "rights.install",
        "rights.read",
        "rights.write",
        "installation",
        "cost.commit",
        "time.fence",
        "time.fill",
        "clock.rate",
        "redis",
    ] {
        assert!(
            levels.iter().any(|(name, _)| name == check),
            "{check} is missing in {report}"
        );
    }
    // The commit that was measured is one of ours: it took the commit wait.
    assert!(report.contains("one that changed nothing took"), "{report}");
}

#[tokio::test]
async fn the_doctor_tells_what_is_wrong_and_what_to_do() {
    let database = database().await;
    let report = expect(3, &["doctor"], &database).await;
    assert!(
        report.contains("FAIL  installation") && report.contains("-> run neverstale install"),
        "{report}"
    );
}

#[tokio::test]
async fn a_reader_who_lacks_a_column_of_a_view_is_told_which() {
    let database = database().await;
    let superuser = database.connect().await.expect("the superuser");
    let role = format!("reader_{}", database.name());
    let run = async |sql: String| superuser.batch_execute(&sql).await.expect("done");
    run(format!("CREATE ROLE \"{role}\" LOGIN")).await;
    expect(0, &["install", "--reader", &role], &database).await;
    let url = database.url().replace("//postgres@", &format!("//{role}@"));
    let as_reader = async |word: &'static str, code: i32| {
        let output = neverstale(&[word], &database, &[("DATABASE_URL", &url)]).await;
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{report}");
        report
    };
    as_reader("verify", 0).await;
    let report = as_reader("doctor", 0).await;
    assert!(
        report.contains("this role may read all that a sidecar reads"),
        "{report}"
    );

    // The other columns of the table may still be read.
    run(format!("REVOKE SELECT (name) ON prompt FROM \"{role}\"")).await;
    let report = as_reader("verify", 3).await;
    assert!(
        report.contains("public.prompt (name): this role may not read it"),
        "{report}"
    );
    let report = as_reader("doctor", 3).await;
    assert!(
        report.contains("this role may not read public.prompt (name)"),
        "{report}"
    );
    expect(0, &["install", "--reader", &role], &database).await;
    as_reader("verify", 0).await;
    run(format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\"")).await;
}

#[tokio::test]
async fn the_doctor_knows_a_standby() {
    // A server of its own: a shared one may belong to somebody else, who would not let us copy it.
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[("fsync", "off")])
        .await
        .expect("a server");
    let standby = postgres.standby().await.expect("a standby");
    let mut command = command(&["doctor"]);
    command.env("DATABASE_URL", standby.url("postgres"));
    let output = tokio::task::spawn_blocking(move || command.output().expect("it runs"))
        .await
        .expect("it ends");
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{report}");
    assert!(
        report.contains("is a standby") && report.contains("point DATABASE_URL at the primary"),
        "{report}"
    );
}

/// Starts `serve` on ports that the system chooses.
fn serve(database_url: &str) -> (Child, BufReader<ChildStderr>) {
    let mut command = command(&[
        "serve",
        "--telemetry-log-format",
        "text",
        "--api-listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    command
        .env("DATABASE_URL", database_url)
        .stderr(Stdio::piped())
        .stdout(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let log = BufReader::new(child.stderr.take().expect("its log"));
    (child, log)
}

/// Reads the log until a line says `words`, and gives that line; what came before is lost.
fn wait_for(log: &mut BufReader<ChildStderr>, words: &str) -> String {
    let found = log.lines().map_while(Result::ok).find(|line| line.contains(words));
    found.unwrap_or_else(|| panic!("the process ended without saying {words:?}"))
}

fn terminate(child: &Child) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::TERM).expect("it is alive");
}

#[tokio::test]
async fn serve_drains_and_ends_with_0_when_told() {
    let database = database().await;
    expect(0, &["install", "--lease-ms", "0"], &database).await;
    let (mut child, mut log) = serve(database.url());
    wait_for(&mut log, "the schema is known");
    terminate(&child);
    wait_for(&mut log, "neverstale ends");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn serve_lives_without_a_database_and_still_ends_with_0() {
    let (mut child, mut log) = serve("postgresql://nobody@127.0.0.1:1/nothing");
    wait_for(&mut log, "not ready");
    terminate(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn top_shows_a_sidecar_that_is_well_and_one_that_is_away() {
    let database = database().await;
    expect(0, &["install", "--lease-ms", "0"], &database).await;
    let (mut child, mut log) = serve(database.url());
    let line = wait_for(&mut log, "the admin listens address=");
    let address = line.rsplit_once('=').expect("an address").1.trim().to_owned();
    wait_for(&mut log, "a new world begins");
    let once = ["top", "--once", "--interval", "50ms", &address];
    let shown = expect(0, &once, &database).await;
    assert!(shown.contains("openwebui-0.12  1 of 1 ready"), "{shown}");
    let shown = expect(3, &[once.as_slice(), &["127.0.0.1:1"]].concat(), &database).await;
    assert!(shown.contains("1 of 2 ready") && shown.contains("away"), "{shown}");
    terminate(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn an_audit_of_a_running_sidecar_finds_every_answer_right() {
    let database = database().await;
    expect(0, &["install", "--lease-ms", "10"], &database).await;
    let client = database.connect().await.expect("a connection");
    Application::OpenWebUi012
        .populate(&client, Population::default())
        .await
        .expect("users");
    let (mut child, mut log) = serve(database.url());
    let line = wait_for(&mut log, "the api listens address=");
    let address = line.rsplit_once('=').expect("an address").1.trim().to_owned();
    wait_for(&mut log, "a new world begins");
    for _ in 0..2 {
        let report = expect(0, &["audit", "--sidecar", &address, "--users", "5"], &database).await;
        assert!(
            report.contains("0 mismatch, 0 inconclusive") && !report.starts_with('0'),
            "{report}"
        );
    }
    let words = [
        "audit",
        "--sidecar",
        &address,
        "--users",
        "2",
        "--rate",
        "500",
        "--json",
    ];
    let report = expect(0, &[words.as_slice(), &["--for", "1s"]].concat(), &database).await;
    let report: serde_json::Value = serde_json::from_str(&report).expect("a report");
    let count = |name: &str| report[name].as_u64().expect("a count");
    assert!(count("match") > 50 && count("from_cache") > 50, "{report}");
    assert_eq!((count("mismatch"), count("inconclusive")), (0, 0));
    // Nobody to read about: there is nothing to go on with.
    let nobody = ["audit", "--sidecar", &address, "--users", "0", "--for", "1h"];
    assert!(expect(0, &nobody, &database).await.starts_with("0 match"));
    expect(2, &["audit", "--for", "ever"], &database).await;
    expect(4, &["audit", "--sidecar", "127.0.0.1:1", "/v1/users/u1"], &database).await;
    expect(2, &["audit", "--sidecar", &address, "/v1/nothing"], &database).await;
    terminate(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn a_port_that_is_taken_ends_serve_with_1() {
    let database = database().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = neverstale(
        &["serve", "--admin-listen", "127.0.0.1:0", "--api-listen", &address],
        &database,
        &[],
    )
    .await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&address));
}
