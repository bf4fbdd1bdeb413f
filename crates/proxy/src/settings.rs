//! The section `api`: where the application asks, who may, and how much at a time.

neverstale_settings::section! {
    /// The `api` listener: reads, batches, sessions and events for the application in the same pod.
    pub struct ApiSettings = "api";
    /// Says where to listen over TCP.
    listen: String = "127.0.0.1:7380", unit "address:port", when "the port is taken, or callers outside of the pod ask (then set a token and TLS)";
    /// Names a Unix socket to listen on as well; its file is made with mode 0660 and a stale one is removed.
    socket: Option<PathBuf> = None, unit "path", when "secret-bearing answers should need no token, or loopback is shared";
    /// Names a file of bearer tokens, one a line, all of them accepted; with it every request over TCP must carry one.
    token_file: Option<PathBuf> = None, unit "path", when "other containers of the pod must not read, or secret-bearing answers go over TCP", live;
    /// Requires the token on the Unix socket too.
    socket_token_required: bool = false, when "the socket's file is shared with containers that must not read";
    /// Names the file of the certificate and its chain, PEM; with it the TCP listener speaks TLS only.
    tls_cert_file: Option<PathBuf> = None, unit "path", when "requests leave the pod", live;
    /// Names the file of the certificate's private key, PEM.
    tls_key_file: Option<PathBuf> = None, unit "path", when "tls_cert_file is set", live;
    /// Allows writes: `PATCH` of settings, by callers with a token or over the Unix socket. The sidecar's role needs the rights.
    writes_allowed: bool = false, when "the application's adapter writes settings through the sidecar, so that no edit is lost";
    /// Sets the deadline of a request that names none.
    timeout_ms_default: u64 = 2_000, unit "milliseconds", range 1..=600_000, when "callers would rather wait, or give up sooner";
    /// Limits the deadline that a request may ask for; a longer one is shortened to it.
    timeout_ms_max: u64 = 30_000, unit "milliseconds", range 1..=600_000, when "some callers may wait for longer";
    /// Limits the body of a request.
    body_bytes_max: u64 = 1_048_576, unit "bytes", range 1_024..=67_108_864, when "batches are larger";
    /// Limits the reads of one batch.
    batch_reads_max: u32 = 256, unit "reads", range 1..=10_000, when "batches are larger";
    /// Limits the open connections of TCP and socket together; more wait to be accepted.
    connections_max: u32 = 1_024, unit "connections", range 1..=1_000_000, when "the application keeps more connections open";
    /// Limits the requests that wait for Postgres or Redis at once; more are answered 429. Hits in L1 do not count.
    requests_in_flight_max: u32 = 4_096, unit "requests", range 1..=1_000_000, when "429 appears while Postgres is not busy";
    /// Limits how many callers follow the events at once; more are answered 429.
    event_subscribers_max: u32 = 64, unit "callers", range 0..=100_000, when "more callers follow the events";
    /// Limits how long a new connection may take until its first request is complete.
    first_request_ms: u64 = 10_000, unit "milliseconds", range 100..=600_000, when "callers open connections in advance";
    /// Closes a connection that has asked nothing for so long.
    idle_seconds: u64 = 300, unit "seconds", range 1..=86_400, when "callers keep idle connections for longer";
    /// Holds the application's WEBUI_SECRET_KEY, which signs its session tokens.
    session_secret: Option<Secret> = None, unit "text", when "sessions are resolved and the secret is in the environment";
    /// Names a file that holds the application's WEBUI_SECRET_KEY.
    session_secret_file: Option<PathBuf> = None, unit "path", when "sessions are resolved and the secret is in a file", live;
    /// Asks the application's Redis whether a session was revoked; if that can't be known the session is not accepted.
    session_revocation_checked: bool = true, when "the application runs without Redis, so that it can't revoke sessions either";
}
