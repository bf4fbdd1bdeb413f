//! The rules are complete: every route that the application lists has one, and no rule is about a route that is not there.

use super::*;

const FLAVOURS: [(&str, &str); 3] = [
    (
        "openwebui-0.12",
        include_str!("../../../tests/routes/openwebui-0.12.txt"),
    ),
    ("openwebui-0.6", include_str!("../../../tests/routes/openwebui-0.6.txt")),
    ("naga-0.5.18", include_str!("../../../tests/routes/naga-0.5.18.txt")),
];

fn routes(flavour: &str) -> Routes {
    Routes::parse(Routes::builtin(flavour).unwrap()).unwrap()
}

/// A request for a listed route, its variables filled in.
fn request(on: &str) -> (Method, bool, String) {
    let (method, path) = on.split_once(' ').unwrap();
    let filled = path.split('/').map(|piece| match piece.strip_prefix('{') {
        Some(name) if name.ends_with(":path}") => "some/where",
        Some(_) => "something",
        None => piece,
    });
    let filled = filled.collect::<Vec<_>>().join("/");
    match method {
        "MOUNT" => (
            Method::GET,
            false,
            format!("{}/index.html", filled.trim_end_matches('/')),
        ),
        "WEBSOCKET" => (Method::GET, true, filled),
        method => (method.parse().unwrap(), false, filled),
    }
}

fn taken<'r>(routes: &'r Routes, method: &Method, path: &str) -> Option<&'r Route> {
    match routes.take(method, false, path) {
        Taken::Route(route) => Some(route),
        _ => None,
    }
}

#[test]
fn every_route_of_the_application_has_a_rule_and_every_rule_a_route() {
    for (flavour, listed) in FLAVOURS {
        let routes = routes(flavour);
        let listed: Vec<&str> = listed.lines().collect();
        let ruled: Vec<&str> = routes.names().collect();
        let missing: Vec<_> = listed.iter().filter(|on| !ruled.contains(on)).collect();
        let invented: Vec<_> = ruled.iter().filter(|on| !listed.contains(on)).collect();
        assert!(
            missing.is_empty() && invented.is_empty(),
            "{flavour}: no rule for {missing:?}, no route for {invented:?}"
        );
        assert_eq!(listed, ruled, "{flavour}: routes are tried in the application's order");
    }
}

#[test]
fn every_route_takes_its_own_requests() {
    for (flavour, listed) in FLAVOURS {
        let routes = routes(flavour);
        for on in listed.lines() {
            let (method, is_upgrade, path) = request(on);
            let Taken::Route(route) = routes.take(&method, is_upgrade, &path) else {
                panic!("{flavour}: {method} {path} takes no route");
            };
            assert_eq!(route.on, on, "{flavour}: {method} {path}");
        }
    }
}

#[test]
fn whatever_needs_a_decision_is_below_a_path_where_the_unknown_is_shut() {
    for (flavour, _) in FLAVOURS {
        let routes = routes(flavour);
        for route in &routes.all {
            let path = route.on.split_once(' ').unwrap().1;
            let is_open = matches!(route.rule, Rule::Open | Rule::Application);
            assert!(is_open || routes.is_guarded(path), "{flavour}: {}", route.on);
        }
    }
}

#[test]
fn what_no_route_takes_is_unknown_and_shut_below_the_guarded_paths() {
    let routes = routes("openwebui-0.12");
    let unknown = |method: &Method, path: &str| matches!(routes.take(method, false, path), Taken::UnknownAndGuarded);
    assert!(unknown(&Method::GET, "/api/v1/functions/id/f/source"));
    assert!(unknown(&Method::PATCH, "/api/v1/functions/id/f"));
    assert!(unknown(&Method::GET, "/api/v2/functions/"));
    assert!(unknown(&Method::HEAD, "/api/v1/functions/"));
    assert!(!unknown(&Method::GET, "/assets/page.js"));
    assert_eq!(taken(&routes, &Method::GET, "/assets/page.js").unwrap().on, "MOUNT /");
    let page = taken(&routes, &Method::GET, "/API/V1/FUNCTIONS/");
    assert_eq!(page.unwrap().on, "MOUNT /", "the application minds the case");
}

#[test]
fn a_slash_at_the_end_more_or_less_is_the_same_route() {
    let routes = routes("openwebui-0.12");
    let on = |path: &str| taken(&routes, &Method::GET, path).map(|route| route.on.as_str());
    assert_eq!(on("/api/v1/functions"), Some("GET /api/v1/functions/"));
    assert_eq!(on("/api/v1/functions/id/f/"), Some("GET /api/v1/functions/id/{id}"));
    let route = taken(&routes, &Method::GET, "/api/v1/functions/id/f/").unwrap();
    assert_eq!(route.variable("/api/v1/functions/id/f/", "id"), Some("f"));
}

#[test]
fn a_request_that_only_looks_like_an_upgrade_is_judged_as_what_it_may_become() {
    let routes = routes("openwebui-0.12");
    let Taken::Route(route) = routes.take(&Method::GET, true, "/api/v1/functions/id/f") else {
        panic!("it takes no route");
    };
    assert_eq!(route.on, "GET /api/v1/functions/id/{id}");
}

#[test]
fn a_line_that_says_nothing_or_too_much_is_refused() {
    for (line, reason) in [
        (r#"on = "GET /a""#, "exactly one"),
        (r#"on = "GET /a", open = "x", allow = "admins""#, "exactly one"),
        (r#"on = "GET /a", open = """#, "reason is missing"),
        (r#"on = "GET /a", application = """#, "reason is missing"),
        (r#"on = "GET /a", check = []"#, "exactly one"),
        (
            r#"on = "GET /a", check = ["read function path:id"]"#,
            "no variable `id`",
        ),
        (r#"on = "GET /a/{id}", check = ["look function path:id"]"#, "look"),
        (r#"on = "GET /a/{id}", check = ["read thing path:id"]"#, "thing"),
        (r#"on = "GET /a/{id}", check = ["read pipeline path:id"]"#, "server"),
        (r#"on = "GET /a", list = "read function body:/id""#, "a list is named"),
        (r#"on = "GET /a", open = "x", hide = ["valves"]"#, "belongs to"),
        (r#"on = "FETCH /a", open = "x""#, "no method"),
        (r#"on = "GET a", open = "x""#, "slash"),
    ] {
        let builtin = Routes::builtin("openwebui-0.12").unwrap();
        let answers = builtin.split_once("[answers]").unwrap().1;
        let text = format!("guarded = []\nroute = [{{ {line} }}]\n[answers]{answers}");
        let RoutesError::Route { reason: found, .. } = Routes::parse(&text).unwrap_err() else {
            panic!("{line} is no line at all");
        };
        assert!(found.contains(reason), "{line}: {found}");
    }
}
