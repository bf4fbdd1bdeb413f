//! The last source wins, whatever the others say; everything that is wrong is said at once, with its place.

use std::path::Path;

use neverstale_settings::{Merged, Place, Problems, Section, app_environment, json_schema, markdown, section};
use proptest::prelude::*;

section! {
    /// Memory of this process.
    pub struct L1Settings = "cache.l1";
    /// Limits the memory that entries take together.
    bytes_max: u64 = 64 * 1024, unit "bytes", range 1024..=u64::MAX, when "raise it when memory is free";
    /// Switches it.
    enabled: bool = true, when "off while looking for a fault";
}

section! {
    /// The application's database.
    pub struct DatabaseSettings = "database";
    /// Says where it is.
    url: Option<Secret> = None, unit "URL", when "always";
    /// Names the application's schema.
    app_schema: String = "public", when "when it is not public";
}

section! {
    /// Words about ourselves.
    pub struct TelemetrySettings = "telemetry";
    /// Chooses the shape of log lines.
    log_format: String = "json", one_of ["json", "text"], when "text for people";
    /// Names a file.
    token_file: Option<PathBuf> = None, unit "path", when "to require a token", live;
    /// Gives values by names of one's own.
    options: Texts = Texts::default(), when "a flavour asks for it";
}

use neverstale_settings::Texts;

fn merged() -> Merged {
    Merged::new(&[L1Settings::spec(), DatabaseSettings::spec(), TelemetrySettings::spec()])
}

#[test]
fn all_problems_are_said_at_once_with_their_places() {
    let (mut merged, mut problems) = (merged(), Problems::new());
    let file =
        "[cache.l1]\nbyte_max = 5\nbytes_max = 5\nenabled = \"yes\"\n\n[telemetry]\nlog_format = \"xml\"\n[kache]\n";
    merged.add_file(Path::new("neverstale.toml"), file, &mut problems);
    let variables = [
        ("NEVERSTALE_CACHE__L1__BYTE_MAX", "1"),
        ("NEVERSTALE_PORT_7380_TCP", "tcp://10.0.0.1:7380"),
        ("NEVERSTALE_SERVICE_HOST", "10.0.0.1"),
        ("NEVERSTALE_CONFIG", "neverstale.toml"),
        ("NEVERSTALE_FOO", "1"),
        ("HOME", "/root"),
    ];
    merged.add_environment(variables, &mut problems);
    L1Settings::read(&merged, &mut problems);
    TelemetrySettings::read(&merged, &mut problems);
    insta::assert_snapshot!(problems.to_string());
}

#[test]
fn a_file_that_is_no_toml_is_one_problem_with_its_line() {
    let (mut merged, mut problems) = (merged(), Problems::new());
    merged.add_file(
        Path::new("neverstale.toml"),
        "[cache.l1]\nbytes_max = \n",
        &mut problems,
    );
    insta::assert_snapshot!(problems.to_string());
}

#[test]
fn a_secret_is_neither_in_problems_nor_in_debug() {
    let (mut merged, mut problems) = (merged(), Problems::new());
    merged.add_file(
        Path::new("f"),
        "[database]\nurl = [\"hunter2\"]\napp_schema = 1",
        &mut problems,
    );
    merged.add_text("database.app_schema", "hunter2", Place::Flag("--x".into()));
    let settings = DatabaseSettings::read(&merged, &mut problems);
    assert_eq!(problems.iter().count(), 1);
    assert!(!format!("{problems} {merged:?} {:?}", settings.url).contains("hunter2"));
}

#[test]
fn texts_are_gathered_from_file_and_variables() {
    let (mut merged, mut problems) = (merged(), Problems::new());
    merged.add_file(Path::new("f"), "[telemetry.options]\na = \"1\"\nb = 2", &mut problems);
    merged.add_environment([("NEVERSTALE_TELEMETRY__OPTIONS__B", "3")], &mut problems);
    let options = TelemetrySettings::read(&merged, &mut problems).options;
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(
        options.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
        ["a=1", "b=3"]
    );
}

#[test]
fn an_empty_variable_takes_an_optional_value_back() {
    let (mut merged, mut problems) = (merged(), Problems::new());
    merged.add_file(Path::new("f"), "[database]\nurl = \"postgresql://a\"", &mut problems);
    merged.add_environment([("NEVERSTALE_DATABASE__URL", "")], &mut problems);
    assert!(DatabaseSettings::read(&merged, &mut problems).url.is_none());
}

#[test]
fn the_clients_variables_are_none_of_ours_and_their_neighbours_are_still_unknown() {
    let (mut merged, mut problems) = (merged(), Problems::new());
    let theirs = ["NEVERSTALE_URL", "NEVERSTALE_OPENWEBUI"].map(|name| (name, "unix:///run/neverstale/api.sock"));
    merged.add_environment(theirs, &mut problems);
    assert!(problems.is_empty(), "{problems}");
    let others = ["NEVERSTALE_URLS", "NEVERSTALE_DATABASE_URL", "NEVERSTALE_OPENWEBUI__X"].map(|name| (name, "1"));
    merged.add_environment(others, &mut problems);
    assert_eq!(problems.iter().count(), 3, "{problems}");
}

#[test]
fn the_applications_parts_make_a_url() {
    let (mut merged, mut problems) = (merged(), Problems::new());
    let variables = [
        ("DATABASE_USER", "a@b"),
        ("DATABASE_PASSWORD", "p w"),
        ("DATABASE_HOST", "db"),
        ("DATABASE_NAME", "n"),
    ];
    let variables: Vec<_> = variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    app_environment(&mut merged, &variables, &mut problems);
    let url = DatabaseSettings::read(&merged, &mut problems).url.unwrap();
    assert_eq!(url.expose(), "postgresql://a%40b:p%20w@db/n");
}

#[test]
fn the_documents_say_everything_about_each_option() {
    let sections = [L1Settings::spec(), DatabaseSettings::spec(), TelemetrySettings::spec()];
    insta::assert_snapshot!("markdown", markdown(&sections));
    insta::assert_snapshot!("schema", serde_json::to_string_pretty(&json_schema(&sections)).unwrap());
}

proptest! {
    /// Defaults < file < the application's variables < our variables < flags, for any subset of them.
    #[test]
    fn the_last_source_wins(
        file in proptest::option::of("[a-z]{1,8}"), app in proptest::option::of("[a-z]{1,8}"),
        ours in proptest::option::of("[a-z]{1,8}"), flag in proptest::option::of("[a-z]{1,8}"),
    ) {
        let (mut merged, mut problems) = (merged(), Problems::new());
        if let Some(text) = &file {
            merged.add_file(Path::new("f"), &format!("database.app_schema = \"{text}\""), &mut problems);
        }
        let mut variables: Vec<(String, String)> = Vec::new();
        variables.extend(app.clone().map(|text| ("DATABASE_SCHEMA".to_owned(), text)));
        variables.extend(ours.clone().map(|text| ("NEVERSTALE_DATABASE__APP_SCHEMA".to_owned(), text)));
        app_environment(&mut merged, &variables, &mut problems);
        merged.add_environment(variables.iter().map(|(name, text)| (name.as_str(), text.as_str())), &mut problems);
        if let Some(text) = &flag {
            merged.add_text("database.app_schema", text, Place::Flag("--database-app-schema".into()));
        }
        let read = DatabaseSettings::read(&merged, &mut problems).app_schema;
        prop_assert!(problems.is_empty());
        prop_assert_eq!(read, flag.or(ours).or(app).or(file).unwrap_or_else(|| "public".into()));
    }
}
