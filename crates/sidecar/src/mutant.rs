//! A sidecar without some of its safeguards, for proofs: built with the feature `mutants`, told by `NEVERSTALE_WITHOUT`.
//!
//! Nothing of this is in a build that is shipped; there the variable is an unknown setting, and an error.

use anyhow::anyhow;
use neverstale_coherence::{Safeguard, safeguard};

use crate::exit::Failure;

/// Names the safeguards that are taken away, with commas between them.
const WITHOUT: &str = "NEVERSTALE_WITHOUT";

/// Takes away what the environment names, and gives the rest of the environment.
pub(crate) fn take_away(environment: Vec<(String, String)>) -> Result<Vec<(String, String)>, Failure> {
    let (without, rest): (Vec<_>, Vec<_>) = environment.into_iter().partition(|(name, _)| name == WITHOUT);
    let names = without
        .iter()
        .flat_map(|(_, names)| names.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let known = names
        .map(|name| Safeguard::from_name(name).ok_or_else(|| anyhow!("{WITHOUT}: there is no safeguard `{name}`")));
    let taken_away = known.collect::<Result<Vec<_>, _>>().map_err(Failure::usage)?;
    safeguard::take_away(&taken_away);
    Ok(rest)
}

/// Says in the log what kind of build this is, whatever was taken away.
pub(crate) fn warn() {
    let missing = Safeguard::ALL
        .iter()
        .filter(|safeguard| !safeguard::stands(**safeguard));
    let without = missing.map(|safeguard| safeguard.name()).collect::<Vec<_>>().join(",");
    tracing::warn!(without, "this build is for proofs: its answers may be old");
}
