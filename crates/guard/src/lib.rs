//! Judges a request before the application has it: whether it can be read in one way only, what it shows, and what it may.
//!
//! Shared by whoever lets requests in: `crates/ingress`, which passes them on itself. A head is screened (`screen`), its path understood
//! (`path`), its credential found (`credentials`), and it is judged (`guard`) by rules that are data. Nothing is passed on here.

pub mod path;
pub mod screen;

pub mod callers;
pub mod credentials;
pub mod identity_headers;

pub mod guard;

pub mod answer;
pub mod networks;
pub mod refused;
pub mod trace;
