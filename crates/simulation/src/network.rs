//! The network between one process and one server: streams that are late, held up, or cut.
//!
//! A stream keeps the order of its bytes, as TCP does; two streams know nothing of each other. A partition holds back what is
//! under way and lets it through when it ends; a cut ends the streams at both ends.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split},
    sync::Notify,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;

/// Bytes that a stream holds in each direction before its writer waits.
const STREAM_BYTES: usize = 64 * 1024;

/// The way between two places.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    state: Arc<Mutex<State>>,
    healed: Arc<Notify>,
    chance: Chance,
}

#[derive(Debug)]
struct State {
    delay_ms: RangeInclusive<u64>,
    is_partitioned: bool,
    cut: CancellationToken,
}

impl Link {
    /// A link whose messages take so long, each way.
    pub(crate) fn new(delay_ms: RangeInclusive<u64>, chance: Chance) -> Self {
        let state = State {
            delay_ms,
            is_partitioned: false,
            cut: CancellationToken::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            healed: Arc::default(),
            chance,
        }
    }

    /// Opens a stream: its two ends.
    pub(crate) fn open(&self) -> (DuplexStream, DuplexStream) {
        let (near, near_inside) = duplex(STREAM_BYTES);
        let (far_inside, far) = duplex(STREAM_BYTES);
        let (near_reads, near_writes) = split(near_inside);
        let (far_reads, far_writes) = split(far_inside);
        let cut = self.lock().cut.clone();
        // One end that is gone ends both directions once all that was sent before has arrived.
        tokio::spawn(carry(self.clone(), cut.clone(), near_reads, far_writes));
        tokio::spawn(carry(self.clone(), cut, far_reads, near_writes));
        (near, far)
    }

    /// Passes once a message has made its way.
    pub(crate) async fn pass(&self) {
        let delay = self.chance.among(self.lock().delay_ms.clone());
        if delay > 0 {
            sleep(Duration::from_millis(delay)).await;
        }
        loop {
            let healed = self.healed.notified();
            if !self.lock().is_partitioned {
                return;
            }
            healed.await;
        }
    }

    /// Holds everything back.
    pub(crate) fn partition(&self) {
        self.lock().is_partitioned = true;
    }

    /// Lets everything through again.
    pub(crate) fn heal(&self) {
        self.lock().is_partitioned = false;
        self.healed.notify_waiters();
    }

    /// Changes how long messages take.
    pub(crate) fn slow(&self, delay_ms: RangeInclusive<u64>) {
        self.lock().delay_ms = delay_ms;
    }

    /// Ends all streams that are open now.
    pub(crate) fn cut(&self) {
        let cut = std::mem::take(&mut self.lock().cut);
        cut.cancel();
    }

    /// Gives a token that is cancelled at the next cut.
    pub(crate) fn until_cut(&self) -> CancellationToken {
        self.lock().cut.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding a link")
    }
}

async fn carry(link: Link, cut: CancellationToken, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let carrying = async {
        let mut chunk = vec![0; STREAM_BYTES];
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            link.pass().await;
            // What came meanwhile comes along: the driver numbers its statements for the whole process, so that where it
            // parts its bytes depends on the runs before, and the story must not.
            let mut sent = chunk[..length].to_vec();
            while let Some(Ok(length @ 1..)) = from.read(&mut chunk).now_or_never() {
                sent.extend_from_slice(&chunk[..length]);
            }
            if to.write_all(&sent).await.is_err() {
                return;
            }
        }
        link.pass().await;
        let _ = to.shutdown().await;
    };
    cut.run_until_cancelled(carrying).await;
}
