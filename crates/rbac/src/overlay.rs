//! The grants of what the application has none for: a document for each function and each pipeline, in our own schema.
//!
//! The document has the application's own shape, `{"read": {"group_ids": […], "user_ids": […]}, "write": …}`, and a star among
//! `user_ids` is everybody. Here it is edited, and here are the statements that read and write it; who runs them is others' business.

use serde_json::{Value, json};

use crate::{Grant, Principal, facts::EVERYONE};

/// Makes the row of a resource, private, where there is none: `$1` its type, `$2` its id.
pub const MAKE: &str = "INSERT INTO neverstale.access_overlay (resource_type, resource_id, access_control)
  VALUES ($1, $2, '{\"read\": {\"group_ids\": [], \"user_ids\": []}, \"write\": {\"group_ids\": [], \"user_ids\": []}}')
  ON CONFLICT DO NOTHING";

/// Locks the row of a resource and gives its document and its version: `$1` its type, `$2` its id.
pub const LOCK: &str = "SELECT o.access_control, o.version FROM neverstale.access_overlay AS o
  WHERE o.resource_type = $1 AND o.resource_id = $2 FOR UPDATE";

/// Replaces the document of a resource: `$1` its type, `$2` its id, `$3` the document.
pub const REPLACE: &str = "UPDATE neverstale.access_overlay SET access_control = $3, version = version + 1
  WHERE resource_type = $1 AND resource_id = $2";

/// Takes all grants away.
pub const EMPTY: &str = "DELETE FROM neverstale.access_overlay";

/// Adds a grant to a document; gives none if it is there already.
pub fn with_grant(document: &Value, grant: &Grant) -> Option<Value> {
    let (list, id) = place(grant);
    let mut ids = listed(document, grant, list);
    if ids.iter().any(|known| known == id) {
        return None;
    }
    ids.push(id.into());
    Some(replaced(document, grant, list, ids))
}

/// Takes a grant out of a document; gives none if it is not there.
pub fn without_grant(document: &Value, grant: &Grant) -> Option<Value> {
    let (list, id) = place(grant);
    let mut ids = listed(document, grant, list);
    let before = ids.len();
    ids.retain(|known| known != id);
    (ids.len() < before).then(|| replaced(document, grant, list, ids))
}

fn place(grant: &Grant) -> (&'static str, &str) {
    match &grant.principal {
        Principal::User(id) => ("user_ids", id),
        Principal::Group(id) => ("group_ids", id),
        Principal::Everyone => ("user_ids", EVERYONE),
    }
}

fn listed(document: &Value, grant: &Grant, list: &str) -> Vec<Value> {
    document[grant.permission.name()][list]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// What is no object grants nothing, and gives way.
fn replaced(document: &Value, grant: &Grant, list: &str, ids: Vec<Value>) -> Value {
    let object = |value: &Value| if value.is_object() { value.clone() } else { json!({}) };
    let mut new = object(document);
    let mut given = object(&new[grant.permission.name()]);
    given[list] = ids.into();
    new[grant.permission.name()] = given;
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Permission;

    fn grant(principal: Principal, permission: Permission) -> Grant {
        Grant { principal, permission }
    }

    #[test]
    fn a_grant_is_added_once_and_taken_out_again() {
        let group = grant(Principal::Group("g".into()), Permission::Read);
        let granted = with_grant(&json!({}), &group).unwrap();
        assert_eq!(granted, json!({"read": {"group_ids": ["g"]}}));
        assert_eq!(with_grant(&granted, &group), None);
        let both = with_grant(&granted, &grant(Principal::Everyone, Permission::Write)).unwrap();
        assert_eq!(
            both,
            json!({"read": {"group_ids": ["g"]}, "write": {"user_ids": ["*"]}})
        );
        let less = without_grant(&both, &group).unwrap();
        assert_eq!(less, json!({"read": {"group_ids": []}, "write": {"user_ids": ["*"]}}));
        assert_eq!(without_grant(&less, &group), None);
    }

    #[test]
    fn what_can_not_be_understood_grants_nothing_and_gives_way() {
        let user = grant(Principal::User("u".into()), Permission::Read);
        for odd in [
            json!(null),
            json!([]),
            json!({"read": 7}),
            json!({"read": {"user_ids": "u"}}),
        ] {
            assert_eq!(without_grant(&odd, &user), None, "{odd}");
            let granted = with_grant(&odd, &user).unwrap();
            assert_eq!(granted["read"]["user_ids"], json!(["u"]), "{odd}");
        }
    }
}
