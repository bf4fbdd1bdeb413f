//! What each statement of the product answers, from one snapshot and from what stands outside of snapshots.
//!
//! A statement takes its snapshot first and reads sequences and locks a moment later, as a busy server does.

use std::sync::Arc;

use bytes::Bytes;
use neverstale_coherence::{
    Incarnation,
    safeguard::{Safeguard, stands},
};
use neverstale_flavour::ViewId;
use neverstale_postgres::{simulated::Asked, tag_of};

use super::{
    wire::{Kind, Value},
    world::{LOCK_CLASS, LogRow, State, World},
};

/// A prepared statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    /// One of the texts of `crates/postgres`.
    Asked(Asked),
    /// Asks for the relay's lock.
    TryRelay,
    /// Prunes the log.
    Prune,
}

impl Prepared {
    /// Types of the parameters.
    pub(super) fn params(&self) -> Vec<Kind> {
        match self {
            Self::Asked(Asked::Found) => vec![Kind::Name, Kind::NameArray],
            Self::Asked(Asked::Outstanding) | Self::TryRelay => vec![Kind::Int4],
            Self::Asked(Asked::LogPage) => vec![Kind::Int8, Kind::Int8],
            Self::Asked(Asked::Fill(_)) => vec![Kind::Text],
            Self::Asked(Asked::FillMany(views)) => vec![Kind::Text; views.len()],
            Self::Asked(Asked::Outset | Asked::Fence | Asked::NewestIntent) => Vec::new(),
            Self::Prune => vec![Kind::Int8],
        }
    }

    /// Names and types of the columns.
    pub(super) fn columns(&self) -> Vec<(&'static str, Kind)> {
        let kinds: &[Kind] = match self {
            Self::Asked(Asked::Found) => &[Kind::Text, Kind::Bool],
            Self::Asked(Asked::Outset) => &[Kind::Bytea, Kind::Int8, Kind::Int8, Kind::Int4, Kind::Bool],
            Self::Asked(Asked::Fence) => &[Kind::Bytea, Kind::Int8, Kind::Int4, Kind::Int8],
            Self::Asked(Asked::NewestIntent) => &[Kind::Bytea, Kind::Int8],
            Self::Asked(Asked::Outstanding) => &[Kind::Bytea, Kind::Int8Array, Kind::Int8Array, Kind::Bool],
            Self::Asked(Asked::LogPage) => &[
                Kind::Bytea,
                Kind::Int8,
                Kind::Int8,
                Kind::Int8,
                Kind::Int8,
                Kind::TextArray,
            ],
            Self::Asked(Asked::Fill(_) | Asked::FillMany(_)) => &[
                Kind::Int4,
                Kind::Bytea,
                Kind::Int8,
                Kind::Text,
                Kind::TextArray,
                Kind::Int8,
            ],
            Self::TryRelay => &[Kind::Bool],
            Self::Prune => &[Kind::Int8],
        };
        kinds.iter().map(|kind| ("?column?", *kind)).collect()
    }
}

/// What a statement sees: its snapshot, the server as it is a moment later, and whether the session's settings are whole.
pub(super) struct Sight<'a> {
    pub(super) snapshot: &'a Arc<State>,
    pub(super) world: &'a World,
    pub(super) is_set_up: bool,
}

