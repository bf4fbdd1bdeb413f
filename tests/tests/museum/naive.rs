//! Caches as they are written every day, each as small as the race that it shows. Not copies: each file says what it imitates and
//! what it leaves out.

pub(crate) mod get_or_set;
pub(crate) mod hand_placed;
pub(crate) mod namespaced;
pub(crate) mod read_modify_write;
pub(crate) mod tracked;
pub(crate) mod write_behind;
