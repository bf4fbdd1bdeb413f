//! The section `lifecycle`: how much of the machine the process takes, and how it ends.

neverstale_settings::section! {
    /// How much of the machine the process takes, and how it ends.
    pub struct LifecycleSettings = "lifecycle";
    /// Limits how long open connections may go on after SIGTERM before the process ends anyway; keep it below the pod's terminationGracePeriodSeconds.
    grace_period_seconds: u64 = 25, unit "seconds", range 0..=3_600, when "the pod's own grace period differs from 30 s";
    /// Sets the threads that serve requests; one serves some hundred thousand reads a second from L1.
    worker_threads: u32 = 1, unit "threads", range 1..=256, when "one core is no longer enough";
}
