//! What can go wrong with Redis before it is in use; afterwards there are only misses.

use std::{io, path::PathBuf};

use neverstale_wire::KeyRingError;

/// Says why Redis can't be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// There is no URL.
    #[error("redis.url is not set")]
    NoUrl,
    /// The URL can't be understood. The reason never contains the URL, which may hold a password.
    #[error("redis.url: {reason}")]
    Url {
        /// What is wrong, and what to write instead.
        reason: String,
    },
    /// The file of authorities can't be read.
    #[error("read the certificates of redis.tls_ca_file `{path}`")]
    ReadAuthorities {
        /// Where it should be.
        path: PathBuf,
        /// What the parser says.
        source: rustls_pki_types::pem::Error,
    },
    /// Nobody is trusted.
    #[error("there is no certificate authority to trust: name one in redis.tls_ca_file")]
    NoAuthorities,
    /// TLS can't be set up.
    #[error("set up TLS for Redis")]
    Tls(#[source] rustls::Error),
    /// The key file can't be read.
    #[error("read redis.key_file `{path}`")]
    ReadKeyFile {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The key file is wrong.
    #[error("redis.key_file `{path}`")]
    KeyFile {
        /// Where it is.
        path: PathBuf,
        /// Which line, and why.
        source: KeyRingError,
    },
    /// The client refuses the configuration.
    #[error("set up the client for {target}")]
    Client {
        /// Where Redis should be, without credentials.
        target: String,
        /// What the client says.
        source: fred::error::Error,
    },
    /// Redis does not answer, or not as Redis does.
    #[error("ask Redis at {target}")]
    Ask {
        /// Where Redis should be, without credentials.
        target: String,
        /// What the client says.
        source: fred::error::Error,
    },
    /// Redis does not answer in time.
    #[error("Redis at {target} did not answer in {waited_ms} ms")]
    Silent {
        /// Where Redis should be, without credentials.
        target: String,
        /// How long we waited.
        waited_ms: u64,
    },
}
