//! Turns defaults, a file, the environment and flags into one checked tree of settings.
//!
//! Every crate declares its own sections with [`section!`]; the binary collects their [`SectionSpec`]s, merges the
//! sources over them and reads each section out. Nothing here knows what any setting is for.

mod app;
mod document;
mod flags;
mod merged;
mod nearest;
mod problems;
mod redis_url;
mod secret;
mod section;
mod spec;
mod value;

pub use self::app::app_environment;
pub use self::document::{json_schema, markdown};
pub use self::flags::{flag_name, flag_values, flags};
pub use self::merged::{Given, Merged, environment, settings_file, variable_name};
pub use self::problems::{Place, Problem, Problems};
pub use self::redis_url::normalise_redis_url;
pub use self::secret::Secret;
pub use self::section::Section;
pub use self::spec::{Kind, OptionSpec, SectionSpec};
pub use self::value::{FieldValue, Texts};
