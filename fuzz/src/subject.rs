//! The parsers' own files.

#[path = "../../crates/guard/src/credentials.rs"]
pub mod credentials;
#[path = "../../crates/listener/src/framing.rs"]
mod framing;
#[path = "../../crates/guard/src/path.rs"]
mod path;

pub use framing::Framing;
pub use path::RoutePath;
