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

    /// What became of a request at the door.
    DoorOutcome "outcome" {
        /// It was let through.
        Allowed = "allowed",
        /// It was refused.
        Refused = "refused",
        /// It was not allowed, and let through because the door only observes.
        Observed = "observed",
        /// It could not be decided, and was refused.
        Undecided = "undecided",
        /// Something was taken out of its answer.
        Filtered = "filtered",
        /// It was answered in the application's stead.
        Answered = "answered",
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
        /// Another incarnation answered on the same connection: other triggers, an installation, the application's tables swapped.
        Incarnation = "incarnation",
        /// The same incarnation answered a position behind what was applied.
        Regressed = "regressed",
        /// The connection was lost, and another incarnation answered the next one: restart, failover, restore, another server.
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
        /// It was of another incarnation.
        Foreign = "foreign",
        /// None of our keys opens it: it was forged or changed, or sealed with a key that we do not have.
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
        /// The door in front of the application.
        Ingress = "ingress",
        /// What Envoy asks.
        ExtAuthz = "ext-authz",
    }

    /// What Envoy was answered about a request.
    CheckOutcome "outcome" {
        /// It may pass.
        Allowed = "allowed",
        /// It may not, or could be read in two ways.
        Refused = "refused",
        /// Envoy was given the finished answer.
        Answered = "answered",
        /// It can't be known now.
        Undecided = "undecided",
        /// The body is judged and Envoy did not send it whole.
        NoBody = "no-body",
        /// The door would change something, which Envoy can't.
        Unchanged = "unchanged",
    }

    /// What became of a request that the door passed on.
    PassOutcome "outcome" {
        /// The application answered; what becomes of the answer's body is counted beside.
        Answered = "answered",
        /// The application could not be reached.
        Unreachable = "unreachable",
        /// The application did not begin to answer in time.
        Late = "late",
        /// The application broke off, before its answer or in it.
        BrokenOff = "broken-off",
        /// The caller left, or its body was ended.
        CallerLeft = "caller-left",
    }

    /// Why the door did not pass a request on, or not its answer.
    DoorRefusal "reason" {
        /// Two servers could read its framing differently.
        Framing = "framing",
        /// Its method or its target is not for an application.
        Target = "target",
        /// Its path could be understood in two ways.
        Path = "path",
        /// Target, headers or body are too large.
        Size = "size",
        /// Its body stood still, or took too long to be judged.
        Slow = "slow",
        /// There was no room for a body that is judged or filtered.
        Room = "room",
        /// What it shows could be two credentials.
        Credentials = "credentials",
        /// Too many connections of its address are open.
        Connections = "connections",
        /// A decision was needed and could not be had.
        Undecided = "undecided",
        /// It is not allowed.
        NotAllowed = "not-allowed",
        /// The application did not answer, or not as it should.
        Upstream = "upstream",
    }

    /// Who came to the door, where that was asked.
    CallerKind "caller" {
        /// Nobody: nothing was shown.
        Nobody = "nobody",
        /// A user, by a session.
        Session = "session",
        /// A user, by an API key.
        ApiKey = "api-key",
        /// Somebody whose credential is forged, expired or revoked.
        Pretender = "pretender",
        /// It could not be found out.
        Unknown = "unknown",
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

    /// What became of a span for the collector.
    SpanOutcome "outcome" {
        /// The collector took it.
        Exported = "exported",
        /// It found no room where spans wait.
        Dropped = "dropped",
        /// The collector was away or refused, whatever was tried.
        Failed = "failed",
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
