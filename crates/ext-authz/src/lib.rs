//! Answers Envoy about each request, by the judgement of the door, over gRPC.
//!
//! A mesh that passes requests on by itself asks here before it does (`ext_authz`). What Envoy tells of a request is read back into a
//! head and a body (`asked`), judged as at the door (`crates/guard`, `check`), and answered (`answer`). Nothing is passed on here,
//! so what the door would change of a body or an answer can only be refused or let be.

mod error;
mod settings;

mod ext_authz;
mod health;
mod service;

mod answer;
mod asked;
mod check;

/// Envoy's messages, from `proto/ext_authz.proto`.
#[expect(missing_docs, clippy::pedantic, reason = "generated; the comments stand in the file")]
pub mod proto {
    tonic::include_proto!("envoy.service.auth.v3");
}

pub use error::ExtAuthzError;
pub use ext_authz::{ExtAuthz, ExtAuthzHandle, ExtAuthzParts};
pub use settings::ExtAuthzSettings;
