//! The settings of the feed: how often it looks without being told, and how much of the log is kept.

neverstale_settings::section! {
    /// Following the log of commits.
    pub struct FeedSettings = "feed";
    /// Sets how often the feed takes a fence when nothing else makes it; the bell is only faster, never needed.
    poll_ms: u64 = 1_000, unit "milliseconds", range 50..=60_000, when "many idle sidecars share one database";
    /// Limits the staleness of reads that ask for minimize-latency.
    staleness_bound_ms: u64 = 5_000, unit "milliseconds", range 0..=3_600_000, when "such reads should survive a longer outage, or be fresher";
    /// Sets how many commits the log keeps; a sidecar further behind starts cold.
    log_rows_kept: u64 = 10_000, unit "commits", range 1..=10_000_000, when "sidecars come back from long pauses with a cold cache";
    /// Sets how often the relay prunes the log.
    prune_seconds: u64 = 60, unit "seconds", range 1..=86_400, when "the log grows faster than it is pruned";
    /// Sets how often a sidecar that is not the relay tries to become it.
    relay_retry_ms: u64 = 1_000, unit "milliseconds", range 50..=60_000, when "a dead relay should be replaced sooner";
    /// Sets how long the primary may leave a fence without an answer before reads that need one are refused at once instead of waiting; where answers took longer of late it waits for twice as long as those, at most for three quarters of database.statement_timeout_ms.
    fence_patience_ms: u64 = 1_000, unit "milliseconds", range 10..=60_000, when "reads should be refused sooner while the primary hangs, or rather wait";
    /// Sets the number of slots of the table of tags, eight bytes each; rounded up to a power of two.
    tag_slots: u64 = 262_144, unit "slots", range 1_024..=67_108_864, when "millions of different rows change in a day";
    /// Sets how often the installation is verified again while it is not in order.
    verify_ms: u64 = 1_000, unit "milliseconds", range 50..=60_000, when "readiness should follow a repair sooner";
}
