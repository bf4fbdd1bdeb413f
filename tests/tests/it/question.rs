//! Everything that can be asked of a flavour about a small pool of keys: by HTTP, and straight from Postgres.

use std::fmt;

use anyhow::{Context, Result, ensure};
use jsonwebtoken::{EncodingKey, Header};
use neverstale_flavour::{Flavour, Read, Router};
use neverstale_testkit::{Answer, Client};
use serde_json::{Value, json};

use crate::straight::Truth;

/// The application's secret, with which it signs its session tokens.
pub(crate) const SESSION_SECRET: &str = "the application's own secret";

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// `GET` of a path.
    Get(String),
    /// Whose API key this is.
    Key(String),
    /// Whose session this is: a token of this user that bears this stamp.
    Session { user: String, stamp: String },
}

impl fmt::Display for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(path) => formatter.write_str(path),
            Self::Key(key) => write!(formatter, "key:{key}"),
            Self::Session { user, .. } => write!(formatter, "session:{user}"),
        }
    }
}

impl Question {
    /// The read behind the question.
    pub(crate) fn read(&self, router: &Router) -> Result<Read> {
        let read = match self {
            Self::Get(path) => Some(router.route(path).with_context(|| path.clone())?),
            Self::Key(key) => router.read_of("api-key", "api-keys:any", &[key]),
            Self::Session { user, .. } => {
                let session = router.flavour().session.as_ref().context("session rules")?;
                router.read_of(&session.view, "sessions:any", &[user])
            }
        };
        read.with_context(|| format!("the flavour has no view for {self}"))
    }

    /// Asks a sidecar. The client must be one that may see secrets.
    pub(crate) async fn ask(&self, client: &mut Client) -> Result<Answer> {
        let answer = match self {
            Self::Get(path) => client.get(path).await,
            Self::Key(key) => client.post("/v1/api-keys/resolve", &json!({"api_key": key})).await,
            Self::Session { user, stamp } => {
                let token = session_token(user, stamp, None);
                client.post("/v1/sessions/resolve", &json!({"token": token})).await
            }
        };
        answer.with_context(|| format!("ask {self}"))
    }

    /// Whether an answer says what is true; the error says how it differs.
    pub(crate) fn judge(&self, flavour: &Flavour, truth: &Truth, answer: &Answer) -> Result<()> {
        let truth = match self {
            Self::Session { stamp, .. } => &session(flavour, truth, stamp)?,
            _ => truth,
        };
        let is_true = match truth {
            Truth::Found(body) => answer.status == 200 && same_json(body, &answer.text()),
            Truth::Absent => answer.status == 404,
            Truth::Fails(_) => answer.status == 503,
        };
        ensure!(
            is_true,
            "{self} answers {} {} ({}), but the truth is {truth:?}",
            answer.status,
            answer.text(),
            answer.header("cache-status").unwrap_or("no Cache-Status"),
        );
        Ok(())
    }
}

/// Texts are compared first, because numbers such as 1.0 and 1 are equal to some readers of JSON and not to others.
fn same_json(one: &str, other: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || parsed(one).is_some_and(|one| Some(one) == parsed(other))
}

/// What resolving a session gives where its view gives `truth`.
fn session(flavour: &Flavour, truth: &Truth, stamp: &str) -> Result<Truth> {
    let Truth::Found(body) = truth else {
        return Ok(truth.clone());
    };
    let account: Value = serde_json::from_str(body)?;
    let rules = flavour.session.as_ref().context("session rules")?;
    let is_current = rules.stamp_claim.is_none() || account["session_stamp"] == stamp;
    Ok(match &account["user"] {
        user @ Value::Object(_) if is_current && account["active"] == true => Truth::Found(user.to_string()),
        _ => Truth::Absent,
    })
}

/// A session token as the application signs it, for an hour.
pub(crate) fn session_token(user: &str, stamp: &str, token_id: Option<&str>) -> String {
    let issued_at = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970")
        .as_secs();
    // Longer than any test: one of an hour ended in the middle of ten thousand tries.
    let mut claims = json!({"id": user, "session_stamp": stamp, "iat": issued_at, "exp": issued_at + 86_400});
    if let Some(token_id) = token_id {
        claims["jti"] = token_id.into();
    }
    let key = EncodingKey::from_secret(SESSION_SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).expect("claims can be signed")
}

