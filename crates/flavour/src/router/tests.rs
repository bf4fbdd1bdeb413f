use super::*;

fn router(name: &str) -> Router {
    let flavour = Flavour::parse(Flavour::builtin(name).unwrap(), name).unwrap();
    Router::new(Arc::new(flavour), &BTreeMap::new()).unwrap()
}

fn routed(path: &str) -> (String, String, Vec<String>) {
    let router = router("openwebui-0.12");
    let read = router.route(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    (
        router.flavour().view(read.view).name.clone(),
        read.key.into(),
        read.params.into_iter().collect(),
    )
}

#[test]
fn contract_paths_reach_their_views() {
    for (path, view) in [
        ("/v1/users/u1", "user"),
        ("/v1/users/by-email/a@x.org", "user-by-email"),
        ("/v1/users/u1/role", "user-role"),
        ("/v1/users/u1/groups", "user-groups"),
        ("/v1/users/u1/permissions", "user-permissions"),
        ("/v1/users/u1/settings", "user-settings"),
        ("/v1/users/u1/settings/rag.top_k", "user-setting"),
        ("/v1/users/u1/virtual-keys", "virtual-keys"),
        ("/v1/users/u1/virtual-keys/openai.api_keys", "virtual-key"),
        ("/v1/config", "config"),
        ("/v1/config/ui.note", "config-path"),
        ("/v1/views/group/g1", "group"),
        ("/v1/views/user/u1", "user"),
    ] {
        assert_eq!(routed(path).0, view, "{path}");
    }
}

#[test]
fn every_spelling_of_one_question_has_one_key() {
    let spellings = [
        "/v1/users/a%40x/settings/rag.top_k?default=%7B%22a%22%3A+1%7D",
        "/v1/users/a@x/settings/r%61g.top_k?default={\"a\":%201}&",
        "/v1/users/%61%40x/settings/rag.top%5Fk?default=%7b%22a%22:1%7d",
    ];
    for path in spellings {
        let (_, key, params) = routed(path);
        assert_eq!(key, "/v1/users/a%40x/settings/rag.top_k?default=%7B%22a%22%3A1%7D");
        assert_eq!(params, ["a@x", "rag.top_k", r#"{"a":1}"#]);
    }
    // The default that is assumed anyway is no part of the key.
    assert_eq!(
        routed("/v1/users/u/settings/a?default=null").1,
        routed("/v1/users/u/settings/a").1
    );
    assert_eq!(routed("/v1/views/user/u1").1, routed("/v1/users/u1").1);
    assert_eq!(
        routed("/v1/views/access-grants/model:a/b").1,
        "/v1/views/access-grants/model%3Aa/b"
    );
    assert_eq!(routed("/v1/users/u%2F1/role").2[0], "u/1");
}

#[test]
fn no_two_questions_share_a_key() {
    let questions = [
        "/v1/users/a%2Frole",
        "/v1/users/a/role",
        "/v1/users/a%3Fb",
        "/v1/users/a%25",
        "/v1/users/A",
        "/v1/users/a",
        "/v1/users/ä",
        "/v1/config/a%3Fdefault=1",
        "/v1/users/u/settings/a?default=1",
        "/v1/users/u/settings/a%3Fdefault=1",
    ];
    let mut keys: Vec<String> = questions.iter().map(|path| routed(path).1).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), questions.len(), "{keys:?}");
}

#[test]
fn badly_filled_paths_say_why() {
    let router = router("openwebui-0.12");
    let long = format!("/v1/users/{}", "a".repeat(1_025));
    for (path, reason) in [
        ("/v1/users/a%00b", "NUL"),
        ("/v1/users/a%0", "percent"),
        ("/v1/users/%zz", "percent"),
        ("/v1/users/%ff", "UTF-8"),
        (long.as_str(), "longer than 1024"),
        ("/v1/users/u1?x=1", "unknown query parameter"),
        ("/v1/users/u1/settings/a?default", "has no value"),
        ("/v1/users/u1/settings/a?default=x", "not JSON"),
        ("/v1/users/u1/settings/a?default=1&default=1", "given twice"),
        ("/v1/users/u1/settings/a?default=%22%5Cu0000%22", "NUL"),
    ] {
        match router.route(path) {
            Err(RouteError::Malformed(said)) => assert!(said.contains(reason), "{path}: {said}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[test]
fn paths_that_are_not_served_are_told_apart() {
    let mut flavour = Flavour::parse(Flavour::builtin("naga-0.5.18").unwrap(), "naga").unwrap();
    flavour.views.retain(|view| view.name != "user-groups");
    let router = Router::new(Arc::new(flavour), &BTreeMap::new()).unwrap();
    for path in [
        "/v1/users/u1/groups",
        "/v1/views/access-grants/model:x",
        "/v1/views/api-key/sk-1",
        "/v1/views/session/u1",
        "/v1/views/user-setting/u1",
    ] {
        assert_eq!(router.route(path), Err(RouteError::NotInThisSchema), "{path}");
    }
    for path in [
        "/",
        "",
        "/v1",
        "/v1/users",
        "/v1/users/",
        "/v1/users/u1/",
        "/v1/users//role",
        "/v2/users/u1",
        "/v1/views/user",
        "/v1/views/user/",
        "/v1/user/u1",
        "v1/users/u1",
    ] {
        assert_eq!(router.route(path), Err(RouteError::UnknownPath), "{path}");
    }
}

#[test]
fn a_named_read_takes_its_key_from_the_caller() {
    let router = router("openwebui-0.12");
    let read = router.read_of("api-key", "api-keys:abc", &["sk-1"]).unwrap();
    assert_eq!(
        (&*read.key, &read.params[..]),
        ("api-keys:abc", &["sk-1".to_owned(), "honour".to_owned()][..])
    );
    assert_eq!(router.read_of("api-key", "k", &[]), None);
    assert_eq!(router.read_of("nothing", "k", &["x"]), None);
}

#[test]
fn options_are_checked_and_bound() {
    let flavour = Arc::new(Flavour::parse(Flavour::builtin("openwebui-0.12").unwrap(), "x").unwrap());
    let error = Router::new(flavour.clone(), &BTreeMap::from([("nope".to_owned(), String::new())])).unwrap_err();
    assert!(error.to_string().contains("api_key_expiry"), "{error}");
    let router = Router::new(
        flavour,
        &BTreeMap::from([("super_admin_emails".to_owned(), "a@x".to_owned())]),
    )
    .unwrap();
    assert_eq!(router.route("/v1/users/u1/role").unwrap().params[1], "a@x");
}
