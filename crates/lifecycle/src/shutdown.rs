//! What makes the process end: a signal, or somebody who asks it to.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// SIGTERM, as Kubernetes sends it.
    Terminated,
    /// SIGINT, as a terminal sends it.
    Interrupted,
    /// `POST /quitquitquit`.
    Asked,
}

/// Waits for SIGTERM, SIGINT, or `asked` to be cancelled.
///
/// # Errors
///
/// When the operating system lets no handler be set.
///
/// # Cancel safety
///
/// Dropping it leaves the signals handled, so that they no longer end the process by themselves.
pub async fn wait_for_stop(asked: &CancellationToken) -> std::io::Result<StopCause> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => StopCause::Terminated,
        _ = interrupt.recv() => StopCause::Interrupted,
        () = asked.cancelled() => StopCause::Asked,
    })
}