/// The keys that questions are asked about.
pub(crate) struct Pool {
    pub(crate) users: &'static [&'static str],
    pub(crate) emails: &'static [&'static str],
    pub(crate) groups: &'static [&'static str],
    pub(crate) settings: &'static [&'static str],
    pub(crate) keys: &'static [&'static str],
    pub(crate) functions: &'static [&'static str],
    pub(crate) models: &'static [&'static str],
    pub(crate) tools: &'static [&'static str],
    pub(crate) resources: &'static [&'static str],
    pub(crate) stamps: &'static [&'static str],
}

impl Pool {
    /// All questions of a flavour about these keys: every view, every key that fits it.
    pub(crate) fn questions(&self, flavour: &Flavour) -> Vec<Question> {
        let session_view = flavour.session.as_ref().map(|session| session.view.as_str());
        let mut questions = Vec::new();
        for view in flavour.views.iter().filter(|view| view.kept) {
            if view.name == "api-key" {
                questions.extend(self.keys.iter().map(|key| Question::Key((*key).to_owned())));
                continue;
            }
            if session_view == Some(&view.name) {
                for (place, user) in self.users.iter().enumerate() {
                    let stamp = self.stamps[place % self.stamps.len()].to_owned();
                    let user = (*user).to_owned();
                    questions.push(Question::Session { user, stamp });
                }
                continue;
            }
            let variables: Vec<&str> = view.path_variables().collect();
            let pattern = view.path.as_ref().map_or_else(
                || {
                    format!(
                        "/v1/views/{}/{{{}}}",
                        view.name,
                        variables.first().copied().unwrap_or_default()
                    )
                },
                |path| path.as_str().replace("...}", "}"),
            );
            let fill =
                |path: &str, variable: &str, value: &str| path.replace(&format!("{{{variable}}}"), &encoded(value));
            match variables[..] {
                [] => questions.push(Question::Get(pattern)),
                [one] => {
                    let paths = self
                        .values(&view.name, one)
                        .iter()
                        .map(|value| fill(&pattern, one, value));
                    questions.extend(paths.map(Question::Get));
                }
                [kind, id, path] => {
                    let of = |function: &&str| {
                        fill(
                            &fill(&fill(&pattern, kind, "function"), id, function),
                            path,
                            "read.group_ids",
                        )
                    };
                    questions.extend(self.functions.iter().map(of).map(Question::Get));
                }
                // Every user about one setting, and one user about every setting.
                [user, setting, ..] => {
                    let pairs = self.users.iter().map(|user| (user, &self.settings[0]));
                    let more = self.settings[1..].iter().map(|setting| (&self.users[1], setting));
                    let paths = pairs
                        .chain(more)
                        .map(|(id, path)| fill(&fill(&pattern, user, id), setting, path));
                    questions.extend(paths.map(Question::Get));
                }
            }
            if view.name == "user-setting" {
                let asked = format!(
                    "/v1/users/{}/settings/{}?default=",
                    encoded(self.users[0]),
                    encoded(self.settings[0])
                );
                for default in ["1", "false", "%22x%22"] {
                    questions.push(Question::Get(format!("{asked}{default}")));
                }
            }
        }
        questions
    }

    fn values(&self, view: &str, variable: &str) -> &'static [&'static str] {
        match (view, variable) {
            ("group" | "group-members", _) => self.groups,
            ("function" | "access-function", _) => self.functions,
            ("model" | "access-model", _) => self.models,
            ("tool" | "access-tool", _) => self.tools,
            (_, "email") => self.emails,
            (_, "path") => self.settings,
            (_, "type") => &["all", "pipe"],
            (_, "owner") => &["all", "u1", "u2"],
            (_, "resource") => self.resources,
            _ => self.users,
        }
    }
}

/// Percent-encodes a value for one segment of a path.
fn encoded(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
