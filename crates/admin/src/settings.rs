//! The section `admin`: where the kubelet, Prometheus and operators ask.

neverstale_settings::section! {
    /// The `admin` listener: probes, metrics and status.
    pub struct AdminSettings = "admin";
    /// Says where to listen.
    listen: String = "0.0.0.0:7381", unit "address:port", when "the port is taken, or nobody outside of the pod should ask";
    /// Names a file of bearer tokens, one a line; a caller with one of them may end the process from outside of the pod.
    token_file: Option<PathBuf> = None, unit "path", when "something outside of the pod must end the process by POST /quitquitquit", live;
    /// Limits the open connections; more wait to be accepted.
    connections_max: u32 = 64, unit "connections", range 1..=10_000, when "many scrapers and browsers ask at once";
}
