//! Decides when an answer from cache is as good as one from Postgres: positions, tags, fences, leases, validity.
//!
//! Together with docs/PROTOCOL.md this crate is all that one has to read to know why an answer is right. It does no
//! I/O, awaits nothing, reads no clock, allocates on no reader's path, and has never heard of HTTP, SQL, Redis or the
//! application: the crates above it ask the questions, perform what is decided here, and decide nothing themselves.

mod marks;
mod tags;

pub mod safeguard;

mod validity;
mod world;

mod fence;
mod lease;
mod settle;

mod page;

mod batch;
mod broadcast;

pub use batch::{BatchVerdict, batch_target, judge_batch};
pub use broadcast::{BroadcastVerdict, judge_broadcast};
pub use fence::{
    FenceAnswer, FenceSent, FenceVerdict, Foreign, Round, Rounds, TokenVerdict, judge_fence, judge_token, within_bound,
};
pub use lease::{Exceptions, LEASE_MARGIN_PERCENT, Lease, lease_end};
pub use marks::{Incarnation, Intent, Mark, Moment, Position, Tag};
pub use page::{PageHead, PageVerdict, judge_page, resumes};
pub use safeguard::Safeguard;
pub use settle::{OutstandingMarks, SettleAnswer, SettleVerdict, Settled, judge_settle};
pub use tags::TagTable;
pub use validity::{Entitlement, Stamp, Validity};
pub use world::{Row, World};
