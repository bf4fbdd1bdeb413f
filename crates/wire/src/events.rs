//! The events of `GET /v1/events`, and how each is written on the stream.
//!
//! A token is the `id` of each event, so that a reader that comes back with `Last-Event-ID` goes on where it was. Readers ignore events
//! and members that they do not know. Which events come when is the proxy's to say.

use std::io::Write;

use serde::Serialize;

use crate::token::Token;

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// A watched commit became visible.
    Invalidation {
        /// Its position.
        position: Token,
        /// The texts of the tags that it invalidated.
        tags: Vec<String>,
    },
    /// Another database answers from here on: whatever was kept is void.
    Incarnation {
        /// The first position known of it.
        position: Token,
    },
    /// The log no longer reaches back to where the reader was: whatever was kept is void.
    Gap {
        /// The position from which the stream is complete.
        position: Token,
    },
    /// Nothing happened: the stream is alive and complete up to here.
    Heartbeat {
        /// The newest position applied.
        position: Token,
    },
}

impl Event {
    /// Gives the event's name on the stream.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Invalidation { .. } => "invalidation",
            Self::Incarnation { .. } => "incarnation",
            Self::Gap { .. } => "gap",
            Self::Heartbeat { .. } => "heartbeat",
        }
    }

    /// Gives the position that is the event's id.
    pub const fn position(&self) -> Token {
        match self {
            Self::Invalidation { position, .. }
            | Self::Incarnation { position }
            | Self::Gap { position }
            | Self::Heartbeat { position } => *position,
        }
    }

    /// Gives the frame as it goes onto the stream: event, id, one line of JSON, an empty line.
    pub fn to_frame(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(160);
        write!(frame, "event: {}\nid: {}\ndata: ", self.name(), self.position()).expect("memory takes all writes");
        serde_json::to_writer(&mut frame, self).expect("texts always serialise");
        frame.extend_from_slice(b"\n\n");
        frame
    }
}

#[cfg(test)]
mod tests {
    use neverstale_coherence::{Incarnation, Position};

    use super::*;

    #[test]
    fn a_frame_is_as_published() {
        let position = Token {
            incarnation: Incarnation([0xab; 16]),
            position: Position(26),
        };
        let event = Event::Invalidation {
            position,
            tags: vec!["user.id:u1".to_owned(), "user.email:a\nb".to_owned()],
        };
        let id = format!("{}-1a", "ab".repeat(16));
        assert_eq!(
            String::from_utf8(event.to_frame()).unwrap(),
            format!(
                "event: invalidation\nid: {id}\ndata: {{\"position\":\"{id}\",\"tags\":[\"user.id:u1\",\"user.email:a\\nb\"]}}\n\n"
            )
        );
        assert_eq!(
            String::from_utf8(Event::Heartbeat { position }.to_frame()).unwrap(),
            format!("event: heartbeat\nid: {id}\ndata: {{\"position\":\"{id}\"}}\n\n")
        );
    }
}
