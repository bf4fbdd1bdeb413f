//! The door's parsers as the house has them, and what must hold of them for whatever comes.

#![allow(dead_code, reason = "of the parsers' files only what a stranger reaches is used here")]

pub mod properties;
pub mod subject;
