use std::collections::BTreeMap;

use super::*;
use crate::check::{self, Keeping};

fn builtins() -> Vec<Flavour> {
    Flavour::BUILTIN_NAMES
        .into_iter()
        .map(|name| Flavour::parse(Flavour::builtin(name).unwrap(), name).unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

#[test]
fn the_built_in_flavours_load_under_their_names() {
    let names: Vec<String> = builtins().into_iter().map(|flavour| flavour.name).collect();
    assert_eq!(names, Flavour::BUILTIN_NAMES);
    assert_eq!((Flavour::builtin("other"), schema_fixture("other")), (None, None));
}

#[test]
fn exactly_the_columns_that_views_read_are_watched() {
    for flavour in builtins() {
        let mut read: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for view in flavour.views.iter().filter(|view| view.kept) {
            for (table, columns) in check::check(&view.sql, view.params.len(), &flavour.tables, Keeping::Kept)
                .unwrap()
                .columns
            {
                read.entry(table).or_default().extend(columns);
            }
        }
        let watched: BTreeMap<String, BTreeSet<String>> = flavour
            .tables
            .iter()
            .map(|table| (table.name.clone(), table.columns.iter().cloned().collect()))
            .collect();
        assert_eq!(watched, read, "{}", flavour.name);
    }
}

#[test]
fn each_flavour_serves_the_whole_contract() {
    for flavour in builtins() {
        let paths: BTreeSet<&str> = flavour
            .views
            .iter()
            .filter_map(|view| view.path.as_ref())
            .map(crate::PathPattern::as_str)
            .collect();
        for path in crate::router::CONTRACT_PATHS
            .iter()
            .filter(|path| !path.starts_with("/v1/views"))
        {
            assert!(paths.contains(path), "{} lacks {path}", flavour.name);
        }
        for view in [
            "api-key",
            "session",
            "group",
            "group-members",
            "function",
            "functions",
            "model",
            "models",
            "tool",
            "tools",
            "user-resources",
        ] {
            assert!(
                flavour.view_named(view).is_some(),
                "{} lacks the view {view}",
                flavour.name
            );
        }
        let secret: Vec<&str> = flavour
            .views
            .iter()
            .filter(|view| view.secret)
            .map(|view| view.name.as_str())
            .collect();
        // What an adapter reads are whole rows.
        let (adapter, others): (Vec<&str>, Vec<&str>) = secret.into_iter().partition(|name| name.starts_with("app-"));
        assert_eq!(others, ["virtual-key", "own-setting", "config-value", "api-key"]);
        let told = flavour.views.iter().filter(|view| view.name.starts_with("app-"));
        assert_eq!(told.count(), adapter.len(), "{}: whole rows are secret", flavour.name);
    }
}

#[test]
fn the_schema_replaces_only_the_placeholder() {
    let replaced = replace_schema(
        "SELECT 'app.x', \"app.y\", snapp.z -- app.c\n, a.app.b /* app. */ FROM app.\"user\", (app.t) WHERE 'it''s app.'",
        "\"my app\".",
    );
    assert_eq!(
        replaced,
        "SELECT 'app.x', \"app.y\", snapp.z -- app.c\n, a.app.b /* app. */ FROM \"my app\".\"user\", (\"my app\".t) WHERE 'it''s app.'"
    );
    let flavour = &builtins()[0];
    assert!(
        flavour
            .view_sql(ViewId(0), "odd\"name")
            .contains("FROM \"odd\"\"name\".\"user\"")
    );
}

#[test]
fn the_specification_follows_what_an_installation_depends_on() {
    let mut flavour = builtins().remove(0);
    let hash = flavour.specification("public");
    assert_eq!(hash.len(), 64);
    assert_ne!(hash, flavour.specification("other"));
    flavour.views.clear();
    assert_eq!(hash, flavour.specification("public"));
    flavour.tables[0].columns.push("more".to_owned());
    assert_ne!(hash, flavour.specification("public"));
}
