//! After an upgrade: bytes in both directions, until one side ends or the door closes.

use std::{sync::Arc, time::Duration};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use neverstale_lifecycle::CancellationToken;
use neverstale_listener::InFlight;
use neverstale_telemetry::Metrics;
use tokio::{io::copy_bidirectional, time::sleep};

use crate::clients::Place;

/// So long after draining began, what is still open is closed: callers of WebSockets come back by themselves, elsewhere.
const DRAIN_GRACE: Duration = Duration::from_secs(3);

/// What a tunnel holds as long as it is open.
pub(crate) struct Held {
    /// The listener waits for it when it drains.
    pub(crate) in_flight: InFlight,
    /// The caller's address goes on to be counted.
    pub(crate) place: Option<Arc<Place>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) drain: CancellationToken,
}

/// Connects the two sides until one of them ends.
pub(crate) async fn run(caller: OnUpgrade, application: OnUpgrade, held: Held) {
    let _in_flight = (held.in_flight, held.place);
    let (caller, application) = match tokio::try_join!(caller, application) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "an upgrade did not come about");
            return;
        }
    };
    let gauge = &held.metrics.ingress_tunnels;
    gauge.inc();
    let (mut caller, mut application) = (TokioIo::new(caller), TokioIo::new(application));
    let over = async {
        held.drain.cancelled().await;
        sleep(DRAIN_GRACE).await;
    };
    tokio::select! {
        ended = copy_bidirectional(&mut caller, &mut application) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a tunnel broke");
            }
        }
        () = over => {}
    }
    gauge.dec();
}
