//! Reads a schema flavour: what is watched in an application's database, which views are served under which paths, and whether their tags are complete.
//!
//! A flavour is data (`flavours/*.toml`); this crate parses it, refuses what would break coherence (PROTOCOL §9) and routes reads to its views.
//! It is pure: it talks to no database and reads no file but the one it is asked to load.

mod builtin;
mod check;
mod document;
mod error;
mod load;
mod model;
mod path;
mod router;

pub use builtin::{PROTOCOL_VERSION, schema_fixture};
pub use document::{Blocked, with_value};
pub use error::{FlavourError, RouteError, UnknownOption};
pub use model::{
    AccessRules, AccessType, Detect, Flavour, FlavourOption, Param, PathPattern, SessionRules, Setting, Table, TagRule,
    View, ViewId, Write, WriteParam,
};
pub use router::{Read, Router, WriteTarget, check_json};
