//! Everybody who may come to the door.

use neverstale_testkit::{Application, api_key};

use crate::question::session_token;

/// Somebody, and what he shows.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) name: &'static str,
    /// The id of the user whose the credential is; nobody's if it is none or worth nothing.
    pub(super) user: Option<&'static str>,
    pub(super) role: &'static str,
    pub(super) header: Option<String>,
}

/// All of them: see `world` for what is whose.
pub(super) fn actors(application: Application) -> Vec<Actor> {
    let session = |name, user: &'static str, role| {
        let stamp = if application == Application::OpenWebUi012 {
            format!("stamp-{}", user.trim_start_matches('u'))
        } else {
            String::new()
        };
        Actor {
            name,
            user: Some(user),
            role,
            header: Some(format!("Bearer {}", session_token(user, &stamp, None))),
        }
    };
    let key = |name, user, number| Actor {
        name,
        user,
        role: "user",
        header: Some(format!("Bearer {}", api_key(number))),
    };
    vec![
        session("super admin", "u1", "admin"),
        session("admin A", "u2", "admin"),
        session("admin B", "u3", "admin"),
        session("member of A's group", "u4", "user"),
        session("member of B's group", "u5", "user"),
        session("outsider", "u6", "user"),
        session("pending", "u7", "pending"),
        Actor {
            name: "anonymous",
            user: None,
            role: "",
            header: None,
        },
        key("API key of a member of A's group", Some("u4"), 4),
        key("revoked API key", None, 8),
    ]
}
