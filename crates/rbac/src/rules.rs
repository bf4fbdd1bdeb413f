//! The rules of a flavour, as the decision reads them: a table, made once from the flavour's own.

use neverstale_flavour::{AccessRules, AccessType};

use crate::{Action, Permission, ResourceType};

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Roles that may do anything at all; the others may nothing, whatever they own.
    pub roles: Vec<String>,
    /// The role that [`TypeRules::admins`] speaks of.
    pub admin_role: String,
    types: [Option<TypeRules>; ResourceType::ALL.len()],
}

/// The rules for one type of resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeRules {
    /// What a grant must give, by action; `None` where no grant is enough.
    pub needs: [Option<Permission>; Action::ALL.len()],
    /// Whether a resource whose access was never set may be read by everybody.
    pub unset_is_public: bool,
    /// Whether every admin may do everything.
    pub admins: bool,
    /// Whether admins may also use what no row speaks of.
    pub unregistered: bool,
    /// Whether a grant of `write` gives `read` too.
    pub write_reads: bool,
    /// Whether who owns a group counts as a member of it.
    pub group_owners: bool,
    /// Whether what a resource is built on must be readable too.
    pub bases: bool,
}

impl Rules {
    /// Reads the rules of a flavour.
    pub fn new(access: &AccessRules) -> Self {
        let rules_of = |kind: ResourceType| {
            let found = access.types.iter().find(|one| one.name == kind.name());
            found.map(TypeRules::new)
        };
        Self {
            roles: access.roles.clone(),
            admin_role: access.admin_role.clone(),
            types: ResourceType::ALL.map(rules_of),
        }
    }

    /// The rules for a type; none where the flavour has none, and then nobody may do anything.
    pub fn of(&self, kind: ResourceType) -> Option<&TypeRules> {
        self.types[kind as usize].as_ref()
    }
}

impl TypeRules {
    fn new(access: &AccessType) -> Self {
        let needs = |action: Action| match access.needs.get(action.name()).map(String::as_str) {
            Some("read") => Some(Permission::Read),
            Some("write") => Some(Permission::Write),
            _ => None,
        };
        Self {
            needs: Action::ALL.map(needs),
            unset_is_public: access.unset_is_public,
            admins: access.admins,
            unregistered: access.unregistered,
            write_reads: access.write_reads,
            group_owners: access.group_owners,
            bases: access.bases,
        }
    }

    /// What a grant must give for an action.
    pub fn needs(&self, action: Action) -> Option<Permission> {
        self.needs[action as usize]
    }
}
