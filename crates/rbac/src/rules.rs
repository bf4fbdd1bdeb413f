//! The rules of a flavour, as the decision reads them: a table, made once from the flavour's own.

use neverstale_flavour::{AccessRules, AccessType};

use crate::{Action, Permission, ResourceFacts, ResourceType};

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Roles that may do anything at all; the others may nothing, whatever they own.
    pub roles: Vec<String>,
    /// The role that [`AccessType::admins`] speaks of.
    pub admin_role: String,
    types: Box<[Option<TypeRules>]>,
}

/// The rules for one type of resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeRules {
    /// As the flavour gives them.
    pub table: AccessType,
    needs: [Option<Permission>; Action::ALL.len()],
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
            types: ResourceType::ALL.map(rules_of).into(),
        }
    }

    /// Whether everybody may see and use a resource because its access was never set.
    pub fn is_open(&self, kind: ResourceType, known: &ResourceFacts) -> bool {
        self.of(kind).is_some_and(|rules| rules.is_open(known))
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
            table: access.clone(),
        }
    }

    /// As [`Rules::is_open`], of a resource of this type.
    pub(crate) fn is_open(&self, known: &ResourceFacts) -> bool {
        self.table.unset_is_public && !known.is_set
    }

    /// What a grant must give for an action; `None` where no grant is enough.
    pub fn needs(&self, action: Action) -> Option<Permission> {
        self.needs[action as usize]
    }
}
