//! Stands in front of the application as a streaming reverse proxy that knows who asks, and decides before anything is passed on.
//!
//! A request is understood (`framing`, `path`), its caller is found out (`identity`), it is judged (`guard`), and what is left
//! of it is passed on unchanged (`outgoing`, `upstream`), piece by piece. Nothing is kept, and nothing is decided elsewhere.

mod error;
mod settings;

mod ingress;
mod service;
mod shared;

pub mod credentials;
pub mod path;
mod screen;

pub mod guard;

mod clients;
mod networks;
mod outgoing;
mod trace;

mod filtered;
mod streams;
mod tunnel;
mod upstream;

mod answer;

pub use error::IngressError;
pub use guard::GuardSettings;
pub use ingress::{Ingress, IngressHandle, IngressParts};
pub use settings::IngressSettings;
