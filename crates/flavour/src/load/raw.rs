//! The shape of a flavour file as TOML, with the place of everything that can be wrong. Unknown keys are errors.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFlavour {
    pub(super) name: Spanned<String>,
    pub(super) description: String,
    pub(super) detect: RawDetect,
    #[serde(default)]
    pub(super) table: Vec<RawTable>,
    #[serde(default)]
    pub(super) view: Vec<RawView>,
    #[serde(default)]
    pub(super) write: Vec<RawWrite>,
    #[serde(default)]
    pub(super) setting: Vec<RawSetting>,
    #[serde(default)]
    pub(super) options: BTreeMap<String, RawOption>,
    pub(super) session: Option<RawSession>,
    pub(super) access: Option<RawAccess>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDetect {
    pub(super) requires: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) forbids: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTable {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) ours: bool,
    pub(super) columns: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) tag: Vec<RawTagRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTagRule {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) key: Vec<Spanned<String>>,
    pub(super) each: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) lower: bool,
    #[serde(default)]
    pub(super) hashed: bool,
    pub(super) of: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawView {
    pub(super) name: Spanned<String>,
    pub(super) path: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) params: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) secret: bool,
    #[serde(default = "yes")]
    pub(super) kept: bool,
    pub(super) sql: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWrite {
    pub(super) path: Spanned<String>,
    pub(super) view: Spanned<String>,
    pub(super) table: Spanned<String>,
    pub(super) params: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) versioned: bool,
    pub(super) lock: Spanned<String>,
    pub(super) update: Spanned<String>,
    pub(super) insert: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSetting {
    pub(super) path: Spanned<String>,
    pub(super) default: Option<Spanned<toml::Value>>,
    #[serde(default)]
    pub(super) secret: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOption {
    pub(super) default: String,
    pub(super) help: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSession {
    pub(super) algorithm: String,
    pub(super) id_claim: String,
    pub(super) stamp_claim: Option<String>,
    pub(super) view: Spanned<String>,
    #[serde(default)]
    pub(super) revocation: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccess {
    pub(super) subject: Spanned<String>,
    pub(super) roster: Option<Spanned<String>>,
    pub(super) names: Option<Spanned<String>>,
    pub(super) roles: Vec<String>,
    pub(super) admin_role: String,
    pub(super) backfill: String,
    pub(super) r#type: Vec<RawAccessType>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccessType {
    pub(super) name: Spanned<String>,
    pub(super) view: Spanned<String>,
    pub(super) list: Spanned<String>,
    #[serde(default)]
    pub(super) needs: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(super) unset_is_public: bool,
    #[serde(default)]
    pub(super) admins: bool,
    #[serde(default)]
    pub(super) unregistered: bool,
    #[serde(default)]
    pub(super) write_reads: bool,
    #[serde(default)]
    pub(super) group_owners: bool,
    #[serde(default)]
    pub(super) bases: bool,
}

fn yes() -> bool {
    true
}
