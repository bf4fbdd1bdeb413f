//! An answer, and why.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{Action, Grant, Permission, Principal, ResourceRef};

/// What made a decision allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// The super admin may do everything.
    SuperAdmin,
    /// It is the subject's own.
    Owner,
    /// It is granted to the subject, or to everybody.
    Direct,
    /// It is granted to a group of the subject's.
    Group,
    /// The application lets every admin do that.
    Admin,
}

impl Tier {
    /// The tier's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SuperAdmin => "super-admin",
            Self::Owner => "owner",
            Self::Direct => "direct",
            Self::Group => "group",
            Self::Admin => "admin",
        }
    }
}

/// What was looked for and not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookedFor {
    /// A user of that id.
    Subject,
    /// A role that may do anything at all.
    Role(String),
    /// The resource.
    Resource,
    /// That the resource is switched on.
    Active(ResourceRef),
    /// The owner, since no grant is enough for this action.
    Owner(Action),
    /// A grant to the subject, to everybody, or to a group of the subject's.
    Grant(Permission),
    /// A way to what the model is built on.
    Base(ResourceRef),
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// What allowed it.
    pub tier: Option<Tier>,
    /// The grant that allowed it.
    pub grant: Option<Grant>,
    /// What was missing.
    pub looked_for: Option<LookedFor>,
}

impl Decision {
    /// Allowed by a tier.
    pub(crate) fn by(tier: Tier) -> Self {
        Self {
            allowed: true,
            tier: Some(tier),
            grant: None,
            looked_for: None,
        }
    }

    /// Allowed by a grant.
    pub(crate) fn granted(tier: Tier, grant: Grant) -> Self {
        Self {
            grant: Some(grant),
            ..Self::by(tier)
        }
    }

    /// Refused.
    pub fn denied(looked_for: LookedFor) -> Self {
        Self {
            allowed: false,
            tier: None,
            grant: None,
            looked_for: Some(looked_for),
        }
    }
}

/// In the words of the contract.
impl Serialize for Decision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("allowed", &self.allowed)?;
        if let Some(tier) = &self.tier {
            map.serialize_entry("tier", tier)?;
        }
        if let Some(grant) = &self.grant {
            map.serialize_entry("grant", grant)?;
        }
        if let Some(looked_for) = &self.looked_for {
            map.serialize_entry("looked_for", &looked_for.to_string())?;
        }
        map.end()
    }
}

impl fmt::Display for LookedFor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject => formatter.write_str("a user of that id"),
            Self::Role(role) => write!(formatter, "a role that may use the application; this one is `{role}`"),
            Self::Resource => formatter.write_str("a resource of that id"),
            Self::Active(resource) => write!(formatter, "that {resource} is active"),
            Self::Owner(action) => write!(formatter, "ownership: no grant is enough to {action}"),
            Self::Grant(permission) => write!(
                formatter,
                "ownership, or a grant to {} for this user, a group of this user, or everybody",
                permission.name()
            ),
            Self::Base(resource) => write!(formatter, "a right to use {resource}, on which the model is built"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.tier, &self.grant, &self.looked_for) {
            (Some(tier), None, _) => write!(formatter, "allowed: {}", tier.name()),
            (Some(tier), Some(grant), _) => {
                write!(
                    formatter,
                    "allowed: {}, by the grant to {} for ",
                    tier.name(),
                    grant.permission.name()
                )?;
                match &grant.principal {
                    Principal::User(id) => write!(formatter, "user {id}"),
                    Principal::Group(id) => write!(formatter, "group {id}"),
                    Principal::Everyone => formatter.write_str("everybody"),
                }
            }
            (None, _, Some(looked_for)) => write!(formatter, "denied; looked for {looked_for}"),
            (None, _, None) => formatter.write_str("denied"),
        }
    }
}
