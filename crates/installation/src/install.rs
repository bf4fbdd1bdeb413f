//! Plans and installs.
//!
//! Idempotent: a second install finds nothing to do and changes nothing. Reads of the application go on throughout; writes to a
//! watched table pause for the few milliseconds of its own step.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio_postgres::Client;

use neverstale_flavour::Flavour;

use crate::{
    InstallationError, LEASE_MS_DEFAULT, LEASE_MS_MAX,
    blueprint::Blueprint,
    compare, grants,
    inspect::{self, State},
    lease,
    plan::{self, First, Plan},
    run,
};

/// Oldest server with `CREATE OR REPLACE TRIGGER`.
const SERVER_VERSION_MIN: i32 = 140_000;

/// How to install.
#[derive(Debug, Clone)]
pub struct InstallOptions {
    /// How long one attempt of one step waits for its locks, and so keeps others waiting behind it.
    pub lock_timeout: Duration,
    /// Lease and commit wait; `None` keeps what is set, 50 ms on a first install.
    pub lease_ms: Option<u32>,
    /// Role to be granted what a sidecar needs; `None` if sidecars connect as the owner.
    pub reader: Option<String>,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_millis(500),
            lease_ms: None,
            reader: None,
        }
    }
}

/// Says what an install would do; changes nothing.
///
/// # Errors
/// [`InstallationError::Refused`] if the application's schema does not allow it, [`InstallationError::Suspended`], and what the
/// database answered otherwise.
///
/// # Cancel safety
/// Dropping it is safe.
pub async fn plan(
    client: &Client,
    flavour: &Flavour,
    app_schema: &str,
    options: &InstallOptions,
) -> Result<Plan, InstallationError> {
    let state = inspect::read(client, flavour, app_schema).await?;
    if state.installation().is_some_and(|installation| installation.suspended) {
        return Err(InstallationError::Suspended);
    }
    plan_from(client, flavour, app_schema, options, &state).await
}

/// Installs what is missing or different, and nothing else. Gives what it did.
///
/// # Errors
/// Those of [`plan`]; [`InstallationError::Locked`] if a table could not be locked; steps done before stay and are found by the next install.
///
/// # Cancel safety
/// Dropping it leaves an installation that is not declared complete, so nothing is cached on it, and perhaps the connection in a failed transaction.
pub async fn install(
    client: &Client,
    flavour: &Flavour,
    app_schema: &str,
    options: &InstallOptions,
) -> Result<Plan, InstallationError> {
    let plan = plan(client, flavour, app_schema, options).await?;
    perform(client, &plan, options).await?;
    Ok(plan)
}

pub(crate) async fn perform(client: &Client, plan: &Plan, options: &InstallOptions) -> Result<(), InstallationError> {
    for step in &plan.steps {
        tracing::info!(step = step.title, "installing");
        run::perform(client, step, options.lock_timeout).await?;
    }
    match plan.lease_ms {
        Some(lease_ms) => lease::set_lease(client, lease_ms).await,
        None => Ok(()),
    }
}

/// Plans from a state, suspended or not.
pub(crate) async fn plan_from(
    client: &Client,
    flavour: &Flavour,
    app_schema: &str,
    options: &InstallOptions,
    state: &State,
) -> Result<Plan, InstallationError> {
    let state = &state.clone().with_ours(flavour);
    if state.catalog.standby {
        return Err(InstallationError::Standby);
    }
    if state.catalog.server_version < SERVER_VERSION_MIN {
        return Err(InstallationError::ServerTooOld {
            version: state.catalog.server_version,
        });
    }
    if let Some(lease_ms) = options.lease_ms.filter(|&lease_ms| lease_ms > LEASE_MS_MAX) {
        return Err(InstallationError::LeaseTooLong { lease_ms });
    }
    let installation = state.installation();
    let blueprint = Blueprint::new(
        flavour,
        app_schema,
        installation.map_or_else(new_lock_class, |row| row.lock_class),
    );
    let findings: Vec<_> = compare::compare(&blueprint, state)
        .into_iter()
        .filter(|finding| finding.problem.blocks_install())
        .collect();
    if !findings.is_empty() {
        return Err(InstallationError::Refused { findings });
    }
    let grants = match &options.reader {
        Some(reader) => grants::missing(client, &blueprint, reader).await?,
        None => Vec::new(),
    };
    let first = First {
        lease_ms: options.lease_ms.unwrap_or(LEASE_MS_DEFAULT),
    };
    let lease_change = options
        .lease_ms
        .filter(|&wanted| installation.is_some_and(|row| row.lease_ms != i64::from(wanted)));
    Ok(Plan {
        steps: plan::decide(&blueprint, state, first, &grants),
        lease_ms: lease_change,
    })
}

/// A random class, far from the small numbers that applications use [27], with room for the two classes after it.
fn new_lock_class() -> i32 {
    let mut bytes = [0; 4];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system has randomness");
    0x2000_0000 | (i32::from_le_bytes(bytes) & 0x3fff_fff0)
}