impl Sight<'_> {
    /// The rows of an answer; `params` are as the driver encodes them.
    pub(super) fn answer(&self, asked: &Asked, params: &[Option<Bytes>]) -> Vec<Vec<Value>> {
        let state = self.snapshot;
        let number = |place: usize| -> i64 {
            let bytes = params
                .get(place)
                .and_then(Option::as_ref)
                .map_or(&[][..], |bytes| bytes);
            bytes.iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
        };
        let text = |place: usize| {
            let bytes = params
                .get(place)
                .and_then(Option::as_ref)
                .map_or(&[][..], |bytes| bytes);
            String::from_utf8_lossy(bytes).into_owned()
        };
        let newest = Value::Int8(state.newest() as i64);
        let pruned_to = Value::Int8(state.pruned_to as i64);
        let intent = Value::Int8(self.world.intent as i64);
        match asked {
            Asked::Found => texts(params.get(1).and_then(Option::as_ref))
                .into_iter()
                .map(|name| vec![Value::Text(name), Value::Bool(false)])
                .collect(),
            Asked::Outset => vec![vec![
                self.incarnation(),
                pruned_to,
                newest,
                Value::Int4(LOCK_CLASS),
                Value::Bool(false),
            ]],
            Asked::Fence => vec![vec![self.incarnation(), intent, Value::Int4(state.lease_ms), newest]],
            Asked::NewestIntent => vec![vec![self.incarnation(), intent]],
            Asked::Outstanding => vec![self.outstanding()],
            Asked::LogPage => self.log_page(number(0) as u64, number(1) as usize),
            Asked::Fill(view) => vec![self.fill(0, *view, &text(0))],
            Asked::FillMany(views) => {
                let places = views.iter().enumerate();
                places
                    .map(|(place, view)| self.fill(place, *view, &text(place)))
                    .collect()
            }
        }
    }

    fn incarnation(&self) -> Value {
        let named = self.world.incarnation(self.snapshot).filter(|_| self.is_set_up);
        named.map_or(Value::Null, |Incarnation(bytes)| Value::Bytes(bytes.to_vec()))
    }

    fn outstanding(&self) -> Vec<Value> {
        let of_class = |offset: i32| {
            self.world
                .advisory
                .iter()
                .filter(move |lock| lock.class == LOCK_CLASS + offset)
        };
        let objects = |offset| Value::Int8s(of_class(offset).map(|lock| i64::from(lock.object as u32)).collect());
        let is_named = |pid: i32| of_class(1).any(|lock| lock.pid == pid);
        let all_named = of_class(0)
            .filter(|lock| lock.object == 0)
            .all(|lock| is_named(lock.pid));
        vec![self.incarnation(), objects(1), objects(2), Value::Bool(all_named)]
    }

    fn log_page(&self, after: u64, rows_max: usize) -> Vec<Vec<Value>> {
        let state = self.snapshot;
        let head = [
            self.incarnation(),
            Value::Int8(state.pruned_to as i64),
            Value::Int8(state.newest() as i64),
        ];
        let row = |row: &LogRow| {
            let intent = row.intent.map_or(Value::Null, |intent| Value::Int8(intent as i64));
            let tags = Value::Texts(row.tags.iter().cloned().collect());
            [Value::Int8(row.position as i64), intent, tags]
        };
        let rows = state.log.iter().filter(|row| row.position > after).take(rows_max);
        let mut page: Vec<[Value; 3]> = rows.map(row).collect();
        if page.is_empty() {
            page.push([Value::Null, Value::Null, Value::Null]);
        }
        page.into_iter()
            .map(|row| head.iter().cloned().chain(row).collect())
            .collect()
    }

    fn fill(&self, place: usize, view: ViewId, key: &str) -> Vec<Value> {
        let body = body(self.snapshot, view, key).map_or(Value::Null, Value::Text);
        let as_of = if stands(Safeguard::AsOfSnapshot) {
            self.snapshot.newest()
        } else {
            self.world.snapshot().newest()
        };
        vec![
            Value::Int4(place as i32),
            self.incarnation(),
            Value::Int8(as_of as i64),
            body,
            Value::Texts(vec![view_tag(view, key)]),
            Value::Null,
        ]
    }
}

/// What a view of `app.toml` shows of a state; JSON as Postgres writes it.
pub(crate) fn body(state: &State, view: ViewId, key: &str) -> Option<String> {
    if view == PERSON {
        let person = state.persons.get(key)?;
        return Some(format!("{{\"id\" : \"{key}\", \"version\" : {}}}", person.version));
    }
    let members = state.persons.values().filter(|person| person.team == key);
    let versions: Vec<String> = members.map(|person| person.version.to_string()).collect();
    (!versions.is_empty()).then(|| format!("[{}]", versions.join(", ")))
}

/// The texts of a one-dimensional array as the driver encodes it: five numbers of four bytes, then each text behind its length.
fn texts(array: Option<&Bytes>) -> Vec<String> {
    let mut rest = array.map_or(&[][..], |array| array.get(20..).unwrap_or_default());
    let mut texts = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (text, others) = behind.split_at(u32::from_be_bytes(*length) as usize);
        texts.push(String::from_utf8_lossy(text).into_owned());
        rest = others;
    }
    texts
}

/// The first view of `app.toml`, one person by id; the other one gives a team.
const PERSON: ViewId = ViewId(0);

fn view_tag(view: ViewId, key: &str) -> String {
    if view == PERSON { person_tag(key) } else { team_tag(key) }
}

/// The tag of a row.
pub(super) fn person_tag(id: &str) -> String {
    format!("person.id:{id}")
}

/// The tag of a team.
pub(super) fn team_tag(team: &str) -> String {
    format!("person.team:{team}")
}

/// The advisory lock that marks a tag.
pub(super) fn mark(tag: &str) -> i32 {
    tag_of(tag).mark().0
}
