//! L2 values: read within a budget or not at all, written only over older ones.
//!
//! A value lies behind its `as_of`, twenty decimal digits, so that the server itself can refuse to put an old value over a newer one:
//! a pod that was paused between its fill and its write does no harm. The digits decide nothing else; what is read is judged by the
//! stamp inside the sealed envelope. Keys carry the incarnation (`wire::l2::storage_key`), so that positions of two databases
//! never meet.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use fred::{
    error::{Error, ErrorKind},
    interfaces::{ClientLike, KeysInterface},
    types::{ClusterHash, CustomCommand, Value},
};
use neverstale_coherence::Position;
use neverstale_lifecycle::random_u64;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::{
    breaker::Outcome,
    client::{Redis, once_within},
};

const AS_OF_DIGITS: usize = 20;
/// What an envelope may be longer than the body in it.
const BESIDE_BYTES_MAX: usize = 257 * 1024;

/// Sets `KEYS[1]` to `ARGV[1]` (`as_of`) followed by `ARGV[2]` for `ARGV[3]` ms, unless what is there is newer.
///
/// Halves of ten digits are compared as numbers: a whole position would be rounded by Lua's floating point, and texts are compared by
/// the server's locale. What is there and is not ours, of whatever type, is overwritten.
const PUT: &str = r"
local held = redis.pcall('GETRANGE', KEYS[1], 0, 19)
if type(held) == 'string' and #held == 20 and not string.find(held, '%D') then
  local held_high, held_low = tonumber(string.sub(held, 1, 10)), tonumber(string.sub(held, 11))
  local high, low = tonumber(string.sub(ARGV[1], 1, 10)), tonumber(string.sub(ARGV[1], 11))
  if held_high > high or (held_high == high and held_low > low) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return 1
";

static PUT_SHA: LazyLock<String> = LazyLock::new(|| {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, PUT.as_bytes());
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
});

/// Says why L2 gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum L2Miss {
    /// No connection stands.
    #[error("no connection to Redis stands")]
    Disconnected,
    /// Redis has failed so often that it is left alone for a while.
    #[error("Redis is left alone after failures")]
    Avoided,
    /// As many commands as may be are under way.
    #[error("too many commands to Redis are under way")]
    Busy,
    /// The budget was spent.
    #[error("Redis did not answer within the budget")]
    TimedOut,
    /// Redis answered with an error.
    #[error("Redis answered with an error")]
    Refused,
    /// What lay there is none of ours.
    #[error("the value in Redis is none of ours")]
    Garbage,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The value lies in Redis.
    Stored,
    /// A newer one lies there and stays.
    Older,
    /// Nothing was written, or it is not known whether it was.
    Missed(L2Miss),
}

impl L2Miss {
    /// Gives the word for the metrics' label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Avoided => "breaker",
            Self::Busy => "busy",
            Self::TimedOut => "timeout",
            Self::Refused => "error",
            Self::Garbage => "garbage",
        }
    }
}

impl PutOutcome {
    /// Gives the word for the metrics' label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Older => "older",
            Self::Missed(miss) => miss.name(),
        }
    }
}

impl Redis {
    /// Reads the envelope under `key`; none when there is nothing.
    ///
    /// Takes no more from the network than the largest envelope of ours, whatever lies there.
    ///
    /// # Errors
    /// Each is a miss; the budget (`redis.budget_ms`) bounds the time of all of them.
    ///
    /// # Cancel safety
    /// May be dropped at any time; an answer that comes later is thrown away.
    pub async fn l2_get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, L2Miss> {
        let _place = self.shared.reads.try_acquire().map_err(|_| L2Miss::Busy)?;
        let limit = self.shared.settings.value_bytes_max as usize + BESIDE_BYTES_MAX + AS_OF_DIGITS;
        let key = Bytes::copy_from_slice(key.as_ref());
        let held = self.held(key, limit).await?;
        if held.is_empty() {
            return Ok(None);
        }
        let is_ours =
            held.len() > AS_OF_DIGITS && held.len() <= limit && held[..AS_OF_DIGITS].iter().all(u8::is_ascii_digit);
        if is_ours {
            Ok(Some(held.slice(AS_OF_DIGITS..)))
        } else {
            Err(L2Miss::Garbage)
        }
    }

