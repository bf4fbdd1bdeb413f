//! People and groups as a person reads them: names beside ids, and by which way somebody is in a group.
//!
//! The body of the flavour's view of everybody, parsed. What a decision knows of each of them follows from it; that this is what the
//! view of one user says, by which decisions are made elsewhere, is compared on random worlds.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use crate::{DecideError, Subject};

/// Some people and all groups.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    people: Vec<Person>,
    /// Places among the people, by the id of who is there.
    by_id: Vec<usize>,
    /// How many people there are altogether.
    pub people_total: usize,
    groups: HashMap<String, RawGroup>,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name; empty where there is none.
    pub name: String,
    /// The e-mail address; empty where there is none.
    pub email: String,
    /// What decisions rest on.
    pub subject: Subject,
    /// Ids of the groups in which the user is listed; sorted.
    pub listed: Vec<String>,
}

impl Roster {
    /// Reads the body of a flavour's view of everybody.
    ///
    /// # Errors
    /// [`DecideError::Unreadable`].
    pub fn parse(body: &[u8]) -> Result<Self, DecideError> {
        let raw: RawRoster = serde_json::from_slice(body).map_err(|_| DecideError::Unreadable)?;
        let groups = raw.groups.into_iter().map(|group| (group.id.clone(), group)).collect();
        let mut roster = Self {
            people: Vec::with_capacity(raw.people.len()),
            by_id: (0..raw.people.len()).collect(),
            people_total: raw.total,
            groups,
        };
        for raw in raw.people {
            let person = roster.person(raw);
            roster.people.push(person);
        }
        let id = |place: usize| roster.people[place].subject.id.as_str();
        roster.by_id.sort_unstable_by(|one, other| id(*one).cmp(id(*other)));
        Ok(roster)
    }

    /// The people, by name.
    pub fn people(&self) -> &[Person] {
        &self.people
    }

    /// The person of an id, if among these.
    pub fn find(&self, id: &str) -> Option<&Person> {
        let person = |place: usize| &self.people[place];
        let found = self
            .by_id
            .binary_search_by(|place| person(*place).subject.id.as_str().cmp(id));
        Some(person(self.by_id[found.ok()?]))
    }

    /// The name of a group; empty where it has none.
    pub fn group(&self, id: &str) -> Option<&str> {
        self.groups
            .get(id)
            .map(|group| group.name.as_deref().unwrap_or_default())
    }

    /// The shortest way by which somebody is in a group: the group in which he is listed, its parent, and so on up to it. Empty for
    /// one who is not in it, or is its owner alone.
    pub fn way(&self, person: &Person, group: &str) -> Vec<&str> {
        let ways = person.listed.iter().map(|listed| self.upwards(listed));
        let ways = ways.filter_map(|mut way| {
            let end = way.iter().position(|id| *id == group)?;
            way.truncate(end + 1);
            Some(way)
        });
        ways.min_by_key(Vec::len).unwrap_or_default()
    }

    fn person(&self, raw: RawPerson) -> Person {
        let mut listed = raw.groups.unwrap_or_default();
        listed.retain(|id| self.groups.contains_key(id));
        listed.sort_unstable();
        let above: HashSet<&str> = listed.iter().flat_map(|id| self.upwards(id)).collect();
        let mut groups: Vec<String> = above.into_iter().map(str::to_owned).collect();
        groups.sort_unstable();
        let mut groups_owned = raw.groups_owned.unwrap_or_default();
        groups_owned.sort_unstable();
        Person {
            name: raw.name,
            email: raw.email,
            subject: Subject {
                id: raw.id,
                role: raw.role.unwrap_or_default(),
                super_admin: raw.super_admin.unwrap_or_default(),
                groups,
                groups_owned,
            },
            listed,
        }
    }

    /// A group and its ancestors, as far as they exist; groups in a circle are each there once.
    fn upwards(&self, id: &str) -> Vec<&str> {
        let mut way: Vec<&str> = Vec::new();
        let mut next = self.groups.get(id);
        while let Some(group) = next
            && !way.contains(&&*group.id)
        {
            way.push(&group.id);
            next = group.parent.as_ref().and_then(|parent| self.groups.get(parent));
        }
        way
    }
}

#[derive(Deserialize)]
struct RawRoster {
    people: Vec<RawPerson>,
    groups: Vec<RawGroup>,
    total: usize,
}

#[derive(Deserialize)]
struct RawPerson {
    id: String,
    name: String,
    email: String,
    role: Option<String>,
    super_admin: Option<bool>,
    groups: Option<Vec<String>>,
    groups_owned: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
struct RawGroup {
    id: String,
    name: Option<String>,
    parent: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster() -> Roster {
        let body = r#"{"total": 9, "people": [{"id": "u1", "name": "Ann", "email": "", "role": "user", "super_admin": false, "groups": ["berlin", "gone", "ring1"]}],
            "groups": [{"id": "berlin", "name": "Berlin", "parent": "sales"}, {"id": "sales", "name": "Sales", "parent": "all"}, {"id": "all", "name": null, "parent": "missing"},
                       {"id": "ring1", "name": "1", "parent": "ring2"}, {"id": "ring2", "name": "2", "parent": "ring1"}, {"id": "other", "name": "Other"}]}"#;
        Roster::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn people_are_in_the_order_in_which_they_came_and_found_by_their_ids() {
        let person = |id: usize| format!(r#"{{"id": "u{id}", "name": "{id}", "email": ""}}"#);
        let people: Vec<String> = (0..50).map(|place| person(place * 37 % 50)).collect();
        let body = format!(r#"{{"total": 50, "groups": [], "people": [{}]}}"#, people.join(", "));
        let roster = Roster::parse(body.as_bytes()).unwrap();
        assert_eq!(roster.people()[1].name, "37");
        for id in 0..50 {
            assert_eq!(roster.find(&format!("u{id}")).unwrap().name, id.to_string());
        }
        assert_eq!(roster.find("u50"), None);
        assert_eq!(roster.find(""), None);
    }

    #[test]
    fn who_is_in_a_group_is_in_all_above_it_also_in_a_circle() {
        let roster = roster();
        let person = roster.find("u1").unwrap();
        assert_eq!(person.listed, ["berlin", "ring1"]);
        assert_eq!(person.subject.groups, ["all", "berlin", "ring1", "ring2", "sales"]);
    }

    #[test]
    fn the_way_into_a_group_is_told_from_below() {
        let roster = roster();
        let person = roster.find("u1").unwrap();
        assert_eq!(roster.way(person, "all"), ["berlin", "sales", "all"]);
        assert_eq!(roster.way(person, "ring2"), ["ring1", "ring2"]);
        assert_eq!(roster.way(person, "other"), [""; 0]);
        assert_eq!((roster.group("all"), roster.group("missing")), (Some(""), None));
    }
}
