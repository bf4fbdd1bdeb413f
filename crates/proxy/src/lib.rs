//! Serves the HTTP contract to the application in the same pod.
//!
//! A request takes the hot path (`hit`) or, when L1 has no answer at hand, is dispatched to what its path asks for. What an
//! answer is worth is decided below, in `cache` and `coherence`; here it gets its status and its headers. Connections
//! are the business of the listener beneath.

mod error;
mod settings;

mod api;
mod service;
mod shared;

mod dispatch;
mod hit;

mod api_keys;
mod batch;
mod decisions;
mod events;
mod openapi;
mod sessions;
mod traced;

mod access;
mod asked;
mod conditional;
mod hex;
mod names;
mod problem;
mod respond;

mod writes;

pub use api::{Api, ApiHandle, ApiParts};
pub use error::ApiError;
pub use openapi::document as openapi_document;
pub use settings::ApiSettings;
