//! Serves probes, metrics and status to the kubelet, Prometheus and an operator.
//!
//! Shows what others know and decides nothing (who may do what is `rbac`'s to say); the one thing that it can do is ask the process to end. Goes on while the `api`
//! listener drains, so that probes see it.

mod settings;

mod admin;
mod service;

mod access;

mod faults;
mod gauges;
mod page;
mod status;
mod tags;

pub use admin::{Admin, AdminError, AdminHandle, AdminParts, Shown};
pub use settings::AdminSettings;
