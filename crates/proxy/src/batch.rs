//! `POST /v1/batch`: several reads, all answered from one state.

use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;
use neverstale_cache::{BatchAnswer, Level};
use neverstale_flavour::{Read, Router};
use neverstale_wire::{Problem, ProblemKind};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::{body::Body, dispatch::Call, problem::Failure, respond};

/// Longer paths are refused.
pub(crate) const PATH_CHARS_MAX: usize = 2_048;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    reads: Vec<Asked>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Asked {
    Path(String),
    WithDefault(WithDefault),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithDefault {
    path: String,
    default: Option<serde_json::Value>,
}

/// What became of one of the paths: a read, or the problem that it would be by itself.
type Routed = Result<Read, Problem>;

pub(crate) async fn answer(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Failure> {
    let body = call.body(body).await?;
    let question = parse(&body, call.shared.settings.batch_reads_max as usize)?;
    let routed: Vec<Routed> = question
        .reads
        .into_iter()
        .map(|asked| route(&call.shared.router, asked))
        .collect();
    let flavour = call.shared.router.flavour();
    let is_secret = |read: &Read| flavour.view(read.view).secret;
    if !call.grant.secrets && routed.iter().flatten().any(is_secret) {
        return Err(ProblemKind::SecretNeedsToken.into());
    }
    let reads: Vec<Read> = routed.iter().flatten().cloned().collect();
    let answered = if reads.is_empty() {
        let token = call.shared.cache.position(call.deadline).await?;
        BatchAnswer {
            entries: Vec::new(),
            token,
            kept: Level::FullyConsistent,
        }
    } else {
        call.shared
            .cache
            .read_all(&reads, call.asked.level, call.deadline)
            .await?
    };
    Ok(respond::json(write(&routed, &answered), answered.token, answered.kept))
}

fn parse(body: &[u8], reads_max: usize) -> Result<Question, Failure> {
    let expected =
        || Failure::malformed("the body is not {\"reads\": [\"/v1/…\", {\"path\": \"/v1/…\", \"default\": …}, …]}");
    let question: Question = serde_json::from_slice(body).map_err(|_| expected())?;
    if question.reads.is_empty() || question.reads.len() > reads_max {
        return Err(Failure::malformed(format!("a batch has 1 to {reads_max} reads")));
    }
    let is_path = |asked: &Asked| {
        let (Asked::Path(path) | Asked::WithDefault(WithDefault { path, .. })) = asked;
        path.starts_with("/v1/") && path.chars().count() <= PATH_CHARS_MAX
    };
    if !question.reads.iter().all(is_path) {
        return Err(Failure::malformed(format!(
            "a path does not begin with /v1/, or is longer than {PATH_CHARS_MAX} characters"
        )));
    }
    Ok(question)
}

/// Routes one path, its default as the query parameter that it stands for.
fn route(router: &Router, asked: Asked) -> Routed {
    let path = match asked {
        Asked::Path(path) | Asked::WithDefault(WithDefault { path, default: None }) => path,
        Asked::WithDefault(WithDefault {
            path,
            default: Some(default),
        }) => {
            let separator = if path.contains('?') { '&' } else { '?' };
            let default = default.to_string();
            format!(
                "{path}{separator}default={}",
                utf8_percent_encode(&default, NON_ALPHANUMERIC)
            )
        }
    };
    router.route(&path).map_err(|error| Failure::from(error).problem)
}

fn write(routed: &[Routed], answered: &BatchAnswer) -> Bytes {
    let bodies: usize = answered.entries.iter().map(|entry| entry.body.len()).sum();
    let mut json = Vec::with_capacity(bodies + 128 * (routed.len() + 1));
    json.extend_from_slice(format!("{{\"position\":\"{}\",\"answers\":[", answered.token).as_bytes());
    let mut entries = answered.entries.iter();
    for (place, routed) in routed.iter().enumerate() {
        if place > 0 {
            json.push(b',');
        }
        match routed {
            Ok(_) => {
                let entry = entries.next().expect("the cache answers each read");
                if entry.is_found {
                    push(&mut json, 200, &entry.body);
                } else {
                    push_problem(&mut json, &ProblemKind::NotFound.into());
                }
            }
            Err(problem) => push_problem(&mut json, problem),
        }
    }
    json.extend_from_slice(b"]}");
    json.into()
}

fn push_problem(json: &mut Vec<u8>, problem: &Problem) {
    push(json, problem.status(), &problem.to_json());
}

fn push(json: &mut Vec<u8>, status: u16, body: &[u8]) {
    json.extend_from_slice(format!("{{\"status\":{status},\"body\":").as_bytes());
    json.extend_from_slice(body);
    json.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use neverstale_cache::Entry;
    use neverstale_coherence::{Incarnation, Position, Stamp};
    use neverstale_flavour::ViewId;
    use neverstale_wire::Token;

    use super::*;

    #[test]
    fn a_batch_is_a_bounded_list_of_paths() {
        let count = |text: &str| parse(text.as_bytes(), 2).ok().map(|question| question.reads.len());
        assert_eq!(
            count(r#"{"reads":["/v1/config",{"path":"/v1/x","default":null}]}"#),
            Some(2)
        );
        for wrong in [
            r#"{"reads":[]}"#,
            r#"{"reads":["/v1/a","/v1/b","/v1/c"]}"#,
            r#"{"reads":["/v2/a"]}"#,
            r#"{"reads":[1]}"#,
            r#"{"reads":[{"path":"/v1/a","defaults":1}]}"#,
            r#"{"reads":["/v1/a"],"level":"x"}"#,
            "[]",
            "",
        ] {
            assert_eq!(count(wrong), None, "{wrong}");
        }
        let long = format!("/v1/{}", "é".repeat(PATH_CHARS_MAX - 3));
        assert_eq!(count(&format!("{{\"reads\":[\"{long}\"]}}")), None);
    }

    #[test]
    fn answers_come_in_the_order_asked_with_problems_in_their_places() {
        let token = Token {
            incarnation: Incarnation([1; 16]),
            position: Position(7),
        };
        let stamp = || Stamp {
            incarnation: token.incarnation,
            as_of: token.position,
            tags: Box::default(),
            not_after: None,
        };
        let entry = |body: Option<&'static str>| {
            Arc::new(Entry::new(
                stamp(),
                body.map(|body| Bytes::from_static(body.as_bytes())),
                false,
            ))
        };
        let read = || {
            Ok(Read {
                view: ViewId(0),
                key: "k".into(),
                params: smallvec::SmallVec::new(),
            })
        };
        let routed = [read(), Err(ProblemKind::NotInThisSchema.into()), read()];
        let answered = BatchAnswer {
            entries: vec![entry(Some("[1]")), entry(None)],
            token,
            kept: Level::FullyConsistent,
        };
        let json: serde_json::Value = serde_json::from_slice(&write(&routed, &answered)).unwrap();
        assert_eq!(json["position"], token.to_string());
        let statuses: Vec<_> = json["answers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|answer| answer["status"].as_u64().unwrap())
            .collect();
        assert_eq!(statuses, [200, 404, 404]);
        assert_eq!(json["answers"][0]["body"], serde_json::json!([1]));
        assert_eq!(
            json["answers"][1]["body"]["type"],
            "urn:neverstale:problem:not-in-this-schema"
        );
    }
}
