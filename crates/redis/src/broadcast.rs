//! Carries broadcasts: publishes messages, and hears them together with the gaps between them.
//!
//! Redis promises nothing about a message, so nothing rests on one: a lost message is found by the next fence, a gap is a reason to
//! look into the log (PROTOCOL §7). What is in a message, and whether it may be believed, is `wire::broadcast`'s to say.

use std::time::Duration;

use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{Message, config::Server},
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    client::{Redis, once_within},
    error::RedisError,
    values::{L2Miss, miss_of},
};

const PUBLISH_TIMEOUT: Duration = Duration::from_millis(250);
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a silent channel is checked for life: a half-open connection is noticed after twice this time.
const HEARTBEAT: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(50);

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message, as it was published.
    Message(Bytes),
    /// Messages may have been lost before this point: at the start, after a reconnect, when the subscriber was too slow.
    Gap,
}

/// A subscription to one channel that outlives its connections.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    channel: String,
    messages: Receiver<Message>,
    connections: Receiver<Server>,
    heartbeat: Interval,
    must_subscribe: bool,
    #[cfg(feature = "simulation")]
    stand_in: Option<tokio::sync::mpsc::Receiver<Received>>,
}

impl Redis {
    /// Publishes a message once; gives how many heard it (of a Cluster: on one node).
    ///
    /// # Errors
    /// The message may or may not have been published; there is no need to repeat it.
    pub async fn publish(&self, channel: &str, message: Bytes) -> Result<u64, L2Miss> {
        #[cfg(feature = "simulation")]
        if let Some(stand_in) = &self.shared.stand_in {
            let publishing = stand_in.publish(channel.to_owned(), message);
            return timeout(PUBLISH_TIMEOUT, publishing)
                .await
                .unwrap_or(Err(L2Miss::TimedOut));
        }
        let client = self
            .client()
            .ok_or(L2Miss::Disconnected)?
            .with_options(&once_within(PUBLISH_TIMEOUT));
        match timeout(PUBLISH_TIMEOUT, client.publish(channel, message)).await {
            Ok(Ok(heard)) => Ok(heard),
            Ok(Err(error)) => Err(miss_of(&error)),
            Err(_) => Err(L2Miss::TimedOut),
        }
    }

    /// Subscribes to a channel over a connection of its own; returns at once, and begins with a gap when the subscription stands.
    ///
    /// Made once in the life of a process: its connection is kept until shutdown.
    ///
    /// # Errors
    /// The client can't be set up.
    pub fn subscribe(&self, channel: impl Into<String>) -> Result<Subscription, RedisError> {
        let client = self.new_client()?;
        let channel = channel.into();
        let (messages, connections) = (client.message_rx(), client.reconnect_rx());
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Subscription {
            client,
            #[cfg(feature = "simulation")]
            stand_in: self
                .shared
                .stand_in
                .as_ref()
                .map(|stand_in| stand_in.subscribe(&channel)),
            channel,
            messages,
            connections,
            heartbeat,
            must_subscribe: true,
        })
    }
}

impl Subscription {
    /// Waits for the next message or gap.
    ///
    /// # Cancel safety
    /// May be dropped at any time; nothing is lost without a gap.
    pub async fn next(&mut self) -> Received {
        #[cfg(feature = "simulation")]
        if let Some(heard) = &mut self.stand_in {
            return match heard.recv().await {
                Some(received) => received,
                None => std::future::pending().await,
            };
        }
        loop {
            if self.must_subscribe {
                if self.try_subscribe().await {
                    self.must_subscribe = false;
                    return Received::Gap;
                }
                sleep(RETRY).await;
                continue;
            }
            tokio::select! {
                // A new connection comes before what it brings, or a message would hide the gap before it.
                biased;
                _ = self.connections.recv() => self.must_subscribe = true,
                message = self.messages.recv() => match message {
                    Ok(message) if *message.channel == *self.channel => {
                        return message.value.into_bytes().map_or(Received::Gap, Received::Message);
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Received::Gap,
                    Err(RecvError::Closed) => {
                        self.messages = self.client.message_rx();
                        self.must_subscribe = true;
                    }
                },
                _ = self.heartbeat.tick() => {
                    if !self.is_alive(HEARTBEAT).await {
                        self.must_subscribe = true;
                    }
                }
            }
        }
    }

    /// Subscribes on the connection that stands, and makes sure that the subscription does before it says so.
    async fn try_subscribe(&mut self) -> bool {
        if !self.client.is_connected() {
            return false;
        }
        // What is known now is covered by this attempt; a connection made after this line asks for another one.
        self.connections = self.client.reconnect_rx();
        let subscribed = timeout(SUBSCRIBE_TIMEOUT, self.client.subscribe(self.channel.as_str())).await;
        // The client does not wait for Redis to confirm; an answer to what was sent after it does.
        matches!(subscribed, Ok(Ok(()))) && self.is_alive(SUBSCRIBE_TIMEOUT).await
    }

    /// Asks for a sign of life; without one the connection is replaced.
    async fn is_alive(&self, patience: Duration) -> bool {
        let client = self.client.with_options(&once_within(patience));
        let alive = matches!(timeout(patience, client.ping::<()>(None)).await, Ok(Ok(())));
        if !alive && self.client.is_connected() {
            // It waits for the new connection, which may take as long as Redis is away; the next attempt looks for itself.
            let _ = timeout(patience, self.client.force_reconnection()).await;
        }
        alive
    }
}
