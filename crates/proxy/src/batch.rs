//! `POST /v1/batch`: several reads, all answered from one state.
//!
//! All of them are first looked up in L1 by their paths as they stand, as a single read is (`hit`); only where that fails is
//! anything routed. What the caller has already, by its ETag, is answered without its body.

use std::borrow::Cow;

use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;
use neverstale_cache::{BatchAnswer, Entry, Level};
use neverstale_flavour::{Read, Router};
use neverstale_lifecycle::random_u64;
use neverstale_listener::Body;
use neverstale_wire::{Problem, ProblemKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::{access::Grant, dispatch::Call, problem::Failure, respond};

/// Longer paths are refused.
pub(crate) const PATH_CHARS_MAX: usize = 2_048;

/// What the router encodes in a value too, so that a path with its default is spelled as the read's key.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question<'q> {
    #[serde(borrow)]
    reads: Vec<Spelled<'q>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Spelled<'q> {
    Path(#[serde(borrow)] Cow<'q, str>),
    Object(#[serde(borrow)] Object<'q>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'q> {
    #[serde(borrow)]
    path: Cow<'q, str>,
    default: Option<serde_json::Value>,
    #[serde(borrow, default)]
    etag: Option<Cow<'q, str>>,
}

/// One read as it was asked: its path with its whole query, and the ETag of what the caller has.
struct Asked<'q> {
    path: Cow<'q, str>,
    etag: Option<Cow<'q, str>>,
}

/// What became of one of the paths: a read, or the problem that it would be by itself.
type Routed = Result<Read, Problem>;

pub(crate) async fn answer(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Failure> {
    let body = call.body(body).await?;
    let asked = parse(&body, call.shared.settings.batch_reads_max as usize)?;
    let cache = &call.shared.cache;
    let keys = asked.iter().map(|asked| &*asked.path);
    if let Some(hit) = cache.hit_all(keys, call.asked.level) {
        offer(call, &asked, &hit);
        let told = hit
            .entries
            .iter()
            .map(|entry| guard(call.grant, entry.is_secret, &**entry));
        return Ok(respond(&asked, told, &hit));
    }
    let routed: Vec<Routed> = asked
        .iter()
        .map(|asked| route(&call.shared.router, &asked.path, call.grant))
        .collect();
    let reads: Vec<Read> = routed.iter().flatten().cloned().collect();
    let answered = if reads.is_empty() {
        BatchAnswer {
            entries: Vec::new(),
            sources: Vec::new(),
            token: cache.position(call.deadline).await?,
            kept: Level::FullyConsistent,
        }
    } else {
        cache.read_all(&reads, call.asked.level, call.deadline).await?
    };
    let mut entries = answered.entries.iter();
    let told = routed.iter().map(|routed| match routed {
        Ok(_) => Ok(&**entries.next().expect("the cache answers each read")),
        Err(problem) => Err(problem.clone()),
    });
    Ok(respond(&asked, told, &answered))
}

fn parse(body: &[u8], reads_max: usize) -> Result<Vec<Asked<'_>>, Failure> {
    let expected = || {
        Failure::malformed(r#"the body is not {"reads": ["/v1/…", {"path": "/v1/…", "default": …, "etag": "…"}, …]}"#)
    };
    let question: Question<'_> = serde_json::from_slice(body).map_err(|_| expected())?;
    if question.reads.is_empty() || question.reads.len() > reads_max {
        return Err(Failure::malformed(format!("a batch has 1 to {reads_max} reads")));
    }
    let is_path = |spelled: &Spelled<'_>| {
        let (Spelled::Path(path) | Spelled::Object(Object { path, .. })) = spelled;
        path.starts_with("/v1/") && (path.len() <= PATH_CHARS_MAX || path.chars().count() <= PATH_CHARS_MAX)
    };
    if !question.reads.iter().all(is_path) {
        return Err(Failure::malformed(format!(
            "a path does not begin with /v1/, or is longer than {PATH_CHARS_MAX} characters"
        )));
    }
    Ok(question.reads.into_iter().map(Asked::from).collect())
}

impl<'q> From<Spelled<'q>> for Asked<'q> {
    /// Writes a default as the query parameter that it stands for.
    fn from(spelled: Spelled<'q>) -> Self {
        match spelled {
            Spelled::Path(path) => Self { path, etag: None },
            Spelled::Object(Object {
                path,
                default: None,
                etag,
            }) => Self { path, etag },
            Spelled::Object(Object {
                path,
                default: Some(default),
                etag,
            }) => {
                let separator = if path.contains('?') { '&' } else { '?' };
                let default = default.to_string();
                let path = format!("{path}{separator}default={}", utf8_percent_encode(&default, VALUE));
                Self {
                    path: path.into(),
                    etag,
                }
            }
        }
    }
}

fn route(router: &Router, path: &str, grant: Grant) -> Routed {
    let read = router.route(path).map_err(|error| Failure::from(error).problem)?;
    guard(grant, router.flavour().view(read.view).secret, read)
}

/// Lets the auditor have one of the answers, if it wants one: each time another.
fn offer(call: &Call<'_>, asked: &[Asked<'_>], answered: &BatchAnswer) {
    let auditor = &call.shared.auditor;
    if !auditor.wants() {
        return;
    }
    let place = random_u64() as usize % asked.len();
    if let Ok(read) = call.shared.router.route(&asked[place].path) {
        auditor.offer(&read, &answered.entries[place], answered.sources[place]);
    }
}

