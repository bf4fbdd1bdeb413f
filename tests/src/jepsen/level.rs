//! The levels of a read, as they are asked for, and as an answer says that they were kept.

/// How fresh a read is to be (docs/CONSISTENCY.md, "Levels").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    /// Everything that was known when the read began.
    Full,
    /// At least the state of a token.
    Token,
    /// A state that was the newest one within the staleness bound.
    Bounded,
}

impl Level {
    pub(crate) const ALL: [Self; 3] = [Self::Full, Self::Token, Self::Bounded];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Full => "fully-consistent",
            Self::Token => "at-least-as-fresh",
            Self::Bounded => "minimize-latency",
        }
    }

    /// Reads the header `Neverstale-Consistency` of an answer.
    pub(crate) fn from_header(text: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|level| text.starts_with(level.name().as_bytes()))
    }
}
