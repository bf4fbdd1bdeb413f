//! Talks to the Postgres primary: connections, fences, fills and log fetches, each naming the incarnation that answered.
//!
//! One statement per Sync, in read committed, with qualified names; every answer carries the incarnation from its own
//! statement, because a pooler can change servers under an open connection (PROTOCOL §4) [14]. Decides nothing about what
//! the answers mean: that is `coherence`, and acting on it is `changefeed` and `cache`. Besides, it writes what a caller asks to.

mod error;
mod settings;
mod target;
mod tls;

mod connection;
#[cfg(feature = "simulation")]
pub mod simulated;
mod sql;
mod tag;

mod feed;
mod fills;
mod listen;
mod writes;

pub use connection::{Connection, Notifications};
pub use error::PostgresError;
pub use feed::{FeedConnection, LogPage, LogRow, Outset};
pub use fills::{FillPool, Filled};
pub use listen::Listener;
pub use settings::DatabaseSettings;
pub use sql::Statements;
pub use tag::tag_of;
pub use target::{Target, TargetError};
pub use writes::{Change, Standing, WriteError, Writer, Written};
