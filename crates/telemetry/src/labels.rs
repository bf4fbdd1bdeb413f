//! The closed sets of values that labels can have.
//!
//! A label is never a key, a path, or a user: each set is an enum, so a metric can't grow without bound.

use neverstale_wire::ProblemKind;

/// A label whose values are known when the program is compiled.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All values, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// Gives the value's text.
    fn text(self) -> &'static str;

    /// Gives the value's place among all.
    fn index(self) -> usize;
}

macro_rules! labels {
    ($($(#[doc = $help:literal])+ $label:ident $name:literal { $($(#[doc = $doc:literal])+ $value:ident = $text:literal,)+ })+) => {$(
        $(#[doc = $help])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $label {
            $($(#[doc = $doc])+ $value,)+
        }

        impl Label for $label {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$(Self::$value),+];

            fn text(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

labels! {
    /// The level that a read asked for.
    Level "level" {
        /// Linearizable with commits on the primary.
        FullyConsistent = "fully-consistent",
        /// At least as fresh as a token.
        AtLeastAsFresh = "at-least-as-fresh",
        /// Within the staleness bound.
        MinimizeLatency = "minimize-latency",
    }

    /// Where a read's answer came from.
    ReadOutcome "outcome" {
        /// Memory of this process.
        L1 = "l1",
        /// Redis.
        L2 = "l2",
        /// Postgres, asked by this read.
        Fill = "fill",
        /// Postgres, asked by another read.
        Join = "join",
        /// Postgres, without the cache.
        Bypass = "bypass",
        /// The caller already had it (304).
        NotModified = "not-modified",
        /// Nowhere: the level could not be kept.
        Error = "error",
    }

    /// How a fence ended.
    FenceOutcome "outcome" {
        /// It was answered.
        Ok = "ok",
        /// It was not.
        Error = "error",
        /// Another incarnation answered, or a position behind ours.
        Foreign = "foreign",
    }

    /// What a fence granted.
    LeaseKind "kind" {
        /// A lease for all tags.
        Full = "full",
        /// A lease that excepts the tags of commits about to come.
        Excepting = "excepting",
        /// None.
        Refused = "refused",
    }

    /// Why everything was forgotten.
    IncarnationReason "reason" {
        /// The first one after the start.
        First = "first",
        /// Another incarnation answered: restart, failover, restore, another server, other triggers.
        Incarnation = "incarnation",
        /// The same incarnation answered a position behind what was applied.
        Regressed = "regressed",
        /// All connections were lost at once.
        Disconnected = "disconnected",
    }

    /// How a fill ended.
    FillOutcome "outcome" {
        /// With a value.
        Ok = "ok",
        /// With the answer that there is none.
        NotFound = "not-found",
        /// Another incarnation answered.
        Foreign = "foreign",
        /// It took too long.
        Timeout = "timeout",
        /// It failed otherwise.
        Error = "error",
    }

    /// What became of a write.
    WriteOutcome "outcome" {
        /// It was made.
        Ok = "ok",
        /// Somebody else was faster (412).
        PreconditionFailed = "precondition-failed",
        /// It was refused, or failed; nothing was written.
        Refused = "refused",
        /// Nobody knows whether it was made.
        Unknown = "unknown",
    }

    /// How a joined fill was judged by the joining read.
    JoinOutcome "outcome" {
        /// It was good enough.
        Valid = "valid",
        /// It was too old for this read, which filled anew.
        Refused = "refused",
    }

    /// What was asked of L2.
    L2Operation "op" {
        /// A value.
        Get = "get",
        /// To keep a value.
        Put = "put",
    }

    /// How L2 answered.
    L2Outcome "outcome" {
        /// With a valid value (get).
        Hit = "hit",
        /// With none (get).
        Miss = "miss",
        /// After the budget was over.
        Late = "late",
        /// With an error.
        Error = "error",
        /// With what nobody can read.
        Garbage = "garbage",
        /// With a value of another version of ourselves.
        Version = "version",
        /// With another key's, view's or incarnation's value, or one sealed with a key that we do not have.
        Foreign = "foreign",
        /// With a value that was changed or not sealed although we seal.
        Unauthentic = "unauthentic",
        /// With a value that is no longer valid (get).
        Stale = "stale",
        /// It was not asked: the breaker is open.
        Breaker = "breaker",
        /// It kept the value (put).
        Stored = "stored",
        /// It already had a newer one (put).
        Older = "older",
        /// It was not asked: the queue of writes was full (put).
        Dropped = "dropped",
    }

    /// Which way a broadcast went.
    BroadcastDirection "direction" {
        /// From us as the relay.
        Sent = "sent",
        /// To us.
        Received = "received",
    }

    /// What became of a broadcast.
    BroadcastOutcome "outcome" {
        /// Its rows were applied (received), or it was published (sent).
        Applied = "applied",
        /// It was taken as a reason to look.
        Bell = "bell",
        /// It was of another incarnation, or sealed with a key that we do not have.
        Foreign = "foreign",
        /// It was forged or changed.
        Unauthentic = "unauthentic",
        /// It was in a form that this build does not know.
        Version = "version",
        /// It was no message of ours.
        Garbage = "garbage",
        /// Rows between it and us were missing.
        Gap = "gap",
        /// It could not be published (sent).
        Error = "error",
    }

    /// What the auditor found.
    AuditOutcome "outcome" {
        /// The answer was right.
        Match = "match",
        /// The answer was not what Postgres says at the same position: a broken promise.
        Mismatch = "mismatch",
        /// The position moved on before it could be judged.
        Inconclusive = "inconclusive",
    }

    /// How a batch came to one state.
    BatchRounds "rounds" {
        /// All were valid at once.
        One = "1",
        /// Some were filled again.
        Two = "2",
        /// All were filled in one statement.
        OneStatement = "one-statement",
    }

    /// Which listener was called.
    Listener "listener" {
        /// Reads, over TCP.
        Api = "api",
        /// Reads, over the Unix socket.
        ApiSocket = "api-socket",
        /// Probes, metrics and status.
        Admin = "admin",
    }

    /// The first digit of an HTTP status.
    StatusClass "class" {
        /// It went well.
        Success = "2xx",
        /// Nothing new, or elsewhere.
        Redirect = "3xx",
        /// The request was at fault.
        Client = "4xx",
        /// We were.
        Server = "5xx",
    }

    /// What a connection to Postgres is for.
    PostgresRole "role" {
        /// Fences and log fetches.
        Feed = "feed",
        /// Bells.
        Listen = "listen",
        /// Fills.
        Fill = "fill",
    }
}

impl StatusClass {
    /// Gives the class of a status.
    pub fn of(status: u16) -> Self {
        match status {
            ..300 => Self::Success,
            300..400 => Self::Redirect,
            400..500 => Self::Client,
            500.. => Self::Server,
        }
    }
}

/// The problems that answers name, by the contract's own words.
impl Label for ProblemKind {
    const NAME: &'static str = "type";
    const ALL: &'static [Self] = &ProblemKind::ALL;

    fn text(self) -> &'static str {
        self.name()
    }

    fn index(self) -> usize {
        // A dozen comparisons, on the way to an error only.
        ProblemKind::ALL
            .iter()
            .position(|kind| *kind == self)
            .expect("ALL holds every kind")
    }
}
