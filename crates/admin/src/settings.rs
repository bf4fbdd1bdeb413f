//! The section `admin`: where the kubelet, Prometheus and operators ask.

neverstale_settings::section! {
    /// The `admin` listener: probes, metrics and status.
    pub struct AdminSettings = "admin";
    /// Says where to listen.
    listen: String = "0.0.0.0:7381", unit "address:port", when "the port is taken, or nobody outside of the pod should ask";
    /// Names a file of bearer tokens, one a line; a caller with one of them may end the process from outside of the pod, and ask who may do what, which then nobody else may.
    token_file: Option<PathBuf> = None, unit "path", when "something outside of the pod must end the process by POST /quitquitquit, or people look at /access by another way than a forwarded port", live;
    /// Names a file of certificates in PEM form, the listener's own first; with it the listener speaks TLS only.
    tls_cert_file: Option<PathBuf> = None, unit "path", when "probes and scrapers may cross the network in TLS only", live;
    /// Names the file of the certificate's key in PEM form.
    tls_key_file: Option<PathBuf> = None, unit "path", when "tls_cert_file is set", live;
    /// Serves the page on which a person sees who may do what, with names and e-mail addresses: to loopback, or, with token_file, to bearers of a token.
    access_page: bool = true, when "nobody should look people up by way of this listener";
    /// Limits the open connections; more wait to be accepted.
    connections_max: u32 = 64, unit "connections", range 1..=10_000, when "many scrapers and browsers ask at once";
}
