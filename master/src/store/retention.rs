//! How much is kept of jobs that have ended.

use jiff::Timestamp;

/// What can be pruned. A pruned job takes its log and its files along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Jobs,
    /// A pruned log leaves a gap with its number of bytes, and the job's last lines stay.
    Logs,
    Artifacts,
}

/// How much of a part is kept. What ended first is pruned first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Jobs that had ended by then keep nothing.
    pub until: Option<Timestamp>,
    /// How much is kept of the newest: a number of jobs, or bytes of logs or of artifacts.
    pub most: Option<u64>,
}

/// The most bytes that one transaction prunes, apart from the last job's: other writes wait for it.
pub(super) const BATCH_BYTES: u64 = 16 << 20;
