use std::collections::BTreeMap;

use super::*;
use crate::model::Param;

const GOOD: &str = r#"name = "mine"
description = "one table"
[detect]
requires = ["user.id"]
[[table]]
name = "user"
columns = ["id", "role"]
[[table.tag]]
name = "user.id"
key = ["id"]
[options.mode]
default = "a"
help = "which"
[session]
algorithm = "HS256"
id_claim = "id"
view = "user"
[[setting]]
path = "rag.top_k"
default = 3
[[view]]
name = "user"
path = "/v1/users/{id}"
params = ["{id}", "option:mode", '?default={"a": [1,  2]}', "settings"]
sql = '''
SELECT (SELECT json_build_object('role', u.role, 'mode', $2, 'default', $3::json, 'all', $4::json)
        FROM app."user" AS u WHERE u.id = $1) AS body,
       ARRAY[neverstale.tag('user.id', $1)] AS tags,
       NULL::bigint AS not_after
'''
"#;

#[test]
fn a_good_file_becomes_a_flavour() {
    let flavour = Flavour::parse(GOOD, "mine.toml").unwrap();
    assert_eq!(flavour.views[0].tables, ["user"]);
    assert_eq!(
        flavour.views[0].params[2],
        Param::Query {
            name: "default".to_owned(),
            default: r#"{"a":[1,2]}"#.to_owned()
        }
    );
    assert_eq!(
        flavour.settings_catalogue(),
        r#"{"rag.top_k":{"default":3,"secret":false}}"#
    );
}

#[test]
fn a_file_on_disk_is_loaded_and_a_missing_one_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.toml");
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(Flavour::load(&path).unwrap().name, "mine");
    let error = Flavour::load(&directory.path().join("other.toml")).unwrap_err();
    assert!(error.to_string().contains("other.toml:0: the file can't be read"));
}

#[test]
fn each_mistake_is_reported_with_its_line_and_reason() {
    for (find, replacement, line, reason) in [
        ("name = \"mine\"", "name = \"mi ne\"", 1, "is no name for a flavour"),
        ("description =", "describe =", 2, "unknown field `describe`"),
        (
            "requires = [\"user.id\"]",
            "requires = []",
            1,
            "every schema would match",
        ),
        (
            "requires = [\"user.id\"]",
            "requires = [\"user\"]",
            4,
            "not of the form table.column",
        ),
        (
            "columns = [\"id\", \"role\"]",
            "columns = [\"id\", \"id\", \"role\"]",
            7,
            "named twice",
        ),
        (
            "columns = [\"id\", \"role\"]",
            "columns = [\"id\"]",
            27,
            "column `role` of `user`",
        ),
        (
            "key = [\"id\"]",
            "key = [\"identity\"]",
            10,
            "not among the watched columns",
        ),
        ("key = [\"id\"]", "keys = [\"id\"]", 10, "unknown field `keys`"),
        ("key = [\"id\"]", "each = \"role\"\nkey = [\"id\"]", 9, "mixes `each`"),
        (
            "key = [\"id\"]",
            "key = [\"id\", \"role\"]\nlower = true",
            9,
            "exactly one key column",
        ),
        ("default = \"a\"", "default = 1", 12, "invalid type"),
        ("view = \"user\"\n", "view = \"nobody\"\n", 17, "session view `nobody`"),
        (
            "path = \"/v1/users/{id}\"",
            "path = \"/v1/users/{name}\"",
            23,
            "variable `name` is no parameter",
        ),
        (
            "path = \"/v1/users/{id}\"",
            "path = \"/v1/users\"",
            23,
            "parameter `{id}` is not in the path",
        ),
        (
            "path = \"/v1/users/{id}\"",
            "path = \"/v2/users/{id}\"",
            23,
            "outside of /v1/",
        ),
        (
            "path = \"/v1/users/{id}\"",
            "path = \"/v1/users/{ID}\"",
            23,
            "bad segment",
        ),
        ("option:mode", "option:moods", 24, "no option `moods`"),
        ("?default={", "?default={{", 24, "is not JSON"),
        ("\"settings\"]", "\"setting\"]", 24, "not understood"),
        (
            "WHERE u.id = $1) AS body",
            "WHERE u.role = $1) AS body",
            27,
            "is not bound",
        ),
        ("sql = '''", "sql = 7 '''", 25, ""),
    ] {
        assert!(GOOD.contains(find), "{find}");
        let error = Flavour::parse(&GOOD.replacen(find, replacement, 1), "mine.toml").unwrap_err();
        assert!(error.reason.contains(reason), "{replacement}: {error}");
        assert_eq!(error.line, line, "{replacement}: {error}");
        assert!(error.to_string().starts_with(&format!("mine.toml:{line}: ")) && !error.next_step.is_empty());
    }
}

#[test]
fn names_are_unique_and_paths_unambiguous() {
    let view = &GOOD[GOOD.find("[[view]]").unwrap()..];
    let error = |more: &str| {
        Flavour::parse(&format!("{GOOD}{more}"), "mine.toml")
            .unwrap_err()
            .reason
    };
    assert!(error(view).contains("view `user` is declared twice"));
    assert!(
        error(&view.replace("\"user\"\n", "\"other\"\n")).contains("catches the same requests as that of view `user`")
    );
    assert!(error("[[table]]\nname = \"user\"\ncolumns = []\n").contains("table `user` is declared twice"));
    assert!(
        error("[[table]]\nname = \"group\"\ncolumns = [\"id\"]\n[[table.tag]]\nname = \"user.id\"\n")
            .contains("tag rule `user.id` is declared twice")
    );
    assert!(error("[[setting]]\npath = \"rag.top_k\"\n").contains("declared twice"));
}

#[test]
fn answers_that_are_not_kept_are_under_no_path_and_not_asked_by_name() {
    let whole = "\n[[view]]\nname = \"all\"\nparams = [\"{limit}\"]\nkept = false\nsql = '''\nSELECT (SELECT json_agg(u.name) FROM (SELECT n.name FROM app.\"user\" AS n LIMIT $1::int) AS u) AS body, ARRAY[]::text[] AS tags, NULL::bigint AS not_after'''\n";
    let flavour = std::sync::Arc::new(Flavour::parse(&format!("{GOOD}{whole}"), "mine.toml").unwrap());
    let router = crate::Router::new(flavour, &BTreeMap::new()).unwrap();
    assert!(router.read_of("all", "", &["3"]).is_some());
    assert_eq!(router.route("/v1/views/all/3"), Err(crate::RouteError::NotInThisSchema));
    let with_path = whole.replace("kept", "path = \"/v1/all/{limit}\"\nkept");
    let error = Flavour::parse(&format!("{GOOD}{with_path}"), "mine.toml").unwrap_err();
    assert!(error.reason.contains("under no path"), "{error}");
}