/// Secrets are for those who may have them; the other answers of the batch are for everybody.
fn guard<T>(grant: Grant, is_secret: bool, answer: T) -> Result<T, Problem> {
    if is_secret && !grant.secrets {
        Err(ProblemKind::SecretNeedsToken.into())
    } else {
        Ok(answer)
    }
}

fn respond<'a>(
    asked: &[Asked<'_>],
    told: impl Iterator<Item = Result<&'a Entry, Problem>>,
    answered: &BatchAnswer,
) -> Response<Body> {
    respond::json(write(asked, told, answered), answered.token, answered.kept)
}

fn write<'a>(
    asked: &[Asked<'_>],
    told: impl Iterator<Item = Result<&'a Entry, Problem>>,
    answered: &BatchAnswer,
) -> Bytes {
    let bodies: usize = answered.entries.iter().map(|entry| entry.body.len()).sum();
    let mut json = Vec::with_capacity(bodies + 128 * (asked.len() + 1));
    json.extend_from_slice(format!("{{\"position\":\"{}\",\"answers\":[", answered.token).as_bytes());
    for (place, (asked, told)) in asked.iter().zip(told).enumerate() {
        if place > 0 {
            json.push(b',');
        }
        match told {
            Ok(entry) if entry.is_found => push_entry(&mut json, entry, asked.etag.as_deref()),
            Ok(_) => push_problem(&mut json, &ProblemKind::NotFound.into()),
            Err(problem) => push_problem(&mut json, &problem),
        }
    }
    json.extend_from_slice(b"]}");
    json.into()
}

/// The ETag is told as the header would be, its quotes included.
fn push_entry(json: &mut Vec<u8>, entry: &Entry, known: Option<&str>) {
    let etag = entry.etag.as_bytes();
    let is_known = known.is_some_and(|known| known.as_bytes() == etag);
    let status: &[u8] = if is_known { b"304" } else { b"200" };
    let inner = etag.strip_prefix(b"\"").and_then(|etag| etag.strip_suffix(b"\""));
    json.extend_from_slice(b"{\"status\":");
    json.extend_from_slice(status);
    json.extend_from_slice(b",\"etag\":\"\\\"");
    json.extend_from_slice(inner.expect("an ETag of ours is in quotes"));
    json.extend_from_slice(b"\\\"\"");
    if !is_known {
        json.extend_from_slice(b",\"body\":");
        json.extend_from_slice(&entry.body);
    }
    json.push(b'}');
}

