//! What is written of a refusal: who, what, by which rule, in which state. Never what was sent.

use neverstale_identity::{Caller, Credential};
use neverstale_telemetry::{DoorOutcome, Metrics};
use neverstale_wire::Token;

use crate::guard::answers::Reason;

/// What becomes of what is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is refused.
    Enforce,
    /// It is let through and written down.
    Observe,
}

/// A request that is not allowed.
pub(crate) struct Case<'c> {
    pub(crate) caller: Option<&'c Caller>,
    /// The route.
    pub(crate) on: &'c str,
    pub(crate) reason: Reason,
    /// The right that is missing, if it was one.
    pub(crate) denied: Option<&'c str>,
    /// The state in which it is missing.
    pub(crate) token: Option<Token>,
}

impl Mode {
    /// The mode of that name; the settings know no other.
    pub(crate) fn named(name: &str) -> Self {
        if name == "observe" {
            Self::Observe
        } else {
            Self::Enforce
        }
    }
}

impl Case<'_> {
    /// Counts it and writes it to the log.
    pub(crate) fn record(&self, mode: Mode, metrics: &Metrics) {
        let outcome = match (mode, self.reason) {
            (Mode::Observe, _) => DoorOutcome::Observed,
            (Mode::Enforce, Reason::Undecided) => DoorOutcome::Undecided,
            (Mode::Enforce, _) => DoorOutcome::Refused,
        };
        metrics.ingress_decisions_total[outcome].inc();
        let credential = self.caller.map(|caller| match caller.credential {
            Credential::Session => "session",
            Credential::ApiKey => "api-key",
        });
        tracing::info!(
            target: "neverstale::audit",
            user_id = self.caller.map(|caller| caller.user_id.as_str()),
            user_role = self.caller.map(|caller| caller.role.as_str()),
            credential = credential,
            route = self.on,
            reason = self.reason.name(),
            missing = self.denied,
            position = self.token.map(tracing::field::display),
            refused = mode == Mode::Enforce,
            "a request is not allowed"
        );
    }
}
