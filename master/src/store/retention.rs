//! How much is kept of jobs that have ended.

use jiff::Timestamp;

/// What may go by itself. A job takes its log and its files along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Jobs,
    /// A log leaves a gap behind that says how many bytes it stands for, and the job its last lines.
    Logs,
    Artifacts,
}

/// What of a part stays; what has ended first goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of jobs that had ended by then nothing stays.
    pub until: Option<Timestamp>,
    /// So much stays of those that ended last: a number of jobs, or bytes of logs or of artifacts.
    pub most: Option<u64>,
}

/// So many bytes go in one transaction, and those of one job more at most: others that write wait for it.
pub(super) const BATCH_BYTES: u64 = 16 << 20;
