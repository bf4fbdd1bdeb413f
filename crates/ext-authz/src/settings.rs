//! The section `ext_authz`: where Envoy asks, and what it is told about what it can't do.

neverstale_settings::section! {
    /// The `ext_authz` listener: answers Envoy, or a mesh made of it, about each request, over gRPC. Off unless it has a place. What
    /// tells who asks, and how much of a body is judged, is the door's (`ingress`), and so are the rules (`ingress.guard`).
    pub struct ExtAuthzSettings = "ext_authz";
    /// Says where to listen over TCP; without TLS, so beside the Envoy that asks.
    listen: Option<String> = None, unit "address:port", when "Envoy, or a mesh, asks whether a request may pass";
    /// Names a Unix socket to listen on; its file is made with mode 0660 and a stale one is removed.
    socket: Option<PathBuf> = None, unit "path", when "Envoy stands in the same pod, and loopback is shared";
    /// Lets requests pass as they are of which the door would change something: an answer that it would filter, a title that it would have another model make. Otherwise they are refused, but lists for super admins.
    unchanged_allowed: bool = false, when "what the application itself filters of its lists is enough";
    /// Leaves headers that name a user (`ingress.identity_headers`) on requests.
    identity_headers_trusted: bool = false, when "something in front of the filter sets them, and takes them from everybody else";
    /// Limits the open connections of TCP and socket together; more wait to be accepted.
    connections_max: u32 = 1_024, unit "connections", range 1..=1_000_000, when "more Envoys ask, or each has more workers";
}
