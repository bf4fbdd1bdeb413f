//! Stands in front of the application as a streaming reverse proxy that knows who asks, and decides before anything is passed on.
//!
//! A request is understood, its caller is found out and it is judged elsewhere (`crates/guard`, `crates/identity`); what is left of it is passed on unchanged (`outgoing`, `upstream`), piece by piece. Nothing is kept, and nothing is decided elsewhere.

mod error;
mod settings;

mod ingress;
mod service;
mod shared;

mod clients;
mod outgoing;

mod filtered;
mod streams;
mod tunnel;
mod upstream;
mod whole;

pub use error::IngressError;
pub use ingress::{Ingress, IngressHandle, IngressParts};
pub use networks::Networks;
pub use settings::IngressSettings;

use neverstale_guard::{guard, networks, path, screen, trace};
