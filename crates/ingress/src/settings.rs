//! The section `ingress`: where browsers and API clients come in, and what they may take.

use crate::{IngressError, shared::Rules, upstream};

neverstale_settings::section! {
    /// The `ingress` listener: the door in front of the application. Off unless it has an address.
    pub struct IngressSettings = "ingress";
    /// Says where to listen.
    listen: Option<String> = None, unit "address:port", when "the sidecar is to stand in front of the application";
    /// Says where the application listens.
    upstream: String = "http://127.0.0.1:8080", unit "URL without a path", when "the application listens elsewhere";
    /// Names the file of the certificate and its chain, PEM; with it the listener speaks TLS only.
    tls_cert_file: Option<PathBuf> = None, unit "path", when "nothing in front of the pod ends TLS", live;
    /// Names the file of the certificate's private key, PEM.
    tls_key_file: Option<PathBuf> = None, unit "path", when "tls_cert_file is set", live;
    /// Lists who may say for whom they speak: networks or addresses whose `X-Forwarded-*` and identity headers are believed.
    trusted_proxies: String = "", unit "networks, separated by commas", when "a load balancer or an authenticating proxy stands in front";
    /// Lists headers that name a user and are taken from nobody but trusted proxies.
    identity_headers: String = DEFAULT_IDENTITY_HEADERS, unit "names, separated by commas", when "the application trusts a header of another name (WEBUI_AUTH_TRUSTED_EMAIL_HEADER and its kin)";
    /// Names the header in which the application takes API keys besides `Authorization`.
    api_key_header: String = "x-api-key", unit "name", when "the application's CUSTOM_API_KEY_HEADER is set";
    /// Lists paths below which credentials are not the application's sessions and keys, so that they are passed on unseen.
    foreign_credentials: String = "/api/v1/scim/v2", unit "path prefixes, separated by commas", when "part of the application has tokens of its own";
    /// Limits the body of a request.
    body_bytes_max: u64 = 17_179_869_184, unit "bytes", range 1_024..=u64::MAX, when "uploads are larger, or should not be as large";
    /// Limits a body that must be read whole, because it is judged or filtered.
    judged_bytes_max: u64 = 33_554_432, unit "bytes", range 1_024..=1_073_741_824, when "chats with large attachments are refused as too large";
    /// Limits what all bodies together take that are read whole, judged or filtered; one that finds no room in time is answered 503.
    judged_bytes_total_max: u64 = 67_108_864, unit "bytes", range 1_024..=68_719_476_736, when "many large chats come at once, and the memory limit allows for more";
    /// Limits how long a body that is judged, or an answer that is filtered, may take until all of it is there.
    judged_seconds: u64 = 120, unit "seconds", range 1..=86_400, when "callers with slow lines send large attachments";
    /// Limits the open connections; more wait to be accepted.
    connections_max: u32 = 8_192, unit "connections", range 1..=1_000_000, when "more callers are connected at once";
    /// Limits the open connections from one address that is no trusted proxy; over it, requests are answered 429.
    connections_per_client_max: u32 = 256, unit "connections", range 1..=1_000_000, when "many people share an address";
    /// Limits how long a new connection may take until its first request is complete.
    first_request_ms: u64 = 10_000, unit "milliseconds", range 100..=600_000, when "callers open connections in advance";
    /// Closes a caller's connection that has asked nothing for so long.
    keep_alive_seconds: u64 = 75, unit "seconds", range 1..=86_400, when "callers keep idle connections for longer";
    /// Limits how long a decision may wait for its facts, and a body that is judged for room; then the request is answered 503.
    decision_ms: u64 = 2_000, unit "milliseconds", range 1..=600_000, when "callers would rather wait, or give up sooner";
    /// Limits how long connecting to the application may take.
    connect_ms: u64 = 2_000, unit "milliseconds", range 1..=600_000, when "the application is on another machine";
    /// Limits how long the application may take, from the end of a request to the beginning of its answer.
    first_byte_seconds: u64 = 600, unit "seconds", range 1..=86_400, when "models think for longer, or never should";
    /// Limits how long a body may stand still, in either direction.
    idle_seconds: u64 = 300, unit "seconds", range 1..=86_400, when "answers pause for longer";
    /// Closes a connection to the application that is not used for so long; keep it below the application's own limit.
    upstream_keep_alive_ms: u64 = 4_000, unit "milliseconds", range 0..=3_600_000, when "the application's server keeps idle connections for longer or shorter (uvicorn: 5 s)";
}

impl IngressSettings {
    /// Checks what no range can say: that addresses, networks and names can be read.
    ///
    /// # Errors
    /// The setting and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let read = Rules::read(self).map(drop).and(upstream::check(self));
        match read {
            Err(IngressError::Setting { setting, reason }) => Err((setting, reason)),
            _ => Ok(()),
        }
    }
}

/// What the application sends to others about its users, and what authenticating proxies send to applications.
const DEFAULT_IDENTITY_HEADERS: &str = "X-OpenWebUI-User-Name, X-OpenWebUI-User-Id, X-OpenWebUI-User-Email, \
     X-OpenWebUI-User-Role, X-OpenWebUI-User-Jwt, X-OpenWebUI-Auth-Type, X-Forwarded-User, X-Forwarded-Email, \
     X-Forwarded-Groups, X-Forwarded-Preferred-Username, X-Auth-Request-User, X-Auth-Request-Email, X-Auth-Request-Groups, \
     X-Auth-Request-Preferred-Username, Remote-User, Remote-Email, Remote-Groups, Remote-Name, X-Remote-User, X-User-Email, \
     X-Webauth-User, X-Webauth-Email, Cf-Access-Authenticated-User-Email, X-Goog-Authenticated-User-Email, \
     Tailscale-User-Login, Tailscale-User-Name";
