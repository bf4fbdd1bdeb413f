//! The command line is a contract: help, exit codes and messages stay as they are unless somebody decides otherwise.

use std::{
    fmt::Write,
    process::{Command, Output},
};

const COMMANDS: [&str; 16] = [
    "serve",
    "install",
    "uninstall",
    "verify",
    "suspend",
    "resume",
    "lease",
    "rbac",
    "access",
    "doctor",
    "check",
    "audit",
    "top",
    "settings",
    "metrics",
    "openapi",
];

/// Runs the binary with nothing in its environment but what is given.
fn neverstale(words: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neverstale"));
    command.args(words).env_clear().envs(environment.iter().copied());
    command.output().expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the binary was not killed")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the binary writes UTF-8")
}

#[test]
fn the_help_of_every_command() {
    let mut all = text(&neverstale(&["--help"], &[]).stdout);
    for command in COMMANDS {
        let output = neverstale(&[command, "-h"], &[]);
        assert_eq!(code(&output), 0, "{command}");
        write!(all, "\n=== {command}\n{}", text(&output.stdout)).expect("a String takes any text");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn every_command_tells_the_exit_codes() {
    for command in COMMANDS {
        assert!(
            text(&neverstale(&[command, "--help"], &[]).stdout).contains("Exit codes:"),
            "{command}"
        );
    }
}

#[test]
fn check_reports_all_problems_at_once_with_their_places() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("neverstale.toml");
    std::fs::write(
        &file,
        "[cache.l1]\nbyte_max = 1\n[database]\nfill_connections = 0\nschema = \"openwebui\"\n",
    )
    .expect("a file");
    let variables = [
        ("DATABASE_URL", "sqlite:////app/backend/data/webui.db"),
        ("REDIS_URL", "http://redis"),
        ("NEVERSTALE_TELEMETRY__LOG_FORMAT", "xml"),
        ("NEVERSTALE_REDIS__KEY_FILE", "/nowhere/keys"),
    ];
    let output = neverstale(
        &[
            "check",
            "--config",
            file.to_str().expect("UTF-8"),
            "--lifecycle-worker-threads",
            "0",
        ],
        &variables,
    );
    assert_eq!(code(&output), 2);
    let report = text(&output.stderr).replace(file.to_str().expect("UTF-8"), "neverstale.toml");
    insta::assert_snapshot!(report);
}

#[test]
fn check_says_where_each_setting_came_from() {
    let variables = [
        ("DATABASE_URL", "postgresql+psycopg://app:hunter2@db/webui"),
        ("NEVERSTALE_DATABASE__SCHEMA", "openwebui-0.6"),
    ];
    let output = neverstale(&["check", "--schema", "openwebui-0.12"], &variables);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("hunter2"));
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn a_mistake_in_a_flavour_file_is_reported_with_file_and_line() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("mine.toml");
    std::fs::write(&file, "name = \"mine\"\nbogus = 1\n").expect("a file");
    let path = file.to_str().expect("UTF-8");
    let output = neverstale(&["check", "--schema", path, "--database-url", "postgresql://db/x"], &[]);
    assert_eq!(code(&output), 2);
    assert!(
        text(&output.stderr).contains(&format!("{path}:2:")),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn without_a_database_the_next_step_is_told() {
    for command in ["serve", "install", "verify", "doctor", "check"] {
        let output = neverstale(&[command], &[]);
        assert_eq!(code(&output), 2, "{command}");
        assert!(
            text(&output.stderr).contains("set DATABASE_URL"),
            "{command}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn a_database_that_is_not_there_is_exit_code_4() {
    let nobody = [("DATABASE_URL", "postgresql://a:hunter2@127.0.0.1:1/b?sslmode=disable")];
    for command in [
        "install",
        "uninstall",
        "verify",
        "suspend",
        "resume",
        "lease",
        "doctor",
        "audit",
    ] {
        let output = neverstale(&[command], &nobody);
        assert_eq!(code(&output), 4, "{command}: {}", text(&output.stderr));
        assert!(
            !(text(&output.stderr) + &text(&output.stdout)).contains("hunter2"),
            "{command}"
        );
    }
}

#[test]
fn the_documents_are_printed() {
    let settings = text(&neverstale(&["settings", "--markdown"], &[]).stdout);
    assert!(settings.contains("### `database.url`") && settings.contains("`NEVERSTALE_CACHE__L1__BYTES_MAX`"));
    let schema = text(&neverstale(&["settings", "--json-schema"], &[]).stdout);
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
    assert_eq!(
        schema["properties"]["cache"]["properties"]["l1"]["properties"]["bytes_max"]["type"],
        "integer"
    );
    let metrics = text(&neverstale(&["metrics", "--markdown"], &[]).stdout);
    assert!(metrics.contains("| `neverstale_reads_total` | counter | `level`"));
    let contract = text(&neverstale(&["openapi", "--schema", "naga-0.5.18"], &[]).stdout);
    let contract: serde_json::Value = serde_json::from_str(&contract).expect("JSON");
    assert_eq!(contract["openapi"], "3.1.0");
    assert_eq!(code(&neverstale(&["settings"], &[])), 2);
}
