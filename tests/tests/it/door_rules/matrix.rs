//! Every actor on every guarded route of every flavour.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{Application, Client};
use serde_json::Value;

use super::{
    Doors,
    actors::{Actor, actors},
    expected::{is_allowed, may},
    requests::{Check, Route, list_answer, routes},
};

/// What a mode other than the matrix' own leaves to other tests.
const PLAIN: [(&str, &str); 2] = [("AUTOCOMPLETION_OFF", "false"), ("TITLE_MODEL", "")];

async fn send(client: &mut Client, actor: &Actor, route: &Route, owner: &str) -> Result<neverstale_testkit::Answer> {
    let ask = route.ask(owner);
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(actor.header.iter().map(|value| ("Authorization", value.as_str())));
    let has_body = !matches!(ask.method.as_str(), "GET" | "HEAD");
    let body = if has_body { ask.body.to_string() } else { String::new() };
    client.send(&ask.method, &ask.target, &headers, body.as_bytes()).await
}

/// The ids that an answer lists, at the place of the rule.
fn listed<'a>(answer: &'a Value, check: &Check) -> Vec<&'a Value> {
    let steps: Vec<&str> = check.place.trim_start_matches("body:/").split('/').collect();
    let (name, way) = (steps[steps.len() - 1], &steps[..steps.len() - 2]);
    let array = way.iter().fold(answer, |value, step| &value[*step]);
    array
        .as_array()
        .into_iter()
        .flatten()
        .map(|element| &element[name])
        .collect()
}

async fn matrix(application: Application) -> Result<usize> {
    let doors = Doors::open(application, 1, &PLAIN).await?;
    let (actors, routes) = (actors(application), routes(application.name())?);
    let mut asked = 0;
    for actor in &actors {
        let mut client = doors.client(0);
        for route in routes
            .iter()
            .filter(|route| route.is_guarded() && route.method != "WEBSOCKET")
        {
            for owner in ["a", "b"] {
                let what = format!("{}: {} on {} of {owner}", application.name(), actor.name, route.on());
                let list = route.rule.get("list").map(|_| list_answer(route));
                doors
                    .upstream
                    .will_answer(list.as_ref().map_or("{\"ok\":true}", |(answer, _)| answer), false);
                let answer = send(&mut client, actor, route, owner)
                    .await
                    .with_context(|| what.clone())?;
                asked += 1;
                let reached = doors.upstream.take_reached();
                let is_allowed = is_allowed(application, route, actor, owner);
                ensure!(
                    reached.len() == usize::from(is_allowed),
                    "{what}: must{} be allowed, and {reached:?} reached the application; the answer was {} {}",
                    if is_allowed { "" } else { " not" },
                    answer.status,
                    answer.text()
                );
                if !is_allowed {
                    let is_as_the_application =
                        matches!(answer.status, 401 | 403) && answer.json()?["detail"].is_string();
                    ensure!(
                        is_as_the_application,
                        "{what}: refused with {} {}",
                        answer.status,
                        answer.text()
                    );
                    continue;
                }
                ensure!(answer.status == 200, "{what}: {} {}", answer.status, answer.text());
                let Some((_, ids)) = list else {
                    continue;
                };
                let check = &route.checks()[0];
                let is_kept = |of: &str| match of {
                    "nobody" => check.is_if_known || actor.user == Some("u1"),
                    of => may(application, actor, check, of),
                };
                let expected: Vec<&String> = ids.iter().filter(|(of, _)| is_kept(of)).map(|(_, id)| id).collect();
                let shown = answer.json()?;
                ensure!(listed(&shown, check) == expected, "{what}: {shown} is not {expected:?}");
            }
        }
    }
    Ok(asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_what_the_rules_of_0_12_say_and_nothing_else() {
    assert!(matrix(Application::OpenWebUi012).await.unwrap() > 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_what_the_rules_of_0_6_say_and_nothing_else() {
    assert!(matrix(Application::OpenWebUi06).await.unwrap() > 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_what_the_rules_of_naga_say_and_nothing_else() {
    assert!(matrix(Application::Naga0518).await.unwrap() > 2_000);
}

/// Without the safeguard: whoever only observes lets everything through, and has counted all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_that_only_observes_refuses_nothing_and_writes_everything_down() {
    let application = Application::OpenWebUi012;
    let doors = Doors::open(application, 1, &[("MODE", "observe")]).await.unwrap();
    let (actors, routes) = (actors(application), routes(application.name()).unwrap());
    let actor = actors.iter().find(|actor| actor.name == "outsider").unwrap();
    let mut client = doors.client(0);
    let mut refused_otherwise = BTreeSet::new();
    for route in routes
        .iter()
        .filter(|route| route.is_guarded() && route.method != "WEBSOCKET")
    {
        let answer = send(&mut client, actor, route, "a").await.unwrap();
        assert_eq!(answer.status, 200, "{}: {}", route.on(), answer.text());
        assert_eq!(doors.upstream.take_reached().len(), 1, "{}", route.on());
        if !is_allowed(application, route, actor, "a") {
            refused_otherwise.insert(route.on());
        }
    }
    let observed = doors.counted("observed").await.unwrap();
    assert!(observed >= refused_otherwise.len() && observed > 200, "{observed}");
    assert_eq!(doors.counted("refused").await.unwrap(), 0);
    let log = doors.house.sidecars[0].log();
    assert!(
        log.contains("a request is not allowed") && log.contains("DELETE /api/v1/functions/id/{id}/delete"),
        "{log}"
    );
    assert!(
        !log.contains("Bearer") && !log.contains("sk-"),
        "no secret is written down"
    );
}
