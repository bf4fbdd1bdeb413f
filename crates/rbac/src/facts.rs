//! What is known of subjects and resources: the bodies of the flavour's views `access-…`, parsed.
//!
//! Two shapes of grants come in, rows of `access_grant` and the document `access_control`, and one goes on. What has no shape that
//! is known grants nothing.

use std::collections::HashMap;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use crate::{DecideError, ResourceRef, ResourceType};

/// What a decision knows of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The id.
    pub id: String,
    /// The role.
    pub role: String,
    /// Whether this is the super admin, or one of them.
    pub super_admin: bool,
    /// Ids of the user's groups, and of their parents where the flavour has them; sorted.
    pub groups: Vec<String>,
    /// Ids of the groups that the user owns, where that counts; sorted.
    pub groups_owned: Vec<String>,
}

/// What a grant gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// To see and to use.
    Read,
    /// To change.
    Write,
}

impl Permission {
    /// The permission's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Whom a grant is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Principal {
    /// One user.
    User(String),
    /// The members of a group.
    Group(String),
    /// Everybody who is signed in.
    Everyone,
}

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grant {
    /// Whom it is for.
    pub principal: Principal,
    /// What it gives.
    pub permission: Permission,
}

/// In the words of the contract.
impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, id) = match &self.principal {
            Principal::User(id) => ("user", Some(id)),
            Principal::Group(id) => ("group", Some(id)),
            Principal::Everyone => ("everyone", None),
        };
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("permission", &self.permission)?;
        map.serialize_entry("principal_type", kind)?;
        map.serialize_entry("principal_id", &id)?;
        map.end()
    }
}

/// What a decision knows of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceFacts {
    /// Whose it is.
    pub owner: Option<String>,
    /// Of a function: pipe, filter or action.
    pub kind: Option<String>,
    /// Whether it is switched on; what can't be switched is.
    pub active: bool,
    /// Of a model: the model that it is built on.
    pub base: Option<String>,
    /// Whether its access was ever set.
    pub is_set: bool,
    /// Its grants.
    pub grants: Vec<Grant>,
    /// Of what is overlaid: the version of its grants.
    pub version: Option<i64>,
}

/// What a view told about resources: one and what it is built on, or all of a type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    resources: HashMap<ResourceRef, ResourceFacts>,
}

impl Subject {
    /// Reads the body of a flavour's view of subjects.
    ///
    /// # Errors
    /// [`DecideError::Unreadable`].
    pub fn parse(body: &[u8]) -> Result<Self, DecideError> {
        let raw: RawSubject = serde_json::from_slice(body).map_err(|_| DecideError::Unreadable)?;
        let sorted = |mut ids: Vec<String>| {
            ids.sort_unstable();
            ids
        };
        Ok(Self {
            id: raw.id,
            role: raw.role.unwrap_or_default(),
            super_admin: raw.super_admin.unwrap_or_default(),
            groups: sorted(raw.groups),
            groups_owned: sorted(raw.groups_owned),
        })
    }
}

impl Facts {
    /// Reads the body of a flavour's view of resources; an empty one is what a resource has that does not exist.
    ///
    /// # Errors
    /// [`DecideError::Unreadable`].
    pub fn parse(body: &[u8]) -> Result<Self, DecideError> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let raw: RawFacts = serde_json::from_slice(body).map_err(|_| DecideError::Unreadable)?;
        let resources = raw.resources.into_iter().map(RawResource::into_facts).collect();
        Ok(Self { resources })
    }

    /// What is known of a resource; nothing where it does not exist.
    pub fn get(&self, resource: &ResourceRef) -> Option<&ResourceFacts> {
        self.resources.get(resource)
    }

    /// All resources of a type, in no order.
    pub fn of_type(&self, kind: ResourceType) -> impl Iterator<Item = (&ResourceRef, &ResourceFacts)> {
        self.resources.iter().filter(move |(resource, _)| resource.kind == kind)
    }
}

#[derive(Deserialize)]
struct RawSubject {
    id: String,
    role: Option<String>,
    super_admin: Option<bool>,
    groups: Vec<String>,
    #[serde(default)]
    groups_owned: Vec<String>,
}

#[derive(Deserialize)]
struct RawFacts {
    resources: Vec<RawResource>,
}

#[derive(Deserialize)]
struct RawResource {
    #[serde(rename = "type")]
    kind: ResourceType,
    id: String,
    owner: Option<String>,
    #[serde(rename = "kind")]
    function_kind: Option<String>,
    active: Option<bool>,
    base: Option<String>,
    grants: Option<Vec<(String, String, String)>>,
    access_control: Option<Value>,
    version: Option<i64>,
}

impl RawResource {
    fn into_facts(self) -> (ResourceRef, ResourceFacts) {
        let is_set = self.access_control.is_some();
        let mut grants: Vec<Grant> = self.grants.into_iter().flatten().filter_map(from_row).collect();
        if let Some(document) = &self.access_control {
            from_document(document, self.kind, &mut grants);
        }
        let facts = ResourceFacts {
            owner: self.owner,
            kind: self.function_kind,
            active: self.active.unwrap_or(true),
            base: self.base,
            is_set,
            grants,
            version: self.version,
        };
        (ResourceRef::new(self.kind, self.id), facts)
    }
}

/// A grant without a sign-in (`anyone`) is none here: whoever honours it does so before anybody is asked who he is.
fn from_row((principal_type, principal_id, permission): (String, String, String)) -> Option<Grant> {
    let principal = match principal_type.as_str() {
        "user" if principal_id == EVERYONE => Principal::Everyone,
        "user" => Principal::User(principal_id),
        "group" => Principal::Group(principal_id),
        _ => return None,
    };
    let permission = match permission.as_str() {
        "read" => Permission::Read,
        "write" => Permission::Write,
        _ => return None,
    };
    Some(Grant { principal, permission })
}

fn from_document(document: &Value, kind: ResourceType, grants: &mut Vec<Grant>) {
    for permission in [Permission::Read, Permission::Write] {
        let given = &document[permission.name()];
        let ids = |list: &'static str| {
            let ids = given[list].as_array().into_iter().flatten();
            ids.filter_map(Value::as_str)
        };
        // In documents of the application the star is nobody.
        let user = |id: &str| match id {
            EVERYONE if kind.is_overlaid() => Principal::Everyone,
            id => Principal::User(id.to_owned()),
        };
        grants.extend(ids("user_ids").map(|id| Grant {
            principal: user(id),
            permission,
        }));
        grants.extend(ids("group_ids").map(|id| Grant {
            principal: Principal::Group(id.to_owned()),
            permission,
        }));
    }
}

/// How grants write everybody.
pub(crate) const EVERYONE: &str = "*";
