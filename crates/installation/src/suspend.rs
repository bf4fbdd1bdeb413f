//! Suspends an installation for a migration, and resumes it.
//!
//! Postgres refuses to alter or drop a column that a trigger's WHEN names [23], so the triggers go for that time. No answer gets
//! old by it: leases end first, then every fence sees the missing triggers and sidecars pass reads through.

use tokio_postgres::Client;

use neverstale_flavour::Flavour;

use crate::{InstallOptions, InstallationError, Plan, inspect, install, lease, uninstall};

/// Drops the triggers of the watched tables until [`resume`]; suspending twice does no harm.
///
/// # Errors
/// [`InstallationError::NotInstalled`], [`InstallationError::Locked`] if a table could not be locked, and what the database answered otherwise.
///
/// # Cancel safety
/// Dropping it leaves a suspended installation with some of its triggers; [`resume`] mends it.
pub async fn suspend(
    client: &Client,
    flavour: &Flavour,
    app_schema: &str,
    options: &InstallOptions,
) -> Result<(), InstallationError> {
    let state = inspect::read(client, flavour, app_schema).await?;
    let Some(installation) = state.installation() else {
        return Err(InstallationError::NotInstalled);
    };
    if !installation.suspended {
        lease::end_leases(client, ", lease_ms_resumed = lease_ms, suspended = true").await?;
    }
    uninstall::drop_triggers(client, &state, options.lock_timeout).await
}

/// Puts the triggers back, for whatever the migration made of the tables, and gives the lease back. Resuming what is not suspended is an install.
///
/// # Errors
/// Those of [`install`](crate::install) but for [`InstallationError::Suspended`].
///
/// # Cancel safety
/// Dropping it leaves the installation suspended.
pub async fn resume(
    client: &Client,
    flavour: &Flavour,
    app_schema: &str,
    options: &InstallOptions,
) -> Result<Plan, InstallationError> {
    let state = inspect::read(client, flavour, app_schema).await?;
    if state.installation().is_none() {
        return Err(InstallationError::NotInstalled);
    }
    // A lease asked for here is set once it runs again.
    let quietly = InstallOptions {
        lease_ms: None,
        ..options.clone()
    };
    let mut plan = install::plan_from(client, flavour, app_schema, &quietly, &state).await?;
    plan.lease_ms = options.lease_ms;
    install::perform(client, &plan, options).await?;
    Ok(plan)
}
