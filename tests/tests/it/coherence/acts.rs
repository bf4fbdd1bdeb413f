//! The acts of the story: what is written, by plain SQL, and which answers that must change.

mod groups;
mod keys;
mod settings;
mod users;
mod writers;

use neverstale_testkit::Application;

use self::{
    groups::{groups_by_list, groups_by_rows, groups_with_parents},
    keys::{keys_by_rows, keys_in_users, resources, sessions_by_stamp},
    settings::{settings_by_admin, settings_by_document, settings_by_rows},
    users::{roles, users},
    writers::{bulk, truncation, unusual_writers},
};

/// One act.
pub(super) enum Act {
    /// A transaction, after which these answers differ from before.
    Write {
        name: &'static str,
        sql: String,
        changes: Vec<&'static str>,
    },
    /// A transaction that sets an end; when time has come to it, this answer is gone.
    Time {
        name: &'static str,
        sql: String,
        changes: &'static str,
    },
}

fn write(name: &'static str, sql: impl Into<String>, changes: &[&'static str]) -> Act {
    Act::Write {
        name,
        sql: sql.into(),
        changes: changes.to_vec(),
    }
}

/// The story of an application.
pub(super) fn acts(application: Application) -> Vec<Act> {
    let mut acts = roles();
    acts.extend(match application {
        Application::OpenWebUi012 => [
            groups_by_rows(),
            groups_with_parents(),
            settings_by_rows(),
            keys_by_rows(),
            sessions_by_stamp(),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>(),
        Application::OpenWebUi06 => [groups_by_rows(), settings_by_document(), keys_by_rows()]
            .into_iter()
            .flatten()
            .collect(),
        Application::Naga0518 => [groups_by_list(), settings_by_admin(), keys_in_users()]
            .into_iter()
            .flatten()
            .collect(),
    });
    acts.extend(resources(application));
    acts.extend(users(application));
    acts.extend(unusual_writers(application));
    acts.extend(bulk(application));
    acts.extend(truncation(application));
    acts
}

const KEY_2: &str = "key:sk-00000000000000000000000000000002";

const KEY_3: &str = "key:sk-00000000000000000000000000000003";
