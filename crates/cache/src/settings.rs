//! The settings of L1.

neverstale_settings::section! {
    /// L1: memory of this process.
    pub struct L1Settings = "cache.l1";
    /// Limits the memory that entries take together, their keys and tags included.
    bytes_max: u64 = 67_108_864, unit "bytes", range 0..=1_099_511_627_776, when "the hit ratio falls while memory is free, or memory is short";
    /// Limits one entry; a larger answer is given but not kept.
    entry_bytes_max: u64 = 1_048_576, unit "bytes", range 1_024..=67_108_864, when "large views are read often";
}
