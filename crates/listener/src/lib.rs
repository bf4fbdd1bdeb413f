//! Accepts connections, with or without TLS, and serves each by hyper until it ends or is drained.
//!
//! Shared by the listeners of this house: what is answered is the business of the service that the caller makes for each
//! connection, and so is who may ask; here are the tokens that may be asked for.

mod error;

mod listener;

mod activity;
mod connection;
mod framing;
mod inspected;
mod socket;
mod tls;
mod watch;

mod body;
mod query;
mod tokens;

pub use activity::{Activity, InFlight};
pub use body::{Body, without_body};
pub use connection::HyperTasks;
pub use error::ListenError;
pub use framing::{Framing, Trick};
pub use listener::{Limits, Listener, Manner, Peer};
pub use query::{ID_CHARS_MAX, Query, QueryError, check_id};
pub use tls::{ServerTls, TlsFiles};
pub use tokens::Tokens;