fn push_problem(json: &mut Vec<u8>, problem: &Problem) {
    json.extend_from_slice(format!("{{\"status\":{},\"body\":", problem.status()).as_bytes());
    json.extend_from_slice(&problem.to_json());
    json.push(b'}');
}

#[cfg(test)]
mod tests {
    use neverstale_coherence::{Incarnation, Position, Stamp};
    use neverstale_wire::Token;

    use super::*;

    #[test]
    fn a_batch_is_a_bounded_list_of_paths() {
        let count = |text: &str| parse(text.as_bytes(), 2).ok().map(|asked| asked.len());
        assert_eq!(
            count(r#"{"reads":["/v1/config",{"path":"/v1/x","default":null,"etag":null}]}"#),
            Some(2)
        );
        for wrong in [
            r#"{"reads":[]}"#,
            r#"{"reads":["/v1/a","/v1/b","/v1/c"]}"#,
            r#"{"reads":["/v2/a"]}"#,
            r#"{"reads":[1]}"#,
            r#"{"reads":[{"path":"/v1/a","defaults":1}]}"#,
            r#"{"reads":[{"path":"/v1/a","etag":["x"]}]}"#,
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
    fn a_default_is_spelled_as_the_key_spells_it() {
        let body = r#"{"reads":[{"path":"/v1/a","default":{"x-y.z":[1,"ä"]}},{"path":"/v1/a?b=1","default":0}]}"#;
        let asked = parse(body.as_bytes(), 2).unwrap();
        assert_eq!(
            asked[0].path,
            "/v1/a?default=%7B%22x-y.z%22%3A%5B1%2C%22%C3%A4%22%5D%7D"
        );
        assert_eq!(asked[1].path, "/v1/a?b=1&default=0");
    }

    #[test]
    fn answers_come_in_the_order_asked_with_problems_in_their_places() {
        let (first, absent) = (entry(Some("[1]")), entry(None));
        let json = written(
            &[None, None, None],
            vec![Ok(&first), Err(ProblemKind::NotInThisSchema.into()), Ok(&absent)],
        );
        assert_eq!(json["position"], TOKEN.to_string());
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

    #[test]
    fn what_the_caller_has_is_answered_without_its_body_and_nothing_else_is() {
        let (found, absent) = (entry(Some("[1]")), entry(None));
        let etag = found.etag.to_str().unwrap();
        let of_absent = absent.etag.to_str().unwrap();
        let json = written(
            &[Some(etag), Some(etag.trim_matches('"')), Some("*"), Some(of_absent)],
            vec![Ok(&found), Ok(&found), Ok(&found), Ok(&absent)],
        );
        let answers = &json["answers"];
        assert_eq!(answers[0], serde_json::json!({ "status": 304, "etag": etag }));
        for place in [1, 2] {
            let whole = serde_json::json!({ "status": 200, "etag": etag, "body": [1] });
            assert_eq!(answers[place], whole);
        }
        assert_eq!(
            (&answers[3]["status"], &answers[3]["etag"]),
            (&404.into(), &serde_json::Value::Null)
        );
    }

    const TOKEN: Token = Token {
        incarnation: Incarnation([1; 16]),
        position: Position(7),
    };

    fn entry(body: Option<&'static str>) -> Entry {
        let stamp = Stamp {
            incarnation: TOKEN.incarnation,
            as_of: TOKEN.position,
            tags: Box::default(),
            not_after: None,
        };
        Entry::new(stamp, body.map(|body| Bytes::from_static(body.as_bytes())), false)
    }

    fn written(etags: &[Option<&str>], told: Vec<Result<&Entry, Problem>>) -> serde_json::Value {
        let asked = etags.iter().map(|etag| Asked {
            path: "/v1/x".into(),
            etag: etag.map(Cow::from),
        });
        let asked: Vec<_> = asked.collect();
        let answered = BatchAnswer {
            entries: Vec::new(),
            sources: Vec::new(),
            token: TOKEN,
            kept: Level::FullyConsistent,
        };
        serde_json::from_slice(&write(&asked, told.into_iter(), &answered)).unwrap()
    }
}