    /// Puts an envelope under `key`, unless a newer one lies there; gone after `ttl`.
    ///
    /// Never waits for its turn: when as many writes as may be are under way it is dropped, and the next fill writes again.
    ///
    /// # Cancel safety
    /// May be dropped at any time; whether the value was written is then unknown, which harms nothing.
    pub async fn l2_put(&self, key: impl AsRef<[u8]>, as_of: Position, envelope: Bytes, ttl: Duration) -> PutOutcome {
        let Ok(_place) = self.shared.writes.try_acquire() else {
            return PutOutcome::Missed(L2Miss::Busy);
        };
        match self.put_unless_newer(key.as_ref(), as_of, envelope, ttl).await {
            Ok(true) => PutOutcome::Stored,
            Ok(false) => PutOutcome::Older,
            Err(miss) => PutOutcome::Missed(miss),
        }
    }

    /// Gives the first `limit` bytes of what lies under `key`; none are there when it does not exist.
    async fn held(&self, key: Bytes, limit: usize) -> Result<Bytes, L2Miss> {
        #[cfg(feature = "simulation")]
        if let Some(stand_in) = &self.shared.stand_in {
            return self.within_budget(stand_in.get_range(key, limit)).await;
        }
        self.ask(async |client| client.getrange(key, 0, limit).await).await
    }

    /// Runs the script; says whether it wrote.
    async fn put_unless_newer(
        &self,
        key: &[u8],
        as_of: Position,
        envelope: Bytes,
        ttl: Duration,
    ) -> Result<bool, L2Miss> {
        let digits = format!("{:0AS_OF_DIGITS$}", as_of.0);
        #[cfg(feature = "simulation")]
        if let Some(stand_in) = &self.shared.stand_in {
            let key = Bytes::copy_from_slice(key);
            return self
                .within_budget(stand_in.put_unless_newer(key, digits, envelope))
                .await;
        }
        let arguments = |script: &str| -> Vec<Value> {
            vec![
                script.into(),
                Value::from(1),
                Value::from(Bytes::copy_from_slice(key)),
                digits.clone().into(),
                Value::from(envelope.clone()),
                (ttl.as_millis().max(1) as i64).into(),
            ]
        };
        // The slot itself: of a command that it does not know the client takes the first argument for the key, the script here.
        let slot = ClusterHash::from(key);
        let command = |name: &'static str| CustomCommand::new_static(name, slot.clone(), false);
        self.ask(
            async |client| match client.custom(command("EVALSHA"), arguments(&PUT_SHA)).await {
                // After a restart or a failover the server does not have the script yet.
                Err(error) if error.details().starts_with("NOSCRIPT") => {
                    client.custom(command("EVAL"), arguments(PUT)).await
                }
                answer => answer,
            },
        )
        .await
    }

    /// Removes what lies under `key`: a value that could not be read, so that the next reader does not fetch it again.
    ///
    /// # Errors
    /// Each means that it is not known whether it was removed, which harms nothing.
    pub async fn l2_remove(&self, key: impl AsRef<[u8]>) -> Result<(), L2Miss> {
        let _place = self.shared.writes.try_acquire().map_err(|_| L2Miss::Busy)?;
        let key = Bytes::copy_from_slice(key.as_ref());
        self.ask(async |client| client.unlink(key).await).await
    }

    /// Sends one command to a connection that stands.
    async fn ask<T>(
        &self,
        send: impl AsyncFnOnce(&fred::clients::WithOptions<fred::clients::Client>) -> Result<T, Error>,
    ) -> Result<T, L2Miss> {
        let client = self.client().ok_or(L2Miss::Disconnected)?;
        self.within_budget(async {
            // The budget is for all that `send` does; the option lets the client forget what it has not written yet.
            let client = client.with_options(&once_within(self.budget()));
            send(&client).await.map_err(|error| miss_of(&error))
        })
        .await
    }

    fn budget(&self) -> Duration {
        Duration::from_millis(self.shared.settings.budget_ms)
    }

    /// Waits for an answer within the budget, if the breaker lets it be asked for, and tells the breaker how it went.
    async fn within_budget<T>(&self, answer: impl Future<Output = Result<T, L2Miss>>) -> Result<T, L2Miss> {
        let permit = self
            .breaker()
            .admit(self.shared.clock.now().raw)
            .ok_or(L2Miss::Avoided)?;
        let answer = tokio::time::timeout(self.budget(), answer)
            .await
            .unwrap_or(Err(L2Miss::TimedOut));
        let outcome = match answer {
            Err(L2Miss::TimedOut | L2Miss::Disconnected) => Outcome::Failed,
            _ => Outcome::Answered,
        };
        self.breaker()
            .report(permit, outcome, self.shared.clock.now().raw, random_u64());
        answer
    }
}

pub(crate) fn miss_of(error: &Error) -> L2Miss {
    match error.kind() {
        ErrorKind::Timeout => L2Miss::TimedOut,
        ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Routing | ErrorKind::Cluster | ErrorKind::Backpressure => {
            L2Miss::Disconnected
        }
        _ => L2Miss::Refused,
    }
}
