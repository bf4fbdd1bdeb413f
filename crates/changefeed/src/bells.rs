//! The tasks beside the feed: those that hear Postgres' bell on a session of its own and the relay's word on Redis, the one
//! that says it, and the one that prunes.
//!
//! Whatever they hear is a reason for the feed to look. When they hear nothing, the feed looks by itself, a little later.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use neverstale_lifecycle::{Backoff, Tasks};
use neverstale_postgres::{Connection, Listener, PostgresError};
use neverstale_redis::{Received, RedisError, Subscription};
use neverstale_telemetry::{BroadcastDirection, BroadcastOutcome, PostgresRole};
use neverstale_wire::{BellReason, BroadcastCodec, Heard};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{Broadcast, FeedParts, relay::Wires, shared::Shared};

/// Pruning what has gathered in a night takes a while.
const PRUNE_LIMIT: Duration = Duration::from_secs(60);

/// How often a listening session is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(5);

pub(crate) fn spawn(
    parts: &Arc<FeedParts>,
    shared: &Arc<Shared>,
    wires: Wires,
    tasks: &Tasks,
) -> Result<(), RedisError> {
    let listening = listen_to_postgres(Arc::clone(parts), Arc::clone(shared));
    tasks.spawn("listen", until_shutdown(tasks.shutdown(), listening));
    let pruning = prune(Arc::clone(parts), Arc::clone(shared));
    tasks.spawn("prune", until_shutdown(tasks.shutdown(), pruning));
    if let Some(channel) = &parts.broadcast {
        let saying = say(channel.clone(), Arc::clone(shared), wires.to_say);
        tasks.spawn("broadcast", until_shutdown(tasks.shutdown(), saying));
        let subscription = channel.redis.subscribe(channel.name.as_str())?;
        let hearing = listen_to_redis(subscription, channel.codec.clone(), wires.heard);
        tasks.spawn("subscribe", until_shutdown(tasks.shutdown(), hearing));
    }
    Ok(())
}

async fn until_shutdown(shutdown: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        biased; // Ending comes first.
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

/// Without Redis everyone listens to Postgres; with it, only the relay does.
async fn listen_to_postgres(parts: Arc<FeedParts>, shared: Arc<Shared>) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let is_needed = || parts.broadcast.is_none() || shared.is_relay.load(Ordering::Relaxed);
    loop {
        while !is_needed() {
            shared.relay_changed.notified().await;
        }
        tokio::select! {
            biased; // In one order always, so that a simulation can be replayed.
            ended = listen(&parts, &shared, &mut backoff) => {
                if let Err(error) = ended {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the listening session ended");
                }
                shared.metrics.postgres_reconnects_total[PostgresRole::Listen].inc();
                // Whatever rang meanwhile was not heard.
                shared.bell.notify_one();
                sleep(backoff.next_delay()).await;
            }
            () = shared.relay_changed.notified() => {}
        }
    }
}

async fn listen(parts: &FeedParts, shared: &Shared, backoff: &mut Backoff) -> Result<(), PostgresError> {
    let mut listener = Listener::open(
        &parts.target,
        parts.ca_file.as_deref(),
        parts.connect_limit,
        parts.statement_limit,
    )
    .await?;
    backoff.reset();
    // Listening has begun; what was committed before it has rung for nobody here.
    shared.bell.notify_one();
    loop {
        tokio::select! {
            biased; // A bell is a sign of life, too.
            bell = listener.bell() => match bell {
                Some(()) => shared.bell.notify_one(),
                None => return Ok(()),
            },
            () = sleep(PING_EVERY) => listener.ping().await?,
        }
    }
}

/// Keeps the log short, if that is our part; on a connection of its own, since no fence may wait for it.
async fn prune(parts: Arc<FeedParts>, shared: Arc<Shared>) {
    let keep = i64::try_from(parts.settings.log_rows_kept).unwrap_or(i64::MAX);
    loop {
        sleep(Duration::from_secs(parts.settings.prune_seconds)).await;
        if !shared.is_relay.load(Ordering::Relaxed) {
            continue;
        }
        let pruned = async {
            let ca_file = parts.ca_file.as_deref();
            let (connection, _) = Connection::open(&parts.target, ca_file, parts.connect_limit, PRUNE_LIMIT).await?;
            connection.prune(keep).await
        };
        if let Err(error) = pruned.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the log was not pruned: trying again later"
            );
        }
    }
}

async fn listen_to_redis(mut subscription: Subscription, codec: BroadcastCodec, heard: mpsc::Sender<Heard>) {
    loop {
        let message = match subscription.next().await {
            Received::Message(message) => codec.read(&message),
            Received::Gap => Heard::Bell(BellReason::Sent),
        };
        // When the feed is this far behind, a bell more or less is no news: it looks at the log anyway.
        let _ = heard.try_send(message);
    }
}

async fn say(channel: Broadcast, shared: Arc<Shared>, mut to_say: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = to_say.recv().await {
        let said = channel.redis.publish(&channel.name, message.into()).await;
        let outcome = if said.is_ok() {
            BroadcastOutcome::Applied
        } else {
            BroadcastOutcome::Error
        };
        shared.metrics.broadcasts_total[BroadcastDirection::Sent][outcome].inc();
    }
    // Without a feed there is nothing to say; the process is ending.
    std::future::pending().await
}
