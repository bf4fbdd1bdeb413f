//! The section `redis`: where Redis is, how long it may take, and what may lie in it.

use std::fs;

use neverstale_wire::{KeyRing, L2Codec};

use crate::error::RedisError;

neverstale_settings::section! {
    /// Redis: the second tier of the cache and the channel of broadcasts. Without a URL the sidecar runs on L1 alone.
    pub struct RedisSettings = "redis";
    /// Says where Redis is: redis://, rediss:// (TLS), redis+unix:// (a socket), redis-sentinel:// or redis-cluster://, as the application writes it.
    url: Option<Secret> = None, unit "URL", when "the application has a Redis that several sidecars share";
    /// Names a file of PEM certificates that alone may have signed the server's certificate, instead of the machine's.
    tls_ca_file: Option<PathBuf> = None, unit "path", when "Redis speaks TLS under a private authority";
    /// Logs in to the Sentinels, if they ask for another user than Redis does.
    sentinel_username: Option<String> = None, unit "name", when "the Sentinels have users";
    /// Logs in to the Sentinels.
    sentinel_password: Option<Secret> = None, unit "text", when "the Sentinels have a password";
    /// Sets how many connections share the reads and writes of L2.
    connections: u32 = 2, unit "connections", range 1..=64, when "one connection is busy all the time";
    /// Limits how long an L2 read or write may take before it is a miss.
    budget_ms: u64 = 5, unit "ms", range 1..=1_000, when "the round trip to Redis is longer than a millisecond or two";
    /// Limits how long a session check may wait for the application's revocation keys; after that they are unknown.
    session_budget_ms: u64 = 250, unit "ms", range 1..=10_000, when "session checks fail for a slow Redis";
    /// Begins the name of every key and channel of ours.
    key_prefix: String = "neverstale", unit "text", when "several applications share one Redis";
    /// Begins the names of the application's own keys, as its REDIS_KEY_PREFIX says.
    app_key_prefix: String = "open-webui", unit "text", when "the application's REDIS_KEY_PREFIX is set";
    /// Lets values leave Redis after this time without a write; they are never served past an invalidation in any case.
    value_ttl_seconds: u64 = 3_600, unit "seconds", range 1..=2_592_000, when "Redis is short of memory, or restarts should find more";
    /// Keeps larger answers out of L2.
    value_bytes_max: u64 = 1_048_576, unit "bytes", range 1_024..=16_777_216, when "large answers should, or should not, go through Redis";
    /// Compresses values that are larger; secret-bearing ones never are.
    compress_over_bytes: u64 = 4_096, unit "bytes", range 64..=16_777_216, when "the network matters more than the processor, or less";
    /// Names the file of keys that seal values and broadcasts: one a line, 64 hex digits or base64; the first seals, all of them open.
    key_file: Option<PathBuf> = None, unit "path", when "secret-bearing answers may go to L2, broadcasts should carry rows, or others can write to Redis", live;
}

impl RedisSettings {
    /// Reads the key file, if one is named.
    ///
    /// # Errors
    /// The file can't be read, or a line of it is wrong.
    pub fn key_ring(&self) -> Result<Option<KeyRing>, RedisError> {
        let Some(path) = &self.key_file else { return Ok(None) };
        let text = fs::read_to_string(path).map_err(|source| RedisError::ReadKeyFile {
            path: path.clone(),
            source,
        })?;
        let ring = KeyRing::parse(&text).map_err(|source| RedisError::KeyFile {
            path: path.clone(),
            source,
        })?;
        Ok(Some(ring))
    }

    /// Makes the codec of L2 values that these settings ask for.
    pub fn l2_codec(&self, keys: Option<KeyRing>) -> L2Codec {
        L2Codec::new(keys, self.value_bytes_max as usize, self.compress_over_bytes as usize)
    }

    /// Names the channel of broadcasts.
    pub fn channel(&self) -> String {
        format!("{}:broadcast", self.key_prefix)
    }
}
