//! Decides who may do what with the application's functions, tools, models, prompts, knowledge and pipelines, from facts that are never stale.
//!
//! One pure function decides (`decide`), by the rules of a flavour (`rules`), from facts that its views give (`facts`). The shell
//! around it (`decider`) reads those facts through the cache, all at one position; `survey` looks things up for a person. Knows
//! nothing of HTTP, of routes, nor of who is asking; changes nothing.

mod error;

mod names;
mod rules;

mod decide;
mod decision;
mod facts;
mod model;

mod decider;

mod roster;
mod survey;

pub mod overlay;

pub use decide::decide;
pub use decider::{Decided, DecidedMany, Decider, Visible};
pub use decision::{Decision, LookedFor, Tier};
pub use error::DecideError;
pub use facts::{Facts, Grant, Permission, Principal, ResourceFacts, Subject};
pub use names::{Action, ResourceRef, ResourceType};
pub use roster::{Person, Roster};
pub use rules::{Rules, TypeRules};
pub use survey::{FoundPeople, FoundResources, Held, Holdings, PEOPLE_MAX, People, Survey, Verdicts};
